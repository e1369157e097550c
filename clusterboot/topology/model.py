"""The topology as other rooms see it: frozen, expanded, checked, with defaults filled in.

Only `clusterboot.topology.load` makes one, so it is valid. Passwords stay references (a variable, a file)
until a connection needs them; a literal one is hidden from repr.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from clusterboot.addresses import Endpoint
from clusterboot.errors import Problem
from clusterboot.slots import Slots

Role = Literal["primary", "replica"]
Strategy = Literal["star", "chain"]
Credential = tuple[str | None, str | None]  # user name and password

MAX_NODES = 2000
OWN_SETTINGS = {
    "port": "it comes from the node's address",
    "cluster-port": "it comes from the node's bus port",
    "cluster-enabled": "every server here is a cluster node",
    "cluster-config-file": "each server keeps its own in its folder",
    "dir": "each server has its own folder",
    "daemonize": "clusterboot watches over the process itself",
    "logfile": "each server logs into its folder",
    "pidfile": "clusterboot remembers the process itself",
}
"""Settings that clusterboot makes for each spawned server, and why a file cannot set them."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A literal password from the file; shows as stars everywhere but in `value`."""

    value: str = field(repr=False)

    def __str__(self) -> str:
        return "*****"


@dataclass(frozen=True, slots=True)
class Auth:
    """How to authenticate: at most one of `password`, `password_env`, `password_file` is set."""

    username: str | None = None
    password: Secret | None = None
    password_env: str | None = None
    password_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS for client connections; paths are absolute or relative to the working directory."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    verify: bool = True
    server_name: str | None = None
    min_version: Literal["1.2", "1.3"] | None = None


@dataclass(frozen=True, slots=True)
class Announce:
    """The address under which the other nodes reach a node, where it is not the one dialled."""

    host: str
    port: int | None = None
    bus_port: int | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """One node of the topology.

    `name` is unique, by default the address. `role`, `replica_of` (a name) and `slots` are None where the
    file leaves them to clusterboot; `slots` is the empty set for `none`. `auth` is the node's own or the one
    for all. `line` is where the file lists it, for messages.
    """

    name: str
    host: str
    port: int
    bus_port: int | None = None
    zone: str | None = None
    role: Role | None = None
    replica_of: str | None = None
    slots: Slots | None = None
    weight: float = 1.0
    announce: Announce | None = None
    auth: Auth | None = None
    line: int = 0

    @property
    def address(self) -> str:
        """`host:port`, with brackets around an IPv6 host."""
        return str(Endpoint(self.host, self.port))


@dataclass(frozen=True, slots=True)
class Retire:
    """A member that is to leave: a `node` with an address, an `id`, or both.

    `name` is what messages call it: the node's name, by default the address, or else the id. The `node` has
    no role, slots or zone.
    """

    name: str
    id: str | None = None
    node: Node | None = None
    line: int = 0


@dataclass(frozen=True, slots=True)
class Servers:
    """How `--spawn` and `run` start servers: the binary and settings for all of them."""

    command: str | None = None
    config: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Topology:
    """A whole topology file, with `nodes` in its order.

    `slots` is "none" if the nodes are only joined. `hub` is a node name. `retire` are members that are to
    leave; their names differ from those of all `nodes`. A run adds those that it finds alive to its `nodes`,
    with their names in `leaving`; the ids of the others are in `gone`. `warnings` are non-fatal problems.
    """

    nodes: tuple[Node, ...]
    name: str | None = None
    replicas: int = 0
    slots: Literal["auto", "none"] = "auto"
    strategy: Strategy = "star"
    hub: str | None = None
    boost: bool = True
    extra_meets: bool = True
    tls: Tls | None = None
    servers: Servers = Servers()
    retire: tuple[Retire, ...] = ()
    leaving: frozenset[str] = frozenset()
    gone: frozenset[str] = frozenset()
    warnings: tuple[Problem, ...] = ()

    @property
    def staying(self) -> Topology:
        """The same topology without the nodes that are to leave."""
        if not self.leaving:
            return self
        nodes = tuple(node for node in self.nodes if node.name not in self.leaving)
        return replace(self, nodes=nodes, leaving=frozenset())

    @property
    def reached(self) -> tuple[Node, ...]:
        """Every node that is connected to: `nodes`, then those under `retire` that have an address."""
        return (*self.nodes, *(each.node for each in self.retire if each.node is not None))
