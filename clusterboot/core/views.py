"""What nodes say, as frozen views: CLUSTER NODES, CLUSTER INFO, INFO and CONFIG GET.

Replies are not trusted: unreadable text raises ValueError with a sentence, unknown fields are ignored, and no
result grows faster than its text. Line format (cluster_legacy.c, representClusterNodeFlags and
clusterGenNodeDescription; redis.io/commands/cluster-nodes):
    id ip:port@bus[,hostname[,aux=value…]] flags primary|- ping pong epoch link slot… [slot->-id]
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from clusterboot.addresses import Endpoint
from clusterboot.slots import Slots

# Lines kept for reuse, by all their fields but the ping and pong times, which differ in every reply.
Seen = dict[tuple[str, ...], "Peer"]

# Flags that keep a peer from counting as seen.
TROUBLE = frozenset({"handshake", "noaddr", "fail", "fail?"})

_ID = re.compile(r"[0-9a-f]{40}", re.ASCII)
_MAX_LINES = 20_000
_MAX_LINES_KEPT = 100_000

# The fields of INFO that clusterboot uses.
_INFO_FIELDS = {
    *("redis_version", "valkey_version", "run_id", "loading", "role", "master_link_status"),
    *("master_sync_in_progress", "master_link_down_since_seconds"),
    *("used_memory", "used_memory_dataset", "maxmemory", "master_sync_read_bytes"),
}


@dataclass(frozen=True, slots=True)
class Peer:
    """One line of CLUSTER NODES: a node as another one, or itself, lists it.

    `ip` is empty and `port` 0 where the lister does not know them; `bus_port` is 0 before Redis 4. `primary`
    is the id of a replica's primary. `connected` is the state of the lister's link to it (True for its own
    line). `migrating` and
    `importing` are its open slots with the id of the other end, in its own line only (on Valkey its replicas
    repeat them in theirs).
    """

    id: str
    ip: str
    port: int
    bus_port: int
    flags: frozenset[str]
    primary: str | None
    epoch: int
    connected: bool
    slots: Slots
    migrating: tuple[tuple[int, str], ...] = ()
    importing: tuple[tuple[int, str], ...] = ()

    @property
    def moving(self) -> bool:
        """Whether a slot is being migrated or imported."""
        return bool(self.migrating or self.importing)

    @property
    def myself(self) -> bool:
        """Whether the line is the lister's own."""
        return "myself" in self.flags

    @property
    def replica(self) -> bool:
        """Whether it is listed as a replica (the flag is still called slave)."""
        return "slave" in self.flags

    @property
    def handshake(self) -> bool:
        """Whether the handshake with it has not ended; its id is random until then."""
        return "handshake" in self.flags

    @property
    def seen(self) -> bool:
        """Whether the lister is connected to it and sets no flag of TROUBLE."""
        return self.connected and not (self.flags & TROUBLE)

    @property
    def address(self) -> str:
        """`ip:port` as listed, with brackets around IPv6."""
        return str(Endpoint(self.ip, self.port))


class Version(NamedTuple):
    """A server's version, comparable within one kind of server."""

    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


@dataclass(frozen=True, slots=True)
class View:
    """What one node said at one time.

    `name` is its name in the topology, `ip` the numeric address that answered. `peers` includes its own
    line. `info`, `cluster` and `config` are the fields of INFO, CLUSTER INFO and CONFIG GET as text;
    `config` is empty where the node refuses CONFIG. `databases` has the number of keys by database.
    """

    name: str
    ip: str
    peers: tuple[Peer, ...]
    info: Mapping[str, str] = field(default_factory=dict)
    cluster: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, str] = field(default_factory=dict)
    databases: Mapping[int, int] = field(default_factory=dict)

    @property
    def keys(self) -> int:
        """The number of keys in all databases."""
        return sum(self.databases.values())

    @property
    def me(self) -> Peer:
        """The node's own line; `parse_nodes` makes sure that there is exactly one."""
        return next(peer for peer in self.peers if peer.myself)

    @property
    def id(self) -> str:
        """The node's id."""
        return self.me.id

    @property
    def known(self) -> int:
        """How many nodes it counts, with itself and handshakes (CLUSTER INFO)."""
        return number(self.cluster.get("cluster_known_nodes", "")) or len(self.peers)

    @property
    def state_ok(self) -> bool:
        """Whether it answers clients: `cluster_state:ok`."""
        return self.cluster.get("cluster_state") == "ok"

    @property
    def in_sync(self) -> bool:
        """Whether its link to its primary is up; True for a primary."""
        return self.info.get("role") == "master" or self.info.get("master_link_status") == "up"

    @property
    def sync_bytes(self) -> int:
        """How much of a full sync it has received."""
        return number(self.info.get("master_sync_read_bytes", ""))

    @property
    def run_id(self) -> str:
        """The random id of the running process, the same at all its addresses."""
        return self.info.get("run_id", "")

    @property
    def hides_info(self) -> bool:
        """Whether it refused INFO, which otherwise has a version and a run_id."""
        return "redis_version" not in self.info and not self.run_id

    @property
    def kind(self) -> Literal["redis", "valkey"]:
        """Which server it is; Valkey also reports a redis_version, for clients."""
        return "valkey" if "valkey_version" in self.info else "redis"

    @property
    def version(self) -> Version:
        """Its version; zeros where it is unknown."""
        text = self.info.get(f"{self.kind}_version", "")
        parts = [number(part) for part in text.split(".")[:3]]
        major, minor, patch = (*parts, 0, 0, 0)[:3]
        return Version(major, minor, patch)

    @property
    def node_timeout(self) -> float:
        """Its cluster-node-timeout in seconds; 15, the default, where CONFIG is refused."""
        return (number(self.config.get("cluster-node-timeout", "")) or 15_000) / 1000

    def knows(self, node_id: str) -> Peer | None:
        """Return its line for `node_id`, or None."""
        return next((peer for peer in self.peers if peer.id == node_id), None)


