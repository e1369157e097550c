"""How many primaries and replicas, and whose slots: the numbers of a file have to add up."""

from __future__ import annotations

from clusterboot.slots import COUNT, Slots, split, union
from clusterboot.topology.document import Spot
from clusterboot.topology.expand import Draft
from clusterboot.topology.report import Problems, counted, cut, shown
from clusterboot.topology.schema import TopologyForm


def check_overlaps(drafts: list[Draft], problems: Problems) -> None:
    """Note each pair of nodes that claim the same slots (pairs are found through sorted ranges)."""
    claims = sorted(
        (low, high, number)
        for number, draft in enumerate(drafts)
        for low, high in (draft.slots.ranges if draft.slots else ())
    )
    told: set[tuple[int, int]] = set()
    top: tuple[int, int, int] | None = None
    for low, high, number in claims:
        if top is not None and low <= top[1] and number != top[2]:
            first, second = sorted((number, top[2]))
            if (first, second) not in told:
                told.add((first, second))
                one, two = drafts[first], drafts[second]
                both = (one.slots or Slots()) & (two.slots or Slots())
                which = f"slot {both} is" if len(both) == 1 else f"slots {cut(str(both), 60)} are"
                message = f"{which} given to {shown(one.name)} and to {shown(two.name)}"
                problems.add(
                    "topology-slots", message, two.spot.at("slots"), node=two.name, peer=one.name,
                    hint="each slot has one primary",
                )  # fmt: skip
        if top is None or high > top[1]:
            top = (low, high, number)


def check_counts(drafts: list[Draft], form: TopologyForm, spot: Spot, problems: Problems) -> int:
    """Check that roles and `replicas` fit the number of nodes; return the number of primaries.

    Without `replicas`, or with all roles spelled out, every node that is no replica is a primary.
    """
    total = len(drafts)
    fixed = sum(draft.role == "primary" for draft in drafts)
    replicas = sum(draft.role == "replica" for draft in drafts)
    if form.replicas is None:
        if replicas == total:
            message = "every node is a replica; at least one has to be a primary"
            problems.add("topology-replicas", message, spot.at("nodes"))
        for draft in drafts:
            if replicas and draft.role is None:
                draft.role = "primary"
        return total - replicas
    place = spot.at("replicas")
    primaries = total // (1 + form.replicas)
    rest = total - primaries
    rule = (
        f"{counted(total, 'node', 'nodes')} with replicas: {form.replicas} make {_primaries(primaries)} "
        f"and {counted(rest, 'replica', 'replicas')}"
    )
    if primaries == 0:
        needs = f"replicas: {form.replicas} needs at least {1 + form.replicas} nodes, the file lists {total}"
        problems.add("topology-replicas", needs, place)
    elif fixed > primaries:
        message = f"{rule}, but by role, slots or replica_of there are {_primaries(fixed)}"
        problems.add("topology-replicas", message, place)
    elif replicas > rest:
        message = f"{rule}, but by role or replica_of there are {replicas}"
        problems.add("topology-replicas", message, place)
    return primaries


def _primaries(number: int) -> str:
    return counted(number, "primary", "primaries")


def check_cover(drafts: list[Draft], primaries: int, spot: Spot, problems: Problems) -> None:
    """Check that slots nobody is given have takers, and that no taker is left without one."""
    given = [draft for draft in drafts if draft.slots is not None]
    if not given:
        return
    rest = union(draft.slots for draft in given if draft.slots is not None).complement()
    takers = primaries - len(given)
    place = given[-1].spot.at("slots")
    if rest and not takers:
        message = f"no primary is left to take the slots {cut(str(rest), 60)}; every one has its own 'slots'"
        hint = "give these slots to a primary, or leave out the 'slots' of one"
        problems.add("topology-slots", message, place, hint=hint)
    elif takers > len(rest):
        are = "is" if len(rest) == 1 else "are"
        message = (
            f"{len(rest)} of {COUNT} slots {are} left for {_primaries(takers)} without 'slots' in the file"
        )
        hint = "leave slots for them, or give them slots: none"
        problems.add("topology-slots", message, place, hint=hint)


def check_weights(drafts: list[Draft], form: TopologyForm, problems: Problems) -> None:
    """Check that a small weight beside large ones leaves no primary without a slot.

    Only where the file alone says who the primaries are; the placement is not known here.
    """
    if form.replicas and any(draft.role is None for draft in drafts):
        return
    rest = union(draft.slots for draft in drafts if draft.slots is not None).complement()
    takers = [draft for draft in drafts if draft.role != "replica" and draft.slots is None]
    weights = [draft.form.weight or 1.0 if draft.form else 1.0 for draft in takers]
    for draft, share in zip(takers, split(rest, weights) if takers else [], strict=True):
        if not share:
            message = f"the weight of {shown(draft.name)} is too small beside the others to get even one slot"
            hint = "give it slots: none if that is meant"
            problems.add("topology-slots", message, draft.spot.at("weight"), node=draft.name, hint=hint)
