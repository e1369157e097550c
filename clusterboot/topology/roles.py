"""Roles, `replica_of`, and keys that have no effect in a role.

Roles that the file implies are filled in here: a node with slots, and the node that another one names
in `replica_of`, is a primary.
"""

from __future__ import annotations

from clusterboot.topology.document import Spot
from clusterboot.topology.nodes import Draft, Index, find
from clusterboot.topology.report import Problems, but_not, nearest, quoted
from clusterboot.topology.schema import TopologyForm
from clusterboot.wording import shortened


def check_roles(drafts: list[Draft], index: Index, problems: Problems) -> None:
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
    targets = _targets(drafts, index, problems)
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
            message = (
                f"{quoted(target.name)} is itself a replica{of}; a replica's primary has to be a primary"
            )
            hint = f"write replica_of: {above.name}" if above and above not in targets else None
            problems.add("topology-replica-of", message, place, node=draft.name, peer=target.name, hint=hint)
        else:
            target.role = "primary"


def _targets(drafts: list[Draft], index: Index, problems: Problems) -> dict[Draft, Draft]:
    """Return for each replica the node that it names in `replica_of`."""
    targets: dict[Draft, Draft] = {}
    for draft in drafts:
        place, text = draft.spot.at("replica_of"), draft.form.replica_of
        if text is None:
            continue
        target = find(text, index)
        if target is None:
            _unknown_node(text, place, index, problems, draft.name)
        elif target is draft:
            message = f"{quoted(draft.name)} cannot be a replica of itself"
            problems.add("topology-replica-of", message, place, node=draft.name)
        elif draft.role == "replica":  # not with role: primary, which is a problem already
            targets[draft] = target
    return targets


def _cycle(start: Draft, targets: dict[Draft, Draft], acyclic: set[Draft]) -> list[Draft]:
    """Return the nodes from `start` back to `start`, or nothing when it is in no cycle.

    `acyclic` collects nodes that lead to no cycle, so that a long chain is followed once.
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


def check_keys(drafts: list[Draft], form: TopologyForm, problems: Problems) -> None:
    """Find slots and weights without an effect."""
    for draft in drafts:
        for key in ("slots", "weight"):
            if getattr(draft.form, key) is None:
                continue
            code, hint = "topology-no-effect", None
            if draft.role == "replica":
                code = "topology-role"
                message = f"{quoted(draft.name)} is a replica, which holds no slots; '{key}' is for primaries"
            elif form.slots == "none":
                message = f"'{key}' has no effect with slots: none, which assigns no slots"
                hint = f"leave out '{key}', or use slots: auto for the whole file"
            elif key == "weight" and draft.form.slots is not None:
                message = (
                    f"{quoted(draft.name)} has 'slots' and 'weight'; a weight only shares out slots not given"
                )
            else:
                continue
            problems.add(code, message, draft.spot.at(key), node=draft.name, hint=hint)


def check_hub(form: TopologyForm, spot: Spot, index: Index, problems: Problems) -> Draft | None:
    """Return the hub; it must be one of the nodes, and have an effect."""
    if form.plan.hub is None:
        return None
    place = spot.at("plan", "hub")
    if form.plan.strategy == "chain":
        message = "a chain has no hub, so 'hub' has no effect"
        problems.add("topology-no-effect", message, place, hint="leave out hub, or use strategy: star")
    hub = find(form.plan.hub, index)
    if hub is None:
        _unknown_node(form.plan.hub, place, index, problems)
    return hub


def _unknown_node(text: str, place: Spot, index: Index, problems: Problems, node: str | None = None) -> None:
    if problems.full():
        return  # looking for the nearest name takes time
    meant = nearest(text[:128], (draft.name for draft in index.values()))
    ask = f"; did you mean {quoted(meant)}?" if meant else ""
    message = f"no node has the name or address {but_not(text).removeprefix(', not ') or 'given here'}{ask}"
    problems.add("topology-unknown-node", message, place, node=node)
