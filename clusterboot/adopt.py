"""What a running or half-built cluster already is, and whether the topology may go on from there. Pure.

`adopt` turns views into pins for `placement.place`: whoever serves slots keeps them, whoever replicates
a node of the topology goes on doing so. What the file says about roles and slots is how a cluster
starts; a failover or a replica that moved is kept, with a warning. What the file says and the cluster
contradicts in a way that only moving data could mend is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from clusterboot.errors import Exit, Problem
from clusterboot.nodes import View
from clusterboot.placement import Placement, Spot, place, wanted_primaries
from clusterboot.plan import Views, group
from clusterboot.slots import NONE, Slots, union
from clusterboot.topology import Topology

_START_OVER = (
    "if this is left over from another attempt, 'clusterboot down TOPOLOGY --reset --yes' empties the nodes"
)


@dataclass(frozen=True, slots=True)
class Adopted:
    """The target around what exists already, and what forbids going there (empty: nothing)."""

    target: Placement
    refusals: tuple[Problem, ...] = ()


def adopt(topology: Topology, views: Views) -> Adopted:
    """Return the target for a topology whose nodes are as in `views` (one of every node)."""
    ids = {view.id: name for name, view in views.items()}
    pins = _pins(topology, views, ids)
    target = place(topology, pins)
    if topology.slots == "none":
        return Adopted(target, tuple(_split_ownership(topology, views)))
    fresh = place(topology)
    refusals = [
        *_split_ownership(topology, views),
        *_keys_without_slots(views),
        *_contradictions(topology, pins),
    ]
    warnings = (*target.warnings, *_kept(topology, fresh, pins))
    return Adopted(replace(target, warnings=warnings), tuple(refusals))


def _pins(topology: Topology, views: Views, ids: Mapping[str, str]) -> dict[str, Spot]:
    """Serving primaries, replicas of the topology's own nodes, and primaries that have such replicas."""
    pins: dict[str, Spot] = {}
    followed: set[str] = set()
    for name, view in views.items():
        primary = ids.get(view.me.primary or "")
        if view.me.replica and primary is not None:
            pins[name] = Spot("replica", primary)
            followed.add(primary)
        elif view.me.slots:
            pins[name] = Spot("primary", None, view.me.slots)
    for name in followed:
        pins.setdefault(name, Spot("primary"))
    if topology.slots == "none":
        return {name: pins.get(name, Spot("primary")) for name in views}
    return pins


def _split_ownership(topology: Topology, views: Views) -> list[Problem]:
    """Two groups that both own slots are one cluster of ours, half-built, or two clusters: tell them apart."""
    groups = [
        (members, union(views[name].me.slots for name in members))
        for members in group(views)
        if any(views[name].me.slots for name in members)
    ]
    if len(groups) < 2:
        return []
    found: list[Problem] = []
    if topology.slots == "auto":
        planned = place(topology).spots
        for members, _ in groups:
            for name in members:
                extra = views[name].me.slots - planned[name].slots
                if extra:
                    found.append(
                        _refusal(
                            "two-clusters",
                            f"{name} already owns the slots {extra}, which this topology does not give it, and "
                            f"it does not know {_others(groups, members)}: two clusters would be merged.",
                            name,
                            f"give each cluster a topology of its own; {_START_OVER}",
                        )
                    )
    for index, (members, slots) in enumerate(groups):
        for others, other_slots in groups[index + 1 :]:
            overlap = slots & other_slots
            if overlap:
                found.append(
                    _refusal(
                        "slots-overlap",
                        f"{_owner(views, members, overlap)} and {_owner(views, others, overlap)} do not know "
                        f"each other and both own the slots {overlap}: two clusters would be merged.",
                        _owner(views, members, overlap),
                        f"give each cluster a topology of its own; {_START_OVER}",
                        peer=_owner(views, others, overlap),
                    )
                )
    for members, _ in groups:
        for name in members:
            if views[name].keys and views[name].me.slots:
                found.append(
                    _refusal(
                        "two-clusters-with-keys",
                        f"{name} holds {views[name].keys} keys and does not know {_others(groups, members)}, "
                        "which owns slots as well: two clusters would be merged.",
                        name,
                        "give each cluster a topology of its own, or move the data away first",
                    )
                )
    return found


def _keys_without_slots(views: Views) -> list[Problem]:
    return [
        _refusal(
            "keys-without-slots",
            f"{name} holds {view.keys} keys but owns no slots: they would be lost or out of reach.",
            name,
            "copy the keys elsewhere and empty the node (FLUSHALL), or leave it out of the topology",
        )
        for name, view in views.items()
        if view.keys and not view.me.slots and not view.me.replica
    ]


