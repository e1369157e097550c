"""What nodes say about themselves and each other: roles, who replicates whom, the hub.

Roles that the file implies are filled in here: a node with slots, and the node another one names in
`replica_of`, is a primary.
"""

from __future__ import annotations

from clusterboot.topology.document import Spot
from clusterboot.topology.expand import Draft, Index, find, index_nodes
from clusterboot.topology.lost import Lost
from clusterboot.topology.options import check_auth
from clusterboot.topology.report import Problems, but, listed, nearest, shown
from clusterboot.topology.schema import TopologyForm
from clusterboot.topology.shares import check_counts, check_cover, check_overlaps, check_weights


def check_nodes(drafts: list[Draft], form: TopologyForm, spot: Spot, lost: Lost, problems: Problems) -> Index:
    """Check what nodes say about each other, fill in `role` and `replica_of`, and return the nodes found.

    Numbers are only added up where no problem makes them doubtful.
    """
    before = len(problems)
    index = index_nodes(drafts, problems)
    for draft in drafts:
        _settle_role(draft, problems)
    _check_references(drafts, index, lost, problems)
    primaries = None
    if drafts and not lost.roles and len(problems) == before:
        primaries = check_counts(drafts, form, spot, problems)
    for draft in drafts:
        _check_keys(draft, form, problems)
    check_overlaps(drafts, problems)
    sound = primaries is not None and not lost.shares and form.slots == "auto"
    if sound and primaries is not None and len(problems) == before:
        check_cover(drafts, primaries, spot, problems)
        if len(problems) == before:
            check_weights(drafts, form, problems)
    for draft in drafts:
        if draft.form is not None and draft.form.auth is not None:
            check_auth(draft.form.auth, draft.spot.at("auth"), problems)
    return index


def check_hub(form: TopologyForm, spot: Spot, index: Index, lost: Lost, problems: Problems) -> None:
    """Check that the hub is one of the nodes, and of use."""
    hub = form.plan.hub
    if hub is None:
        return
    place = spot.at("plan", "hub")
    if form.plan.strategy == "chain":
        message = "a chain has no hub, so 'hub' has no effect"
        problems.add("topology-no-effect", message, place, hint="leave out hub, or use strategy: star")
    if index and find(hub, index) is None and not lost.may_be(hub):
        _unknown_node(hub, place, index, problems)


def _settle_role(draft: Draft, problems: Problems) -> None:
    """Settle the role that a node's own keys imply."""
    node = draft.form
    if node is None:
        return
    if node.replica_of is not None and node.role == "primary":
        message = f"{shown(draft.name)} has role: primary and replica_of; it can be one of them"
        problems.add("topology-role", message, draft.spot.at("replica_of"), node=draft.name)
    elif node.replica_of is not None:
        draft.role = "replica"
    elif node.slots is not None and draft.role is None:
        draft.role = "primary"


def _check_keys(draft: Draft, form: TopologyForm, problems: Problems) -> None:
    """Check that slots and a weight have an effect on this node."""
    node = draft.form
    if node is None:
        return
    for key, value in (("slots", node.slots), ("weight", node.weight)):
        if value is None:
            continue
        place = draft.spot.at(key)
        if draft.role == "replica":
            message = f"{shown(draft.name)} is a replica, which holds no slots; '{key}' is for primaries"
            problems.add("topology-role", message, place, node=draft.name)
        elif form.slots == "none":
            message = f"'{key}' has no effect with slots: none, which assigns no slots"
            hint = f"leave out '{key}', or use slots: auto for the whole file"
            problems.add("topology-no-effect", message, place, node=draft.name, hint=hint)
        elif key == "weight" and node.slots is not None:
            message = (
                f"{shown(draft.name)} has 'slots' and 'weight'; a weight only shares out slots not given"
            )
            problems.add("topology-no-effect", message, place, node=draft.name)


def _check_references(drafts: list[Draft], index: Index, lost: Lost, problems: Problems) -> None:
    """Resolve every `replica_of`; a primary must exist, be another node, and not be a replica."""
    targets: dict[int, Draft] = {}
    for draft in drafts:
        if draft.form is None or draft.form.replica_of is None:
            continue
        place, text = draft.spot.at("replica_of"), draft.form.replica_of
        target = find(text, index)
        if target is None:
            if not lost.may_be(text):
                _unknown_node(text, place, index, problems, draft.name)
        elif target is draft:
            message = f"{shown(draft.name)} cannot be a replica of itself"
            problems.add("topology-replica-of", message, place, node=draft.name)
        elif draft.role == "replica":  # and not one that says to be a primary as well
            targets[id(draft)] = target
    in_cycle: set[int] = set()
    in_none: set[int] = set()
    for draft in drafts:
        target = targets.get(id(draft))
        if target is None or id(draft) in in_cycle:
            continue
        draft.replica_of = target.name
        place = draft.spot.at("replica_of")
        cycle = _cycle(draft, targets, in_none)
        if cycle:
            in_cycle.update(map(id, cycle))
            names = listed(shown(node.name) for node in cycle[:5]) + (" and others" if cycle[5:] else "")
            message = f"{names} are replicas of each other; one of them has to be a primary"
            problems.add("topology-replica-of", message, place, node=draft.name, peer=target.name)
        elif target.role == "replica":
            above = targets.get(id(target))
            of = f" of {shown(above.name)}" if above else ""
            message = f"{shown(target.name)} is itself a replica{of}; a replica's primary has to be a primary"
            hint = f"write replica_of: {above.name}" if above and id(above) not in targets else None
            problems.add("topology-replica-of", message, place, node=draft.name, peer=target.name, hint=hint)
        else:
            target.role = "primary"


def _cycle(start: Draft, targets: dict[int, Draft], in_none: set[int]) -> list[Draft]:
    """Return the nodes from `start` back to `start`, or nothing when it is in no cycle.

    `in_none` collects nodes known to be in no cycle, so that a long chain is walked once.
    """
    path, seen = [start], {id(start)}
    while (node := targets.get(id(path[-1]))) is not None:
        if node is start:
            return path
        if id(node) in seen:
            return []
        if id(node) in in_none:
            break
        seen.add(id(node))
        path.append(node)
    in_none.update(seen)
    return []


def _unknown_node(text: str, place: Spot, index: Index, problems: Problems, node: str | None = None) -> None:
    if problems.full:
        problems.more = True
        return  # looking for what was meant takes time
    drafts = {id(draft): draft for draft in index.values()}.values()
    meant = nearest(text[:128], (draft.name for draft in drafts))
    ask = f"; did you mean {shown(meant)}?" if meant else ""
    message = f"no node has the name or address {but(text).removeprefix(', not ') or 'given here'}{ask}"
    problems.add("topology-unknown-node", message, place, node=node)
