"""Missing connections on the cluster bus, by what both sides say. Pure.

A node that MEETs another, or hears of it by gossip, connects to its bus port and lists it as `handshake`
until it answers. So a lasting handshake, a link that is down, `fail?` and `fail` all mean that this node
cannot reach that bus port. Where only the way back is blocked, the sender lists its peer and the peer does
not list the sender (cluster_legacy.c, clusterProcessPacket and clusterNodeCronHandleReconnect).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from clusterboot.addresses import BUS_OFFSET, Endpoint
from clusterboot.core.addressing import meeting_point
from clusterboot.core.groups import members, mutual
from clusterboot.core.views import Peer, View, Views
from clusterboot.topology import Node, Topology

Kind = Literal["handshake", "fail", "fail?", "down", "one-sided", "met"]
Outcome = Literal["open", "refused", "silent", "unreachable"]

# Gaps kept for one node: with more missing peers, the node itself is cut off.
_MAX_GAPS = 50
_ONE = ord("1")


@dataclass(frozen=True, slots=True)
class Gap:
    """`node` cannot reach the bus port of `peer`, at the address and port `at`; `kind` is how that shows."""

    node: str
    peer: str
    kind: Kind
    at: Endpoint


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was asked beyond the views; without what could not be found out in time.

    `ports`: the outcome of a connection from here to a bus port. `links`: by node and address, whether its
    connection there stands (CLUSTER LINKS, since Redis 7). `closed`: pairs of which the first sees the second
    by now, so that their gap was transient. `tls`: whether a node's bus speaks TLS. `replication`: INFO
    replication of out-of-sync replicas and of their primaries. Of these primaries, `denied`: the kinds of
    refused logins; `sync_delay`: repl-diskless-sync-delay in seconds; `syncs`: full syncs asked of them
    meanwhile; `unsaved`: those that cannot save their data. `forgot`: nodes that have carried out a CLUSTER
    FORGET (since Redis 7). `dropped`: pairs of which the first listed the second by id and no longer does.
    """

    ports: dict[Endpoint, Outcome] = field(default_factory=dict)
    links: dict[str, dict[Endpoint, bool]] = field(default_factory=dict)
    closed: set[tuple[str, str]] = field(default_factory=set)
    tls: dict[str, bool] = field(default_factory=dict)
    replication: dict[str, Mapping[str, str]] = field(default_factory=dict)
    denied: dict[str, tuple[str, ...]] = field(default_factory=dict)
    sync_delay: dict[str, int] = field(default_factory=dict)
    syncs: dict[str, int] = field(default_factory=dict)
    unsaved: set[str] = field(default_factory=set)
    forgot: set[str] = field(default_factory=set)
    dropped: set[tuple[str, str]] = field(default_factory=set)