def _contradictions(topology: Topology, pins: Mapping[str, Spot]) -> list[Problem]:
    """What the file spells out and only moving slots could bring about."""
    serving = {name: spot.slots for name, spot in pins.items() if spot.slots}
    heads = {name: spot.primary or name for name, spot in pins.items()}
    found: list[Problem] = []
    wanted = wanted_primaries(topology)
    if len(serving) > wanted:
        # Name those who are replicas by the file first, else the last ones in it.
        fresh = place(topology).spots
        surplus = sorted(serving, key=lambda name: fresh[name].role == "primary")
        count = len(serving) - wanted
        for name in surplus[:count]:
            found.append(
                _refusal(
                    "too-many-primaries",
                    f"{name} serves the slots {serving[name]}, but of the {len(serving)} nodes that serve "
                    f"slots this topology makes {count} a replica.",
                    name,
                    "move its slots away first (redis-cli --cluster reshard), or lower 'replicas' or change "
                    "its role in the topology",
                )
            )
    explicit = {node.name: node.slots for node in topology.nodes if node.slots is not None}
    for name, slots in explicit.items():
        head = heads.get(name, name)
        for owner, owned in serving.items():
            wrong = (owned & slots) if owner != head else NONE
            if wrong:
                found.append(_elsewhere(owner, wrong, name))
        beyond = serving.get(head, NONE) - slots if head in serving else NONE
        for other, theirs in explicit.items():
            if other != name:
                beyond -= theirs  # reported above, for the node that it is planned for
        if beyond:
            found.append(
                _refusal(
                    "slots-elsewhere",
                    f"{head} serves the slots {beyond}, which the topology does not give it.",
                    head,
                    "move the slots (redis-cli --cluster reshard) or list them in the topology",
                )
            )
    return found


def _elsewhere(owner: str, slots: Slots, planned: str) -> Problem:
    return _refusal(
        "slots-elsewhere",
        f"{owner} serves the slots {slots}, which the topology gives to {planned}.",
        owner,
        "move the slots (redis-cli --cluster reshard) or change 'slots' in the topology",
        peer=planned,
    )


def _kept(topology: Topology, fresh: Placement, pins: Mapping[str, Spot]) -> list[Problem]:
    """Warnings about what a running cluster has otherwise than the file spells out."""
    found: list[Problem] = []
    for node in topology.nodes:
        pin = pins.get(node.name)
        if pin is None:
            continue
        role = "replica" if node.replica_of else node.role or ("primary" if node.slots else None)
        if pin.role == "replica" and role == "primary":
            found.append(
                _warning(
                    "failed-over",
                    f"{node.name} is a replica of {pin.primary} now, not a primary as in the topology: a "
                    "failover is kept.",
                    node.name,
                    pin.primary,
                    "run CLUSTER FAILOVER on it to swap the roles back, or swap them in the topology",
                )
            )
        elif pin.role == "replica" and node.replica_of not in (None, pin.primary):
            assert node.replica_of is not None
            planned = pins.get(node.replica_of)
            if planned is None or planned.primary != pin.primary:
                found.append(
                    _warning(
                        "replica-moved",
                        f"{node.name} replicates {pin.primary}, not {node.replica_of} as in the topology: kept.",
                        node.name,
                        pin.primary,
                        f"run CLUSTER REPLICATE on {node.name} to move it, or change the topology",
                    )
                )
        elif pin.role == "primary" and role == "replica":
            found.append(
                _warning(
                    "failed-over",
                    f"{node.name} is a primary now, not a replica as in the topology: a failover is kept.",
                    node.name,
                    node.replica_of,
                    "run CLUSTER FAILOVER on its replica to swap the roles back, or swap them in the topology",
                )
            )
    swapped = [
        name
        for name, pin in pins.items()
        if pin.role == "replica" and pin.primary and _swapped(name, pin.primary, fresh)
    ]
    spelled = {problem.node for problem in found}
    for name in swapped:
        pin = pins[name]
        if name not in spelled:
            found.append(
                _warning(
                    "failed-over",
                    f"{name} would be the primary of {pin.primary} on fresh nodes and is its replica now: a "
                    "failover is kept.",
                    name,
                    pin.primary,
                    f"run CLUSTER FAILOVER on {name} to swap the roles back; nothing has to be done",
                )
            )
    return found


def _swapped(name: str, primary: str, fresh: Placement) -> bool:
    return fresh.spots[name].role == "primary" and fresh.spots[primary].primary == name


def _others(groups: Sequence[tuple[Sequence[str], Slots]], members: Sequence[str]) -> str:
    return ", ".join(other[0] for other, _ in groups if other is not members)


def _owner(views: Mapping[str, View], members: Sequence[str], slots: Slots) -> str:
    return next(name for name in members if views[name].me.slots & slots)


def _refusal(code: str, message: str, node: str, hint: str, peer: str | None = None) -> Problem:
    return Problem(code, message, node=node, peer=peer, hint=hint, exit=Exit.REFUSED)


def _warning(code: str, message: str, node: str, peer: str | None, hint: str) -> Problem:
    return Problem(code, message, node=node, peer=peer, hint=hint, exit=Exit.DONE)
