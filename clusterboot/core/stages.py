"""The stages between what a cluster is and what `--rebalance` makes of it, and what forbids them. Pure.

    failovers → replicas of other primaries → slots → replicas of drained primaries → members leave

Every stage is planned from a new look, when all nodes agree on the one before; so none has to be remembered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from clusterboot.core.future import NEW, Future, Pins
from clusterboot.core.leaving import Leaver
from clusterboot.core.placement import called_primaries
from clusterboot.core.shares import Wanted, differences, moves, wanted
from clusterboot.core.steps import Failover, Forget, MoveSlots, Replicate, Reset, Step
from clusterboot.core.views import Views
from clusterboot.errors import Problem, refusal
from clusterboot.slots import COUNT, Slots, union
from clusterboot.topology import Topology
from clusterboot.wording import agree, count, shortened


def stages(
    topology: Topology, pins: Pins, to_be: Future, leavers: Sequence[Leaver], views: Views
) -> tuple[tuple[Step, ...], ...]:
    """Return the steps to the future, stage by stage; empty stages are left out."""
    ready = {head: heir for head, heir in to_be.heirs.items() if pins[heir].primary == head}
    failovers = tuple((Failover(heir, head),) for head, heir in ready.items())
    coming = tuple(Replicate(heir, head) for head, heir in to_be.heirs.items() if head not in ready)
    if coming:
        # Nothing else can be planned before these have the data of the primaries that they succeed.
        return (*failovers, coming)
    first, later = _attaches(topology, pins, to_be)
    found: tuple[tuple[Step, ...], ...] = (
        *failovers,
        tuple(first),
        _moves(topology, pins, to_be),
        tuple(later),
        _leave(topology, leavers, views),
    )
    return tuple(stage for stage in found if stage)


def _attaches(topology: Topology, pins: Pins, to_be: Future) -> tuple[list[Replicate], list[Replicate]]:
    """Return the replicas that go to another primary, those of primaries that are drained first last.

    The replica of the shard with the most replicas goes first: none is without longer than it has to be.
    """
    counts = Counter(pin.primary for pin in pins.values() if pin.primary)
    first: list[tuple[int, Replicate]] = []
    later: list[Replicate] = []
    for name, spot in to_be.placement.spots.items():
        pin = pins.get(name)
        if pin is None or pin.primary is None or spot.primary is None:
            continue
        new_head = to_be.heirs.get(pin.primary, pin.primary)
        if spot.primary == new_head:
            continue
        step = Replicate(name, spot.primary)
        if pins.get(pin.primary, NEW).slots and pin.primary in to_be.emptied:
            later.append(step)
        else:
            first.append((-counts[pin.primary], step))
    return [step for _, step in sorted(first, key=lambda each: each[0])], later


def _moves(topology: Topology, pins: Pins, to_be: Future) -> tuple[MoveSlots, ...]:
    owned, wants = _shares(topology, pins, to_be)
    return moves(owned, wants) if owned else ()


def shares_differ(topology: Topology, pins: Pins, to_be: Future) -> Iterator[Problem]:
    """Yield a warning if slots are kept that lie elsewhere by the file, but for those of leaving nodes."""
    owned, wants = _shares(topology, pins, to_be)
    if owned and not to_be.emptied:
        yield from differences(owned, wants)


def _shares(topology: Topology, pins: Pins, to_be: Future) -> tuple[dict[str, Slots], Wanted]:
    """Return what each primary owns and wants; nothing where that cannot be known.

    In the middle of a failover two nodes own a slot; and a primary may be missing that would take the slots
    which the file gives to no other.
    """
    spots = to_be.placement.spots
    stay = [node for node in topology.staying.nodes if spots[node.name].role == "primary"]
    owned = {node.name: spots[node.name].slots for node in stay}
    owned |= {node.name: pins[node.name].slots for node in topology.nodes if node.name in to_be.emptied}
    wants = wanted(stay)
    for node in topology.staying.nodes:
        if node.slots is not None and (head := spots[node.name].primary) is not None:
            # A failover is kept: the primary has what the file gives to its replica.
            own = wants[head]
            wants[head] = own | node.slots if isinstance(own, Slots) else node.slots
    claimed = union(want for want in wants.values() if isinstance(want, Slots))
    shared = any(not isinstance(want, Slots) for want in wants.values())
    whole = sum(map(len, owned.values())) == COUNT == len(union(owned.values()))
    return (owned, wants) if whole and (shared or len(claimed) == COUNT) else ({}, {})


def _leave(topology: Topology, leavers: Sequence[Leaver], views: Views) -> tuple[Step, ...]:
    """FORGET everywhere first, and at once afterwards RESET, replicas before primaries."""
    staying = [views[node.name] for node in topology.staying.nodes]
    forgets = [
        Forget(view.name, each.name, each.id)
        for each in leavers
        for view in staying
        if view.knows(each.id) is not None
    ]
    alive = sorted((each for each in leavers if each.node is not None), key=lambda each: not each.replica)
    return (*forgets, *(Reset(each.name, each.id) for each in alive))


def out_of_reach(topology: Topology, pins: Pins, to_be: Future) -> Iterator[Problem]:
    """Refuse the role of replicas that the file calls primaries, where they can succeed no primary."""
    called = called_primaries(topology.staying)
    for name, primary in to_be.placement.primary_of.items():
        if name in called and name in pins:
            yield refusal(
                "role-out-of-reach",
                f"{name} is a primary by the topology and a replica of {primary} now, which stays a primary: "
                "only an empty node can become a primary beside it.",
                name,
                primary,
                f"list {name} under 'retire' in one run and under 'nodes' again in the next one, or change "
                "its role in the topology",
            )


def refusals(topology: Topology, pins: Pins, to_be: Future, views: Views) -> Iterator[Problem]:
    """Yield what forbids the stages: failing members, too many that leave, too few replicas afterwards."""
    yield from _failing(views)
    owners = [name for name, pin in pins.items() if pin.slots]
    leaving = [name for name in owners if name in topology.leaving | to_be.emptied]
    if 2 * len(leaving) > len(owners):
        what = "leave or become replicas" if to_be.emptied - topology.leaving else "leave"
        yield refusal(
            "retire-too-many",
            f"{shortened(leaving)} are to {what}, which are more than half of the "
            f"{count(len(owners), 'primary that serves', 'primaries that serve')} slots.",
            leaving[0],
            hint="retire at most half of them at once: the rest in another run",
        )
    replicas = Counter(to_be.placement.primary_of.values())
    few = [
        name
        for name, spot in to_be.placement.spots.items()
        if spot.role == "primary" and replicas[name] < topology.replicas
    ]
    if topology.leaving and few:
        which = shortened(
            [f"{name} would have {replicas[name] or 'none'} of {topology.replicas}" for name in few]
        )
        yield refusal(
            "retire-too-few-left",
            f"without the nodes that are to leave there are too few replicas: {which}.",
            few[0],
            hint="add nodes, or lower 'replicas' in the topology",
        )


def _failing(views: Views) -> Iterator[Problem]:
    names = {view.id: name for name, view in views.items()}
    found: dict[str, list[str]] = {}
    for name, view in views.items():
        for peer in view.peers:
            if peer.flags & {"fail", "fail?"} and peer.id in names:
                found.setdefault(names[peer.id], []).append(name)
    for name, tellers in found.items():
        yield refusal(
            "member-failing",
            f"{shortened(tellers)} {agree('finds', tellers)} {name} failing: nothing is moved while a member "
            "is in doubt.",
            tellers[0],
            name,
            "wait until it is well again, or list it under 'retire' if it is gone; then run this again",
        )
