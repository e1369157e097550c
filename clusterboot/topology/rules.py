"""Rules between the nodes of a file: roles and primaries, how many there are of each, and their slots.

Implied roles are filled in: a node with slots, or named by another's `replica_of`, is a primary.
"""

from __future__ import annotations

from collections.abc import Mapping

from clusterboot.slots import COUNT, Slots, split, union
from clusterboot.topology.address import reference
from clusterboot.topology.document import Spot
from clusterboot.topology.nodes import Draft, Index, check_announced, check_bus_ports, find, index_nodes
from clusterboot.topology.report import Problems, but_not, cut, nearest, quoted
from clusterboot.topology.retire import Leaver
from clusterboot.topology.schema import TopologyForm
from clusterboot.wording import agree, count, shortened

Leaving = Mapping[str | tuple[str, int], Leaver]
"""Members that leave by name and by address key."""


def check_nodes(
    form: TopologyForm, drafts: list[Draft], leavers: list[Leaver], spot: Spot, problems: Problems
) -> Draft | None:
    """Check what nodes say about each other, fill in roles, and return the hub.

    `leavers` are only for the message where a node names one of them.
    """
    index = index_nodes(drafts, problems)
    leaving = {name: each for each in leavers for name in (each.name, each.key) if name is not None}
    _check_roles(drafts, index, leaving, problems)
    # Counts are only checked where no other problem distorts them.
    primaries = None if problems else _check_counts(drafts, form, spot, problems)
    _check_keys(drafts, form, problems)
    _check_overlaps(drafts, problems)
    if primaries is not None and form.slots == "auto":
        if not problems:
            _check_cover(drafts, primaries, problems)
        if not problems:
            _check_weights(drafts, form, problems)
    check_bus_ports(drafts, problems)
    check_announced(drafts, problems)
    return _check_hub(form, spot, index, leaving, problems)


def _check_roles(drafts: list[Draft], index: Index, leaving: Leaving, problems: Problems) -> None:
    """Fill in `role` and `replica_of` of each draft; a primary must exist and not be a replica."""
    for draft in drafts:
        node = draft.form
        if node.replica_of is not None and node.role == "primary":
            message = f"{quoted(draft.name)} has role: primary and replica_of; it can be one of them"
            problems.add("topology-role", message, draft.spot.at("replica_of"), node=draft.name)
        elif node.replica_of is not None:
            draft.role = "replica"
        elif node.slots is not None and draft.role is None:
            draft.role = "primary"
    targets = _targets(drafts, index, leaving, problems)
    in_cycle: set[Draft] = set()
    acyclic: set[Draft] = set()
    for draft, target in targets.items():
        if draft in in_cycle:
            continue
        draft.replica_of = target.name
        place = draft.spot.at("replica_of")
        cycle = _cycle(draft, targets, acyclic)
        if cycle:
            in_cycle.update(cycle)
            names = shortened([quoted(node.name) for node in cycle])
            message = f"{names} are replicas of each other; one of them has to be a primary"
            problems.add("topology-replica-of", message, place, node=draft.name, peer=target.name)
        elif target.role == "replica":
            above = targets.get(target)
            of = f" of {quoted(above.name)}" if above else ""
            name = quoted(target.name)
            message = f"{name} is itself a replica{of}; a replica's primary has to be a primary"
            hint = f"write replica_of: {above.name}" if above and above not in targets else None
            problems.add("topology-replica-of", message, place, node=draft.name, peer=target.name, hint=hint)
        else:
            target.role = "primary"


def _targets(drafts: list[Draft], index: Index, leaving: Leaving, problems: Problems) -> dict[Draft, Draft]:
    targets: dict[Draft, Draft] = {}
    for draft in drafts:
        place, text = draft.spot.at("replica_of"), draft.form.replica_of
        if text is None:
            continue
        target = find(text, index)
        if target is None:
            _unknown_node(text, place, index, leaving, problems, draft.name)
        elif target is draft:
            message = f"{quoted(draft.name)} cannot be a replica of itself"
            problems.add("topology-replica-of", message, place, node=draft.name)
        elif draft.role == "replica":  # not with role: primary, which is a problem already
            targets[draft] = target
    return targets


def _cycle(start: Draft, targets: dict[Draft, Draft], acyclic: set[Draft]) -> list[Draft]:
    """Return the nodes from `start` back to `start`, or nothing if it is in no cycle.

    `acyclic` collects nodes that lead to no cycle: a long chain is followed once.
    """
    path = [start]
    while (node := targets.get(path[-1])) is not None and node not in acyclic:
        if node is start:
            return path
        if len(path) > len(targets):
            return []
        path.append(node)
    acyclic.update(path)
    return []


