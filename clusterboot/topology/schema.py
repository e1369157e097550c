"""The shape of a topology file as pydantic models, and the JSON Schema made from them.

Of a field's two texts `description` is for the schema and the documentation, `Says` follows "must be" in an
error message. Rules between values are in `rules`, `nodes` and `loader`. No field takes null: a key without a
value is usually a mistake.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, Tag
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from clusterboot.topology.address import EXAMPLES
from clusterboot.topology.fields import (
    Host,
    Id,
    Name,
    Password,
    Path,
    Port,
    RetireText,
    Says,
    Setting,
    ShortForm,
    SlotsForm,
    Text,
    is_a,
)


class Form(BaseModel):
    """One mapping of the file: nothing is converted, unknown keys are errors."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


def _optional(description: str, default: Any = None) -> Any:
    return Field(default=default, description=description)


_PORT = Says("a whole number from 1 to 65535", "number")
_FILE = "the path of a file, relative to this one"
_STAR_OR_CHAIN = Says("star or chain", choices=("star", "chain"))
_ROLE = Says("primary or replica", choices=("primary", "replica"))
_TLS_VERSION = Says('"1.2" or "1.3", in quotes', choices=("1.2", "1.3"))
_AUTH = Says("a mapping with password_env, password_file or password", "secret")
_MAPPING = Says("a mapping", "other")
_SLOTS = Says('slots such as 0-5460 or "0-100,200", a list of such, or none', "other")
SETTING_SAYS = Says("text on one line, a number, yes or no")
_Name = Annotated[Name | None, Says("1 to 128 letters, digits or any of . _ - : [ ]")]
_Port = Annotated[Port | None, _PORT]
_Text = Annotated[Text | None, Says("text on one line, without spaces around it")]
_File = Annotated[Path | None, Says(_FILE)]
_Switch = Annotated[bool, Says("true or false", "bool")]
_Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=1000)]
_Replicas = Annotated[int, Field(ge=0, le=1999)]
_Weight = Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]


class AnnounceForm(Form):
    """How the other nodes reach this one, where that is not the address in the file."""

    host: Annotated[Host, Says("a host name or an IP address")] = Field(
        description="Host under which the other nodes reach this one."
    )
    port: _Port = _optional("Client port. Default: the node's port.")
    bus_port: _Port = _optional("Cluster bus port. Default: as the node reports it, else its port + 10000.")


class AuthForm(Form):
    """How to authenticate: one of the three password keys, and a user name if it is not `default`."""

    username: _Text = _optional("ACL user. Default: default.")
    password_env: Annotated[_Variable | None, Says("the name of an environment variable", "secret")] = (
        _optional("Environment variable that holds the password.")
    )
    password_file: Annotated[Path | None, Says(_FILE, "secret")] = _optional(
        "File that holds the password, relative to this one."
    )
    password: Annotated[Password | None, Says("text in quotes, not empty", "secret")] = _optional(
        "The password itself. Prefer one of the other two keys."
    )


class NodeForm(Form):
    """One node in long form."""

    name: _Name = _optional("Name of the node. Default: host:port.")
    host: Annotated[Host, Says("one host name or IP address")] = Field(
        description="Host name or IP address that clusterboot connects to, without brackets or ranges."
    )
    port: Annotated[Port, _PORT] = Field(description="Client port.")
    bus_port: _Port = _optional("Cluster bus port. Default: as the node reports it, else port + 10000.")
    zone: _Text = _optional("Failure zone. Replicas are placed in another zone than their primary.")
    role: Annotated[Literal["primary", "replica"] | None, _ROLE] = _optional(
        "Role at the start. Default: assigned automatically."
    )
    replica_of: Annotated[Text | None, Says("the name or address of a primary in this file")] = _optional(
        "Name or address of the node's primary. Implies role: replica."
    )
    slots: Annotated[SlotsForm | None, _SLOTS] = _optional(
        "Slots of this primary at the start. Default: an even share of the remaining slots."
    )
    weight: Annotated[_Weight | None, Says("a number above 0, at most 1000", "number")] = _optional(
        "Share of the automatic split, relative to the other primaries. Default: 1."
    )
    announce: Annotated[AnnounceForm | None, Says("a mapping with 'host'", "other")] = _optional(
        "How the other nodes reach this one (NAT). The node must announce the same."
    )
    auth: Annotated[AuthForm | None, _AUTH] = _optional("Replaces the auth for all nodes.")


class RetireForm(Form):
    """One member that is to leave, in long form: its address, its id, or both."""

    name: _Name = _optional("Name of the member. Default: host:port, or else the id.")
    host: Annotated[Host | None, Says("one host name or IP address")] = _optional(
        "Host name or IP address that clusterboot connects to. Needs port."
    )
    port: _Port = _optional("Client port. Needs host.")
    bus_port: _Port = _optional("Cluster bus port. Default: as the node reports it, else port + 10000.")
    id: Annotated[Id | None, Says("a node id of 40 hex digits, in quotes")] = _optional(
        "Node id, as CLUSTER NODES shows it. Enough for a member that is gone for good."
    )
    auth: Annotated[AuthForm | None, _AUTH] = _optional("Replaces the auth for all nodes.")


