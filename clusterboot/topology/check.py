"""Rules that need more than one value: who replicates whom, how many of each, slots, credentials.

Roles that the file implies are filled in here: a node with slots, and the node another one names in
`replica_of`, is a primary.
"""

from __future__ import annotations

from clusterboot.slots import COUNT, Slots, split, union
from clusterboot.topology.document import Spot
from clusterboot.topology.expand import Draft, Index, find
from clusterboot.topology.report import Problems, but, counted, cut, listed, nearest, shown
from clusterboot.topology.schema import AuthForm, ServersForm, TlsForm, TopologyForm

OWN_SETTINGS = {
    "port": "it comes from the node's address",
    "cluster-port": "it comes from the node's bus port",
    "cluster-enabled": "every server here is a cluster node",
    "cluster-config-file": "each server keeps its own in its folder",
    "dir": "each server has its own folder",
    "daemonize": "clusterboot watches over the process itself",
    "logfile": "each server logs into its folder",
    "pidfile": "clusterboot remembers the process itself",
}
"""Settings that clusterboot makes for each spawned server, and why they are not free."""


def check_nodes(
    drafts: list[Draft], form: TopologyForm, spot: Spot, index: Index, problems: Problems
) -> None:
    """Check what nodes say about each other, and fill in `role` and `replica_of` (a name)."""
    # With other problems in the file a node that is named may only be missing because it has one.
    complete = not problems
    for draft in drafts:
        _check_alone(draft, form, problems)
    _check_references(drafts, index, complete, problems)
    _check_overlaps(drafts, problems)
    hub = form.plan.hub
    if hub is not None:
        place = spot.at("plan", "hub")
        if form.plan.strategy == "chain":
            message = "a chain has no hub, so 'hub' has no effect"
            problems.add("topology-no-effect", message, place, hint="leave out hub, or use strategy: star")
        if find(hub, index) is None and complete:
            _unknown_node(hub, place, index, problems)
    if not problems:
        primaries = _check_counts(drafts, form, spot, problems)
        if form.slots == "auto" and not problems:
            _check_cover(drafts, primaries, spot, problems)
            if not problems:
                _check_weights(drafts, form, problems)


def _check_alone(draft: Draft, form: TopologyForm, problems: Problems) -> None:
    """Check one node's own keys against each other, and settle the role they imply."""
    node = draft.form
    if node is None:
        return
    if node.replica_of is not None:
        if node.role == "primary":
            message = f"{shown(draft.name)} has role: primary and replica_of; it can be one of them"
            problems.add("topology-role", message, draft.spot.at("replica_of"), node=draft.name)
        draft.role = "replica"
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
    if node.slots is not None and draft.role is None:
        draft.role = "primary"
    if node.auth is not None:
        check_auth(node.auth, draft.spot.at("auth"), problems)


def _check_references(drafts: list[Draft], index: Index, complete: bool, problems: Problems) -> None:
    """Resolve every `replica_of`; a primary must exist, be another node, and not be a replica."""
    targets: dict[int, Draft] = {}
    for draft in drafts:
        if draft.form is None or draft.form.replica_of is None:
            continue
        place, text = draft.spot.at("replica_of"), draft.form.replica_of
        target = find(text, index)
        if target is None:
            if complete:
                _unknown_node(text, place, index, problems, draft.name)
        elif target is draft:
            message = f"{shown(draft.name)} cannot be a replica of itself"
            problems.add("topology-replica-of", message, place, node=draft.name)
        else:
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


def _check_overlaps(drafts: list[Draft], problems: Problems) -> None:
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


def _check_counts(drafts: list[Draft], form: TopologyForm, spot: Spot, problems: Problems) -> int:
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


def _check_cover(drafts: list[Draft], primaries: int, spot: Spot, problems: Problems) -> None:
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
        message = (
            f"{len(rest)} of {COUNT} slots are left for {_primaries(takers)} without 'slots' in the file"
        )
        hint = "leave slots for them, or give them slots: none"
        problems.add("topology-slots", message, place, hint=hint)


def _check_weights(drafts: list[Draft], form: TopologyForm, problems: Problems) -> None:
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


def check_auth(auth: AuthForm, spot: Spot, problems: Problems) -> None:
    """Check that there is exactly one source of the password."""
    given = [key for key in ("password_env", "password_file", "password") if getattr(auth, key) is not None]
    # A password key that is misspelled or has a wrong value is a problem already.
    if not given and not set(spot.keys) - {"username"}:
        message = "'auth' has no password; it needs password_env, password_file or password"
        problems.add("topology-auth", message, spot)
    if len(given) > 1:
        place = max(
            (spot.keys[key] for key in given if key in spot.keys), key=lambda at: (at.line, at.column)
        )
        message = f"'auth' has {listed(given)}; it takes one of them"
        problems.add("topology-auth", message, place)


def check_tls(tls: TlsForm, spot: Spot, problems: Problems) -> None:
    """Check that a client certificate comes with its key."""
    for one, other in (("cert", "key"), ("key", "cert")):
        if getattr(tls, one) is not None and getattr(tls, other) is None:
            message = f"'tls' has '{one}' without '{other}'; a client certificate needs both"
            problems.add("topology-tls", message, spot.keys.get(one, spot))


def check_servers(servers: ServersForm, spot: Spot, problems: Problems) -> None:
    """Check the names of server settings."""
    for name in servers.config:
        if problems.full:
            problems.more = True
            break
        place = spot.at("config").keys.get(name, spot)
        if name.lower() in OWN_SETTINGS:
            message = f"{shown(name)} is set by clusterboot: {OWN_SETTINGS[name.lower()]}"
            problems.add("topology-setting", message, place, hint="leave it out")
        elif not name or not set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-"):
            message = f"a server setting is named with a-z, 0-9 and '-'{but(name)}"
            meant = name.lower().replace("_", "-")
            fits = meant and set(meant) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
            hint = f"write {meant}" if fits else None
            problems.add("topology-setting", message, place, hint=hint)
