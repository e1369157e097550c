"""The plan: what is still missing, as a tuple of frozen steps. Pure.

An interrupted run is continued by planning again (tests/core/test_plan.py replays every prefix). There is one
MEET fewer than groups of nodes that know each other, the least that connects all: gossip carries knowledge
inside a group, and the receiver of a MEET accepts its sender.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from clusterboot.core.addressing import meeting_point
from clusterboot.core.groups import group
from clusterboot.core.placement import Placement
from clusterboot.core.steps import AddSlots, Meet, Replicate, SetEpoch, Step
from clusterboot.core.views import Views
from clusterboot.slots import NONE
from clusterboot.topology import Topology


@dataclass(frozen=True, slots=True)
class Plan:
    """The missing steps in the order in which they are sent, and how many groups there are."""

    steps: tuple[Step, ...]
    groups: int

    @property
    def meets(self) -> tuple[Meet, ...]:
        """The MEETs among the steps."""
        return tuple(step for step in self.steps if isinstance(step, Meet))


def plan(topology: Topology, target: Placement, views: Views | None = None) -> Plan:
    """Return the steps that bring `views` to `target`; without views, those for fresh nodes.

    `views` must have every node of the topology. Steps come in the order epochs, slots, MEET, REPLICATE,
    which is planned whether or not its node knows the primary yet.
    """
    groups = [[node.name] for node in topology.nodes] if views is None else group(views)
    meets = _meets(topology, groups, views)
    if topology.slots == "none":
        return Plan(meets, len(groups))
    slots = [
        AddSlots(name, missing)
        for name, spot in target.spots.items()
        if (missing := spot.slots - (views[name].me.slots if views else NONE))
    ]
    replicates = [
        Replicate(name, primary)
        for name, primary in target.primary_of.items()
        if views is None or views[name].me.primary != views[primary].id
    ]
    return Plan((*_epochs(target, views), *slots, *meets, *replicates), len(groups))


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


def _epochs(target: Placement, views: Views | None) -> Iterable[SetEpoch]:
    """A different epoch for each node of a cluster that is to serve: replicas below all primaries.

    Every node is a primary until its REPLICATE, and of primaries with equal epochs one moves past all others.
    Valkey from 8.1 on ignores what a replica says while its primary's epoch is lower than its former own;
    some nodes then listed it as a primary without end (measured: one run in six of 150 nodes).
    SET-CONFIG-EPOCH needs epoch 0 and no known node. A node without slots that joins serving nodes keeps 0:
    it must never outrank them.
    """
    views = views or {}
    serving = any(view.state_ok and view.me.slots for view in views.values())
    used = {view.me.epoch for view in views.values()}
    epoch = 0
    chosen: dict[str, int] = {}
    for name, spot in sorted(target.spots.items(), key=lambda item: item[1].role == "primary"):
        if not spot.slots and (spot.role == "primary" or serving):
            continue
        epoch += 1
        view = views.get(name)
        if view is not None and (view.me.epoch or len(view.peers) > 1 or view.me.slots):
            continue
        while epoch in used:
            epoch += 1
        used.add(epoch)
        chosen[name] = epoch
    return (SetEpoch(name, chosen[name]) for name in target.spots if name in chosen)
