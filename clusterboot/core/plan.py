"""The plan: what is still missing, as a tuple of frozen steps. Pure.

`plan(topology, target)` is the plan for fresh nodes; with views it is what those nodes still lack.
The steps of one plan do not depend on what an earlier run did, so a run that was cut off anywhere is
gone on with by planning again (tests/core/test_plan.py replays every prefix).

The MEET plan is the smallest that connects everybody: one MEET fewer than there are groups of nodes
that already know each other, since gossip carries knowledge inside a group and the receiver of a MEET
accepts its sender. It is sent in one direction only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from clusterboot.addresses import BUS_OFFSET, is_loopback_address
from clusterboot.core.placement import Placement
from clusterboot.core.views import View
from clusterboot.slots import NONE, Slots
from clusterboot.topology import Node, Topology

Views = Mapping[str, View]


@dataclass(frozen=True, slots=True)
class SetEpoch:
    """Give `node` its config epoch, so that primaries do not start with equal ones and sort it out later."""

    node: str
    epoch: int
    kind: ClassVar[str] = "epoch"


@dataclass(frozen=True, slots=True)
class AddSlots:
    """Let `node` serve `slots`, which nobody serves yet."""

    node: str
    slots: Slots
    kind: ClassVar[str] = "slots"


@dataclass(frozen=True, slots=True)
class Meet:
    """Let `node` meet `peer` at `host`:`port`; `bus_port` is None for the default, port + 10000.

    `host` is numeric when the plan was made from views, and what the file says otherwise.
    """

    node: str
    peer: str
    host: str
    port: int
    bus_port: int | None = None
    kind: ClassVar[str] = "meet"


@dataclass(frozen=True, slots=True)
class Replicate:
    """Let `node` replicate `primary` (a node name)."""

    node: str
    primary: str
    kind: ClassVar[str] = "replicate"


Step = SetEpoch | AddSlots | Meet | Replicate


@dataclass(frozen=True, slots=True)
class Plan:
    """The missing steps in the order in which they are sent, and how many groups there were."""

    steps: tuple[Step, ...]
    groups: int

    @property
    def meets(self) -> tuple[Meet, ...]:
        """The MEETs among the steps."""
        return tuple(step for step in self.steps if isinstance(step, Meet))


def plan(topology: Topology, target: Placement, views: Views | None = None) -> Plan:
    """Return the steps that bring `views` to `target`; without views, those for fresh nodes.

    `views` must have every node of the topology. Steps come in the order epochs, slots, MEET,
    REPLICATE; a REPLICATE is planned whether or not its node knows the primary yet.
    """
    groups = [[node.name] for node in topology.nodes] if views is None else group(views)
    meets = _meets(topology, groups, views)
    if topology.slots == "none":
        return Plan(meets, len(groups))
    epochs = _epochs(target, views)
    slots = _missing_slots(target, views)
    return Plan((*epochs, *slots, *meets, *_replicates(target, views)), len(groups))


def group(views: Views, *, connected: bool = True) -> list[list[str]]:
    """Return the groups of nodes that know each other, in the order of `views`, members likewise.

    Two nodes are of one group when each lists the other's id: a node ignores the gossip of a node it
    does not know, so knowledge on one side only connects nothing (cluster_legacy.c,
    clusterProcessPacket). Handshakes have random ids and so never count. With `connected` one of the
    two must be connected to the other as well: nodes that were all started again at new addresses list
    each other where nobody is, and a MEET mends that like any other lack.
    """
    names = list(views)
    bit = {view.id: 1 << index for index, view in enumerate(views.values())}
    # One bit per node: N sets of N ids would take more memory than everything else together.
    known, linked = [], []
    for view in views.values():
        mask = broken = 0
        for peer in view.peers:
            mask |= bit.get(peer.id, 0)
            if not peer.connected:
                broken |= bit.get(peer.id, 0)
        known.append(mask)
        linked.append(mask & ~broken)
    unseen = (1 << len(names)) - 1
    groups: list[list[str]] = []
    while unseen:
        members = edge = unseen & -unseen
        unseen &= ~edge
        while edge:
            index = (edge & -edge).bit_length() - 1
            edge &= edge - 1
            mine = 1 << index
            found = 0
            candidates = known[index] & unseen
            while candidates:
                other = candidates & -candidates
                candidates &= ~other
                number = other.bit_length() - 1
                if known[number] & mine and (linked[index] & other or linked[number] & mine or not connected):
                    found |= other
            unseen &= ~found
            edge |= found
            members |= found
        groups.append([name for index, name in enumerate(names) if members >> index & 1])
    return groups


def _meets(topology: Topology, groups: Sequence[Sequence[str]], views: Views | None) -> tuple[Meet, ...]:
    if len(groups) < 2:
        return ()
    nodes = {node.name: node for node in topology.nodes}

    def meet(name: str, peer: str) -> Meet:
        return Meet(name, peer, *meeting_point(nodes[peer], views[peer] if views else None))

    if topology.strategy == "chain":
        # Each group meets the next: the last node of one meets the first of the other, in file order.
        return tuple(meet(left[-1], right[0]) for left, right in pairwise(groups))
    wanted = topology.hub or topology.nodes[0].name
    largest = max(groups, key=lambda members: (len(members), wanted in members))
    hub = wanted if wanted in largest else largest[0]
    return tuple(meet(hub, members[0]) for members in groups if hub not in members)


def meeting_point(node: Node, view: View | None) -> tuple[str, int, int | None]:
    """Return host, port and bus port (None: the default) under which other nodes are to meet `node`.

    What the topology announces wins, then what it gives; what it leaves open is what the node itself
    says, since a node's own announcement wins over the address it was met under within seconds. A node
    that is dialled at a loopback address is met at the one that its peers know it by, if that is no
    loopback address: a node's own line keeps its last address, so after a restart at another loopback
    address the one there is where nobody is any more.
    """
    host, port, bus_port = node.host, node.port, node.bus_port
    if view is not None:
        host = view.config.get("cluster-announce-ip") or view.ip
        # Where CONFIG is refused, an address that a node has before it knows anybody is an announced one.
        silent = "cluster-announce-ip" not in view.config and len(view.peers) == 1
        if view.me.ip and (silent or (is_loopback_address(host) and not is_loopback_address(view.me.ip))):
            host = view.me.ip
        port = view.me.port or port
        bus_port = bus_port or view.me.bus_port
    if node.announce is not None:
        host = node.announce.host
        port = node.announce.port or port
        bus_port = node.announce.bus_port or bus_port
    return host, port, bus_port if bus_port and bus_port != port + BUS_OFFSET else None


def _epochs(target: Placement, views: Views | None) -> Iterable[SetEpoch]:
    """An epoch of its own for each node of a cluster that is to serve: replicas below all primaries.

    Every node is a primary until its REPLICATE, and primaries with equal epochs bump one of them past all
    others. Valkey from 8.1 on ignores as stale what a replica says of itself while its primary's epoch is
    lower than the one that it had; some nodes then took it for a primary for good (measured: one run in
    six of 150 nodes). Only a node that knows nobody and whose epoch is 0 takes one (SET-CONFIG-EPOCH). Who
    joins nodes that serve, and is to have no slots, keeps 0: it must never outrank them.
    """
    serving = any(view.state_ok and view.me.slots for view in views.values()) if views else False
    used = {view.me.epoch for view in views.values()} if views else set()
    ranked = sorted(target.spots, key=lambda name: target.spots[name].role == "primary")
    epoch = 0
    chosen: dict[str, int] = {}
    for name in ranked:
        spot = target.spots[name]
        if not spot.slots and (spot.role == "primary" or serving):
            continue
        epoch += 1
        view = views[name] if views else None
        if view is not None and (view.me.epoch or len(view.peers) > 1 or view.me.slots):
            continue
        while epoch in used:
            epoch += 1
        used.add(epoch)
        chosen[name] = epoch
    return (SetEpoch(name, chosen[name]) for name in target.spots if name in chosen)


def _missing_slots(target: Placement, views: Views | None) -> Iterable[AddSlots]:
    for name, spot in target.spots.items():
        missing = spot.slots - (views[name].me.slots if views else NONE)
        if missing:
            yield AddSlots(name, missing)


def _replicates(target: Placement, views: Views | None) -> Iterable[Replicate]:
    for name, spot in target.spots.items():
        if spot.primary is None:
            continue
        if views is None or views[name].me.primary != views[spot.primary].id:
            yield Replicate(name, spot.primary)