def _check_keys(drafts: list[Draft], form: TopologyForm, problems: Problems) -> None:
    """Find slots and weights that have no effect."""
    for draft in drafts:
        for key in ("slots", "weight"):
            if getattr(draft.form, key) is None:
                continue
            code, hint, name = "topology-no-effect", None, quoted(draft.name)
            if draft.role == "replica":
                code = "topology-role"
                message = f"{name} is a replica, which holds no slots; '{key}' is for primaries"
            elif form.slots == "none":
                message = f"'{key}' has no effect with slots: none, which assigns no slots"
                hint = f"leave out '{key}', or use slots: auto for the whole file"
            elif key == "weight" and draft.form.slots is not None:
                message = f"{name} has 'slots' and 'weight'; a weight only shares out slots not given"
            else:
                continue
            problems.add(code, message, draft.spot.at(key), node=draft.name, hint=hint)


def _check_hub(
    form: TopologyForm, spot: Spot, index: Index, leaving: Leaving, problems: Problems
) -> Draft | None:
    if form.plan.hub is None:
        return None
    place = spot.at("plan", "hub")
    if form.plan.strategy == "chain":
        message = "a chain has no hub, so 'hub' has no effect"
        problems.add("topology-no-effect", message, place, hint="leave out hub, or use strategy: star")
    hub = find(form.plan.hub, index)
    if hub is None:
        _unknown_node(form.plan.hub, place, index, leaving, problems)
    return hub


def _unknown_node(
    text: str, place: Spot, index: Index, leaving: Leaving, problems: Problems, node: str | None = None
) -> None:
    if problems.full():
        return  # looking for the nearest name takes time
    leaver = leaving.get(text) or leaving.get(reference(text) or "")
    if leaver is not None:
        message = f"{quoted(leaver.name)} is to leave, on line {leaver.spot.line}; name a node that stays"
        problems.add("topology-unknown-node", message, place, node=node, peer=leaver.name)
        return
    meant = nearest(text[:128], (draft.name for draft in index.values()))
    ask = f"; did you mean {quoted(meant)}?" if meant else ""
    message = f"no node has the name or address {but_not(text).removeprefix(', not ') or 'given here'}{ask}"
    problems.add("topology-unknown-node", message, place, node=node)


def _check_counts(drafts: list[Draft], form: TopologyForm, spot: Spot, problems: Problems) -> int:
    """Check that roles and `replicas` fit the number of nodes; return the number of primaries.

    Without `replicas`, if some nodes are replicas, all others become primaries.
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
    make = f"{_primaries(primaries)} and {count(rest, 'replica')}"
    rule = f"{count(total, 'node')} with replicas: {form.replicas} make {make}"
    message, least = "", 1 + form.replicas
    if primaries == 0:
        message = f"replicas: {form.replicas} needs at least {least} nodes, the file lists {total}"
    elif fixed > primaries:
        message = f"{rule}, but by role, slots or replica_of there are {_primaries(fixed)}"
    elif replicas > rest:
        message = f"{rule}, but by role or replica_of there are {replicas}"
    if message:
        problems.add("topology-replicas", message, spot.at("replicas"))
    return primaries


def _check_overlaps(drafts: list[Draft], problems: Problems) -> None:
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


def _check_cover(drafts: list[Draft], primaries: int, problems: Problems) -> None:
    """Check that there are primaries for the slots left over, and slots for the primaries left over."""
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
        left = f"{len(rest)} of {COUNT} slots {agree('is', rest)} left"
        message = f"{left} for {_primaries(takers)} without 'slots' in the file"
        hint = "leave slots for them, or give them slots: none"
        problems.add("topology-slots", message, place, hint=hint)


def _check_weights(drafts: list[Draft], form: TopologyForm, problems: Problems) -> None:
    """Check that each weight gives at least one slot, where the file itself names the primaries."""
    if form.replicas and any(draft.role is None for draft in drafts):
        return
    takers = [draft for draft in drafts if draft.role != "replica" and draft.slots is None]
    weights = [draft.form.weight or 1.0 for draft in takers]
    for draft, share in zip(takers, split(_slots_left(drafts), weights) if takers else [], strict=True):
        if not share:
            weight = f"the weight of {quoted(draft.name)}"
            message = f"{weight} is too small beside the others to get even one slot"
            place, hint = draft.spot.at("weight"), "give it slots: none if that is meant"
            problems.add("topology-slots", message, place, node=draft.name, hint=hint)


def _slots_left(drafts: list[Draft]) -> Slots:
    return union(draft.slots for draft in drafts if draft.slots is not None).complement()


def _primaries(number: int) -> str:
    return count(number, "primary", "primaries")