Views = Mapping[str, View]
"""The views of several nodes by name."""


def parse_nodes(text: str, seen: Seen | None = None) -> tuple[Peer, ...]:
    """Return the lines of a CLUSTER NODES reply in the order given.

    `seen` is filled with every line and makes equal lines share one `Peer`: the N² lines of a mesh of N nodes
    cost about N objects. Raises ValueError with a sentence when a line cannot be understood, when two lines
    have one id, or when not exactly one line is the node's own.
    """
    seen = {} if seen is None else seen
    if len(seen) > _MAX_LINES_KEPT:
        # Bounds the memory where lines change in every reply.
        seen.clear()
    peers: list[Peer] = []
    myself = 0
    for line in text.split("\n"):
        fields = line.rstrip("\r").split(" ")
        if len(fields) < 8:
            if line.strip():
                raise ValueError(f"a line of CLUSTER NODES has {len(fields)} fields instead of 8")
            continue
        key = (*fields[:4], *fields[6:])
        peer = seen.get(key)
        if peer is None:
            peer = seen[key] = _peer(fields)
        if "myself" in peer.flags:
            myself += 1
        peers.append(peer)
        if len(peers) > _MAX_LINES:
            raise ValueError(f"CLUSTER NODES has more than {_MAX_LINES} lines")
    if myself != 1:
        raise ValueError(f"CLUSTER NODES has {myself} lines with the flag myself instead of one")
    if len({peer.id for peer in peers}) != len(peers):
        raise ValueError("CLUSTER NODES has two lines with one node id")
    return tuple(peers)


def _peer(fields: list[str]) -> Peer:
    node_id, where, flag_text, primary, _, _, epoch, link, *slot_fields = fields
    if not _ID.fullmatch(node_id):
        raise ValueError("a line of CLUSTER NODES does not start with a node id")
    address, _, bus = where.partition(",")[0].partition("@")
    ip, _, port = address.rpartition(":")
    flags = frozenset(flag_text.split(","))
    ranges: list[tuple[int, int]] = []
    for slot_text in slot_fields:
        if slot_text and not slot_text.startswith("["):
            ranges += Slots.parse(slot_text).ranges
    return Peer(
        id=node_id,
        ip=ip.strip("[]"),
        port=number(port),
        bus_port=number(bus),
        flags=flags,
        primary=primary if _ID.fullmatch(primary) else None,
        epoch=number(epoch),
        connected=link == "connected" or "myself" in flags,
        slots=Slots.of(ranges),
        migrating=_open_slots(slot_fields, "->-"),
        importing=_open_slots(slot_fields, "-<-"),
    )


def _open_slots(fields: list[str], arrow: str) -> tuple[tuple[int, str], ...]:
    """Return slot and id of the other end of every mark such as `[93->-ID]`."""
    found = (field.strip("[]").partition(arrow) for field in fields if field.startswith("["))
    return tuple((number(slot), other) for slot, sign, other in found if sign)


def parse_fields(text: str) -> dict[str, str]:
    """Return the `name:value` lines of INFO or CLUSTER INFO; headings and odd lines are skipped."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            found[name] = value
    return found


def parse_info(text: str) -> tuple[dict[str, str], dict[int, int]]:
    """Return the fields of INFO that clusterboot uses, and the number of keys by database.

    Keys come from the keyspace section (`db0:keys=1,expires=0,…`): DBSIZE only counts the selected database.
    """
    fields = parse_fields(text)
    keys = {
        number(name[2:]): number(value[5:].partition(",")[0])
        for name, value in fields.items()
        if name.startswith("db") and name[2:].isdigit() and value.startswith("keys=")
    }
    return {name: value for name, value in fields.items() if name in _INFO_FIELDS}, keys


def number(text: str) -> int:
    """Return `text` as a number from 0 on, and 0 for any other text."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0
