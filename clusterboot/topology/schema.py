"""The shape of a topology file as pydantic models, and the JSON Schema made from them.

Each field says two things: `description` is for people who read the schema or the documentation,
`Says` is what an error message puts after "must be". Rules that need more than one value are in
`check`. No field takes null: a key without a value is a mistake more often than a wish.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, Tag
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from clusterboot.topology.fields import (
    NAME_SAYS,
    Host,
    Name,
    Password,
    Path,
    Port,
    Says,
    Setting,
    ShortForm,
    SlotsForm,
    Text,
    is_a,
)
from clusterboot.topology.hosts import EXAMPLES

_PORT = Says("a whole number from 1 to 65535", "number")
_LINE = "text on one line, without spaces around it"
_FILE = Says("the path of a file, relative to this one")
SLOTS_SAYS = 'slots such as 0-5460 or "0-100,200", a list of such, or none'
SETTING_SAYS = Says("text on one line, a number, yes or no")
NODE_SAYS = f"an address such as {EXAMPLES}, or a mapping with 'host' and 'port'"


class Form(BaseModel):
    """One mapping of the file: nothing is converted, unknown keys are errors."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class AnnounceForm(Form):
    """How the other nodes reach this one, where that is not the address in the file."""

    host: Annotated[Host, Says("a host name or an IP address")] = Field(
        description="Host under which the other nodes reach this one."
    )
    port: Annotated[Port | None, _PORT] = Field(
        default=None, description="Client port; default: the node's port."
    )
    bus_port: Annotated[Port | None, _PORT] = Field(
        default=None, description="Cluster bus port; default: what the node says, else its port + 10000."
    )


class AuthForm(Form):
    """How to authenticate: one of the three passwords, and a user name where it is not `default`."""

    username: Annotated[Text | None, Says(_LINE)] = Field(
        default=None, description="ACL user; default: default."
    )
    password_env: Annotated[
        Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=1000)] | None,
        Says("the name of an environment variable", "secret"),
    ] = Field(default=None, description="Environment variable that holds the password.")
    password_file: Annotated[Path | None, Says(_FILE.text, "secret")] = Field(
        default=None, description="File that holds the password, relative to this one."
    )
    password: Annotated[
        Password | None,
        Says("text in quotes, not empty", "secret"),
    ] = Field(default=None, description="The password itself; better keep it out of the file.")


class NodeForm(Form):
    """One node in long form."""

    name: Annotated[Name | None, Says(NAME_SAYS)] = Field(default=None, description="Default: host:port.")
    host: Annotated[Host, Says("one host name or IP address")] = Field(
        description="Host name or IP address that clusterboot connects to; no brackets, no ranges."
    )
    port: Annotated[Port, _PORT] = Field(description="Client port.")
    bus_port: Annotated[Port | None, _PORT] = Field(
        default=None, description="Cluster bus port; default: what the node says, else port + 10000."
    )
    zone: Annotated[Text | None, Says(_LINE)] = Field(
        default=None, description="Failure zone; replicas go to another zone than their primary's."
    )
    role: Annotated[
        Literal["primary", "replica"] | None, Says("primary or replica", "text", ("primary", "replica"))
    ] = Field(default=None, description="Role at the start; default: placed for you.")
    replica_of: Annotated[Text | None, Says("the name or address of a primary in this file")] = Field(
        default=None, description="Name or address of the node's primary; implies role: replica."
    )
    slots: Annotated[SlotsForm | None, Says(SLOTS_SAYS, "other")] = Field(
        default=None,
        description="Slots of this primary at the start; default: an even split of what is left.",
    )
    weight: Annotated[
        Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)] | None,
        Says("a number above 0, at most 1000", "number"),
    ] = Field(
        default=None, description="Share of the automatic split, relative to the other primaries; default: 1."
    )
    announce: Annotated[AnnounceForm | None, Says("a mapping with 'host'", "other")] = Field(
        default=None, description="How the other nodes reach this one (NAT); the node must announce the same."
    )
    auth: Annotated[
        AuthForm | None, Says("a mapping with password_env, password_file or password", "secret")
    ] = Field(default=None, description="Overrides the auth for all nodes.")


class PlanForm(Form):
    """How the nodes meet."""

    strategy: Annotated[Literal["star", "chain"], Says("star or chain", "text", ("star", "chain"))] = Field(
        default="star", description="star: one hub meets all others; chain: each meets the next."
    )
    hub: Annotated[Text | None, Says("the name or address of a node in this file")] = Field(
        default=None, description="Name or address of the node in the middle of the star; default: chosen."
    )
    boost: Annotated[bool, Says("true or false", "bool")] = Field(
        default=True, description="Lower the timers of fresh nodes while they meet, and put them back."
    )
    extra_meets: Annotated[bool, Says("true or false", "bool")] = Field(
        default=True, description="Repeat MEET from newcomers to nodes whose view is stale."
    )


