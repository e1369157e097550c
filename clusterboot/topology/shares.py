"""How many primaries and replicas there are, and which slots they get: the numbers have to add up."""

from __future__ import annotations

from clusterboot.slots import COUNT, Slots, split, union
from clusterboot.topology.document import Spot
from clusterboot.topology.nodes import Draft
from clusterboot.topology.report import Problems, cut, quoted
from clusterboot.topology.schema import TopologyForm
from clusterboot.wording import count


def check_counts(drafts: list[Draft], form: TopologyForm, spot: Spot, problems: Problems) -> int:
    """Check that roles and `replicas` fit the number of nodes; return the number of primaries.

    Without `replicas`, every node of a file with replicas that is not one of them becomes a primary.
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
    primaries = total // (1 + form.replicas)
    rest = total - primaries
    rule = (
        f"{count(total, 'node')} with replicas: {form.replicas} make {_primaries(primaries)} "
        f"and {count(rest, 'replica')}"
    )
    message = ""
    if primaries == 0:
        message = (
            f"replicas: {form.replicas} needs at least {1 + form.replicas} nodes, the file lists {total}"
        )
    elif fixed > primaries:
        message = f"{rule}, but by role, slots or replica_of there are {_primaries(fixed)}"
    elif replicas > rest:
        message = f"{rule}, but by role or replica_of there are {replicas}"
    if message:
        problems.add("topology-replicas", message, spot.at("replicas"))
    return primaries


def check_overlaps(drafts: list[Draft], problems: Problems) -> None:
    """Find each pair of nodes that claim the same slots."""
    claims = sorted(
        (low, high, number)
        for number, draft in enumerate(drafts)
        for low, high in (draft.slots.ranges if draft.slots else ())
    )
    pairs: set[tuple[int, int]] = set()
    top = (-1, -1, -1)  # the claim so far that reaches furthest
    for low, high, number in claims:
        if low <= top[1] and number != top[2]:
            pairs.add((min(number, top[2]), max(number, top[2])))
        if high > top[1]:
            top = (low, high, number)
    for first, second in sorted(pairs):
        one, two = drafts[first], drafts[second]
        both = (one.slots or Slots()) & (two.slots or Slots())
        which = f"slot {both} is" if len(both) == 1 else f"slots {cut(str(both), 60)} are"
        message = f"{which} given to {quoted(one.name)} and to {quoted(two.name)}"
        place, hint = two.spot.at("slots"), "each slot has one primary"
        problems.add("topology-slots", message, place, node=two.name, peer=one.name, hint=hint)


def check_cover(drafts: list[Draft], primaries: int, problems: Problems) -> None:
    """Check that there are primaries for the slots that the file gives to no node, and slots for these."""
    given = [draft for draft in drafts if draft.slots is not None]
    if not given:
        return
    rest = _slots_left(drafts)
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
    """Check that each weight is large enough for at least one slot.

    Only where the file itself names the primaries: the placement of roles is not known here.
    """
    if form.replicas and any(draft.role is None for draft in drafts):
        return
    takers = [draft for draft in drafts if draft.role != "replica" and draft.slots is None]
    weights = [draft.form.weight or 1.0 for draft in takers]
    for draft, share in zip(takers, split(_slots_left(drafts), weights) if takers else [], strict=True):
        if not share:
            message = (
                f"the weight of {quoted(draft.name)} is too small beside the others to get even one slot"
            )
            place, hint = draft.spot.at("weight"), "give it slots: none if that is meant"
            problems.add("topology-slots", message, place, node=draft.name, hint=hint)


def _slots_left(drafts: list[Draft]) -> Slots:
    """Return the slots that the file gives to no node."""
    return union(draft.slots for draft in drafts if draft.slots is not None).complement()


def _primaries(number: int) -> str:
    return count(number, "primary", "primaries")