class PlanForm(Form):
    """How the nodes meet."""

    strategy: Annotated[Literal["star", "chain"], _STAR_OR_CHAIN] = _optional(
        "star: one hub meets all others. chain: each node meets the next.", "star"
    )
    hub: Annotated[Text | None, Says("the name or address of a node in this file")] = _optional(
        "Name or address of the node in the middle of the star. Default: chosen automatically."
    )
    boost: _Switch = _optional("Lower the timers of fresh nodes while they meet, then restore them.", True)
    extra_meets: _Switch = _optional("Repeat MEET from joining nodes to nodes with a stale view.", True)


class TlsForm(Form):
    """TLS for client connections."""

    ca: _File = _optional("CA certificates. Default: those of the system.")
    cert: _File = _optional("Client certificate. Needs key.")
    key: _File = _optional("Client key. Needs cert.")
    verify: _Switch = _optional("Check the server's certificate.", True)
    server_name: Annotated[Host | None, Says("a host name")] = _optional(
        "Name that certificates must carry, if it is not the host. Also sent as SNI."
    )
    min_version: Annotated[Literal["1.2", "1.3"] | None, _TLS_VERSION] = _optional(
        "Lowest TLS version. Default: that of Python's ssl module."
    )


class ServersForm(Form):
    """How --spawn and run start servers."""

    command: Annotated[Text | None, Says("the name or path of a server program")] = _optional(
        "Server program. Default: valkey-server or redis-server on PATH."
    )
    config: Annotated[dict[str, Setting], Says("a mapping of server settings", "other")] = Field(
        default={},
        description="Server settings, as in redis.conf.",
        json_schema_extra={"propertyNames": {"pattern": "^[a-z0-9-]+$"}},
    )


_NodeEntry = Annotated[Annotated[ShortForm, Tag("<other>")] | Annotated[NodeForm, Tag("<kind>")], is_a(dict)]
_RetireEntry = Annotated[
    Annotated[RetireText, Tag("<other>")] | Annotated[RetireForm, Tag("<kind>")], is_a(dict)
]
_Tls = Annotated[Annotated[bool, Tag("<other>")] | Annotated[TlsForm, Tag("<kind>")], is_a(dict)]


class TopologyForm(Form):
    """A whole topology file."""

    # Not Literal[1]: true == 1 in Python, and pydantic takes it.
    version: Annotated[int, Field(ge=1, le=1), Says("1", "number")] = Field(
        description="Version of this format.", json_schema_extra={"const": 1}
    )
    name: _Name = _optional("Name of the cluster.")
    nodes: Annotated[
        list[_NodeEntry], Field(min_length=1), Says("a list of nodes, at least one", "other")
    ] = Field(description="Addresses, ranges of addresses, or mappings; at most 2000 nodes.")
    retire: Annotated[list[_RetireEntry], Says("a list of members that are to leave", "other")] = Field(
        default=[],
        description="Members that are to leave the cluster: addresses, node ids, or mappings; at most 2000.",
    )
    replicas: Annotated[_Replicas | None, Says("a whole number from 0 to 1999", "number")] = _optional(
        "Replicas per primary, unless every role is given. Default: 0."
    )
    slots: Annotated[Literal["auto", "none"], Says("auto or none", choices=("auto", "none"))] = _optional(
        "auto: cover all 16384 slots. none: only join the nodes.", "auto"
    )
    plan: Annotated[PlanForm, _MAPPING] = _optional("How the nodes meet.", PlanForm())
    auth: Annotated[AuthForm | None, _AUTH] = _optional("How to authenticate with every node.")
    tls: Annotated[_Tls | None, Says("true, false or a mapping", "bool")] = _optional(
        "TLS for client connections. true: with the CA certificates of the system."
    )
    servers: Annotated[ServersForm, _MAPPING] = _optional("For --spawn and run only.", ServersForm())


SECTIONS: dict[tuple[str, ...], type[Form]] = {
    (): TopologyForm,
    ("nodes",): NodeForm,
    ("nodes", "announce"): AnnounceForm,
    ("nodes", "auth"): AuthForm,
    ("retire",): RetireForm,
    ("retire", "auth"): AuthForm,
    ("plan",): PlanForm,
    ("auth",): AuthForm,
    ("tls",): TlsForm,
    ("servers",): ServersForm,
}
"""The form of the mapping at each path, without positions in lists."""

ENTRIES: dict[str, Says] = {
    "nodes": Says(f"an address such as {EXAMPLES}, or a mapping with 'host' and 'port'", "other"),
    "retire": Says(
        f"an address such as {EXAMPLES}, a node id of 40 hex digits, or a mapping with 'host' and 'port', "
        "or 'id'",
        "other",
    ),
    "slots": Says("a slot or a range such as 0-5460", "other"),
}
"""What an entry of the list under that key must be."""


class _Generate(GenerateJsonSchema):
    """Leaves out null (None only means that a key is not there), and titles that repeat the key."""

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
    """Return the JSON Schema (draft 2020-12) of a topology file, as docs/topology.schema.json has it."""
    schema = TopologyForm.model_json_schema(schema_generator=_Generate)
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        **schema,
        "title": "clusterboot topology, version 1",
    }