class BusView:
    """What all views together say about the bus: which nodes see and list which others, and every gap.

    `capped`: some node misses so many peers that gaps are left out.
    """

    def __init__(self, topology: Topology, views: Views, met: Iterable[tuple[str, str]] = ()) -> None:
        """Take the views; `met` are the pairs for which a MEET was accepted, (sender, receiver)."""
        self.nodes = {node.name: node for node in topology.nodes}
        self.views = views
        self.met = frozenset(met)
        self.names = [name for name in self.nodes if name in views]
        self._bit = {name: 1 << index for index, name in enumerate(self.names)}
        # One bit per node, as in core.groups.
        self._sees = dict.fromkeys(self.names, 0)
        self._lists = dict.fromkeys(self.names, 0)
        self._seen = 0
        self.gaps: dict[tuple[str, str], Gap] = {}
        self.capped = False
        self._from_lines()
        self._from_one_side()
        for node, peer in self.met:
            if node in self._bit and peer in self._bit and not self._lists[node] & self._bit[peer]:
                self._add(Gap(node, peer, "met", self.endpoint(peer)))

    def sees(self, node: str) -> list[str]:
        """Return the other nodes that a node sees."""
        return list(members(self._sees[node], self.names))

    def seen(self, node: str) -> bool:
        """Return whether any other node sees `node`."""
        return bool(self._seen & self._bit[node])

    def unlisted(self) -> list[tuple[str, str]]:
        """Return pairs of which the first does not list the second, which sees the first; not all if many."""
        found: list[tuple[str, str]] = []
        all_nodes = (1 << len(self.names)) - 1
        for name in self.names:
            mine = self._bit[name]
            if not self._seen & mine:
                continue
            others = members(all_nodes & ~self._lists[name] & ~mine, self.names)
            found += [(name, other) for other in others if self._sees[other] & mine]
            if len(found) > _MAX_GAPS * _MAX_GAPS:
                break
        return found

    def groups(self) -> list[list[str]]:
        """Return the groups of nodes that see each other, in the order of the topology."""
        sees = list(self._sees.values())
        return [list(members(mask, self.names)) for mask in mutual(sees, sees)]

    def endpoint(self, name: str) -> Endpoint:
        """Return the address and bus port at which others should reach a node."""
        host, port, bus_port = meeting_point(self.nodes[name], self.views[name])
        return Endpoint(host, bus_port or port + BUS_OFFSET)

    def _from_lines(self) -> None:
        by_id = {view.id: name for name, view in self.views.items()}
        by_address: dict[Endpoint, str] = {}
        for name in self.names:
            for address in _addresses(self.nodes[name], self.views[name]):
                by_address.setdefault(address, name)
        # Equal lines share one `Peer`: most of N² lines need one look-up; a mask is made of a row at once.
        place = {name: len(self.names) - 1 - index for index, name in enumerate(self.names)}
        seen_lines: dict[int, int] = {}
        for name in self.names:
            shaking: dict[str, Peer] = {}
            row = bytearray(b"0" * len(self.names))
            missed = 0
            for line in self.views[name].peers:
                at = seen_lines.get(id(line))
                if at is not None:
                    row[at] = _ONE
                    continue
                other = by_id.get(line.id)
                if line.myself or other == name:
                    continue
                if other is None:
                    other = by_address.get(Endpoint(line.ip, line.port)) if line.handshake else None
                    if other is not None and other != name:
                        shaking[other] = line
                elif other in place:
                    if line.seen:
                        row[place[other]] = _ONE
                        seen_lines[id(line)] = place[other]
                        continue
                    missed += 1
                    self._lists[name] |= self._bit[other]
                    if missed <= _MAX_GAPS:
                        self._add(Gap(name, other, _kind(line), self._tried(other, line)))
            self._sees[name] = int(row, 2)
            self._lists[name] |= self._sees[name]
            self._seen |= self._sees[name]
            self.capped |= missed > _MAX_GAPS
            for other, line in shaking.items():
                if not self._lists[name] & self._bit[other]:
                    self._add(Gap(name, other, "handshake", self._tried(other, line)))

    def _from_one_side(self) -> None:
        tried = {gap.node for gap in self.gaps.values()}
        active = sum(self._bit[name] for name, mask in self._sees.items() if mask)
        for name in self.names:
            # A node that sees others learns the rest by gossip; one that does not reach a peer takes none.
            if self._sees[name] or name in tried:
                continue
            for other in members(active & ~self._lists[name] & ~self._bit[name], self.names):
                if self._sees[other] & self._bit[name]:
                    self._add(Gap(name, other, "one-sided", self.endpoint(other)))

    def _tried(self, name: str, line: Peer) -> Endpoint:
        if not line.ip:
            return self.endpoint(name)
        return Endpoint(line.ip, line.bus_port or line.port + BUS_OFFSET)

    def _add(self, gap: Gap) -> None:
        self.gaps.setdefault((gap.node, gap.peer), gap)


def _addresses(node: Node, view: View) -> Iterator[Endpoint]:
    """Every address under which others may list a node while they do not know its id."""
    host, port, _ = meeting_point(node, view)
    yield Endpoint(host, port)
    yield Endpoint(view.ip, node.port)
    yield Endpoint(view.ip, view.me.port)
    if view.me.ip:
        yield Endpoint(view.me.ip, view.me.port)


def _kind(line: Peer) -> Kind:
    if "fail" in line.flags:
        return "fail"
    if "fail?" in line.flags:
        return "fail?"
    return "handshake" if line.handshake else "down"


def by_peer(gaps: Iterable[Gap]) -> Mapping[str, list[Gap]]:
    """Return the gaps by the node that cannot be reached."""
    found: dict[str, list[Gap]] = defaultdict(list)
    for gap in gaps:
        found[gap.peer].append(gap)
    return found