class TlsForm(Form):
    """TLS for client connections."""

    ca: Annotated[Path | None, _FILE] = Field(
        default=None, description="CA certificates; default: the system's."
    )
    cert: Annotated[Path | None, _FILE] = Field(default=None, description="Client certificate; needs key.")
    key: Annotated[Path | None, _FILE] = Field(default=None, description="Client key; needs cert.")
    verify: Annotated[bool, Says("true or false", "bool")] = Field(
        default=True, description="Check the server's certificate."
    )
    server_name: Annotated[Host | None, Says("a host name")] = Field(
        default=None,
        description="Name that certificates must carry, where it is not the host; also sent as SNI.",
    )
    min_version: Annotated[
        Literal["1.2", "1.3"] | None, Says('"1.2" or "1.3", in quotes', "text", ("1.2", "1.3"))
    ] = Field(default=None, description="Lowest TLS version; default: what Python's ssl module takes.")


class ServersForm(Form):
    """How --spawn and run start servers."""

    command: Annotated[Text | None, Says("the name or path of a server program")] = Field(
        default=None, description="Server program; default: valkey-server or redis-server on PATH."
    )
    config: Annotated[dict[str, Setting], Says("a mapping of server settings", "other")] = Field(
        default={},
        description="Server settings, as in redis.conf.",
        json_schema_extra={"propertyNames": {"pattern": "^[a-z0-9-]+$"}},
    )


class TopologyForm(Form):
    """A whole topology file."""

    # Not Literal[1]: true == 1 in Python, and pydantic takes it.
    version: Annotated[int, Field(ge=1, le=1), Says("1", "number")] = Field(
        description="Version of this format.", json_schema_extra={"const": 1}
    )
    name: Annotated[Name | None, Says(NAME_SAYS)] = Field(default=None, description="Name of the cluster.")
    nodes: Annotated[
        list[Annotated[
            Annotated[ShortForm, Tag("-")] | Annotated[NodeForm, Tag("+")], is_a(dict)
        ]],
        Field(min_length=1), Says("a list of nodes, at least one", "other"),
    ] = Field(description="Addresses, ranges of addresses, or mappings; at most 2000 nodes.")  # fmt: skip
    replicas: Annotated[
        Annotated[int, Field(ge=0, le=1999)] | None, Says("a whole number from 0 to 1999", "number")
    ] = Field(default=None, description="Replicas per primary where roles are not spelled out; default: 0.")
    slots: Annotated[Literal["auto", "none"], Says("auto or none", "text", ("auto", "none"))] = Field(
        default="auto", description="auto: cover all 16384 slots; none: only make the mesh."
    )
    plan: Annotated[PlanForm, Says("a mapping", "other")] = Field(
        default=PlanForm(), description="How the nodes meet."
    )
    auth: Annotated[
        AuthForm | None, Says("a mapping with password_env, password_file or password", "secret")
    ] = Field(default=None, description="How to authenticate with every node.")
    tls: Annotated[
        Annotated[
            Annotated[bool, Tag("-")] | Annotated[TlsForm, Tag("+")], is_a(dict)
        ] | None, Says("true, false or a mapping", "bool")
    ] = Field(
        default=None, description="TLS for client connections; true: with the system's CAs."
    )  # fmt: skip
    servers: Annotated[ServersForm, Says("a mapping", "other")] = Field(
        default=ServersForm(), description="For --spawn and run only."
    )


SECTIONS: dict[tuple[str, ...], type[Form]] = {
    (): TopologyForm,
    ("nodes",): NodeForm,
    ("nodes", "announce"): AnnounceForm,
    ("nodes", "auth"): AuthForm,
    ("plan",): PlanForm,
    ("auth",): AuthForm,
    ("tls",): TlsForm,
    ("servers",): ServersForm,
}
"""Which form the mapping at a path has; positions in lists are left out of paths."""

ENTRIES: dict[str, Says] = {
    "nodes": Says(NODE_SAYS, "other"),
    "slots": Says("a slot or a range such as 0-5460", "other"),
}
"""What an entry of the list under that key must be."""


class _Generate(GenerateJsonSchema):
    """Leaves null out (None only means that a key is not there), and titles that repeat the key."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        inner = super().default_schema(schema)
        if not isinstance(inner.get("default", ""), str | bool):
            del inner["default"]
        return inner

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema; see `clusterboot.topology.json_schema`."""
    schema = TopologyForm.model_json_schema(schema_generator=_Generate)
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        **schema,
        "title": "clusterboot topology, version 1",
    }
