"""What an existing cluster already is, and whether the topology can continue from there. Pure.

`adopt` turns views into pins for `placement.place`. Roles and slots in the file describe the start: a
failover or a moved replica is kept, with a warning. What only moving data could resolve is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from clusterboot.core.drift import differences, fewer_replicas
from clusterboot.core.future import future, present
from clusterboot.core.groups import group
from clusterboot.core.leaving import Leaver
from clusterboot.core.placement import Placement, Spot, place
from clusterboot.core.stages import out_of_reach, shares_differ, stages
from clusterboot.core.stages import refusals as rebalance_refusals
from clusterboot.core.steps import MoveSlots, Step
from clusterboot.core.versions import formats, not_followed
from clusterboot.core.views import Views
from clusterboot.errors import Problem, refusal
from clusterboot.slots import Slots, union
from clusterboot.topology import Topology
from clusterboot.wording import count, listed, shortened

# The names of a group of nodes that know each other, and the slots that they own.
_Group = tuple[Sequence[str], Slots]

# Seconds until the second look at a possibly transient finding.
RECHECK_SECONDS = 0.5
_ONE_EACH = "give each cluster a topology of its own"
_START_OVER = (
    f"{_ONE_EACH}; if this is left over from another attempt, 'clusterboot down TOPOLOGY --reset --yes' "
    "empties the nodes"
)


@dataclass(frozen=True, slots=True)
class Adopted:
    """The target around what exists already, and the refusals (empty: going there is safe).

    `stages` are the steps that `--rebalance` takes once the target is reached, stage by stage.
    """

    target: Placement
    refusals: tuple[Problem, ...] = ()
    stages: tuple[tuple[Step, ...], ...] = ()


def adopt(
    topology: Topology, views: Views, leavers: Sequence[Leaver] = (), *, rebalance: bool = False
) -> Adopted:
    """Return the target for a topology whose nodes are as in `views` (one of every node)."""
    pins, lost = _pins(topology, views)
    known = formats(views)
    to_be = future(topology, pins, known, rebalance=rebalance)
    target = present(topology, pins, to_be)
    staying = topology.staying
    fresh = place(staying, formats=known)
    refusals = [*_split_ownership(topology, views, fresh)]
    if topology.slots == "none":
        return Adopted(target, tuple(refusals))
    refusals += [*lost, *_resharding(views, target), *_keys_without_slots(views), *_held(views, target)]
    later = stages(topology, pins, to_be, leavers, views)
    if rebalance:
        refusals += out_of_reach(topology, pins, to_be)
        refusals += rebalance_refusals(topology, pins, to_be, views) if later else ()
    # With the flag only what stays different is told.
    ours = {name: pin for name, pin in pins.items() if name not in topology.leaving}
    kept = {name: to_be.placement.spots[name] for name in ours} if rebalance else ours
    # A cluster that was formed before its versions were mixed has the roles of the file alone.
    starts = (fresh, place(staying)) if known else (fresh,)
    differing = min(([*differences(staying, each, kept)] for each in starts), key=len)
    lacking = fewer_replicas(staying, fresh, to_be.placement if rebalance else target, kept)
    # A newcomer that has no slots yet is told already.
    idle = any(each.code == "primary-without-slots" for each in target.warnings)
    elsewhere = () if rebalance or idle else tuple(shares_differ(topology, pins, to_be))
    coming = (
        {step.peer for stage in later for step in stage if isinstance(step, MoveSlots)} if rebalance else ()
    )
    placed = [
        each for each in target.warnings if each.code != "primary-without-slots" or each.node not in coming
    ]
    warnings = (*placed, *differing, *lacking, *elsewhere, *not_followed(target.primary_of, views))
    return Adopted(replace(target, warnings=warnings), tuple(refusals), later if rebalance else ())


def _pins(topology: Topology, views: Views) -> tuple[dict[str, Spot], list[Problem]]:
    """Pin serving primaries, replicas of the topology's own nodes, and primaries of such replicas.

    Also return a problem for every replica that leads to no primary: clusterboot never promotes a replica.
    preflight refuses replicas of nodes outside the topology.
    """
    ids = {view.id: name for name, view in views.items()}
    follows = {name: ids.get(view.me.primary or "") for name, view in views.items() if view.me.replica}
    pins = {
        name: Spot("primary", None, view.me.slots)
        for name, view in views.items()
        if view.me.slots and name not in follows
    }
    lost: list[Problem] = []
    for name, primary in follows.items():
        head, passed = name, {name}
        while (further := follows.get(head)) is not None and further not in passed:
            # A replica of a replica must in the end replicate the primary of both.
            head = further
            passed.add(head)
        if head not in follows:
            pins[name] = Spot("replica", head)
            pins.setdefault(head, Spot("primary"))
        elif follows[head] is not None or views[name].knows(views[name].me.primary or "") is None:
            lost.append(
                refusal(
                    "replica-without-primary",
                    f"{name} replicates {primary}, but no node in that chain is a primary."
                    if primary
                    else f"{name} is a replica and knows no primary.",
                    name,
                    primary,
                    f"run CLUSTER FAILOVER TAKEOVER on {name} if it has the data, else CLUSTER RESET HARD",
                )
            )
    return pins, lost


def _split_ownership(topology: Topology, views: Views, fresh: Placement) -> Iterator[Problem]:
    """Refuse several groups that own slots, unless they are one half-built cluster."""
    groups = [
        (members, union(views[name].me.slots for name in members))
        for members in group(views, connected=False)
        if any(views[name].me.slots for name in members)
    ]
    if len(groups) < 2:
        return

    def others(members: Sequence[str]) -> str:
        return shortened([other[0] for other, _ in groups if other is not members])

    owners = [(name, members) for members, _ in groups for name in members if views[name].me.slots]
    for name, members in owners:
        extra = views[name].me.slots - fresh.spots[name].slots
        if extra and topology.slots == "auto":
            yield refusal(
                "two-clusters",
                f"{name} already owns the slots {extra}, which this topology does not give it, and "
                f"it does not know {others(members)}: two clusters would be merged.",
                name,
                hint=_START_OVER,
            )
    for (one, slots), (other, other_slots) in _overlapping(groups):
        overlap = slots & other_slots
        owner, peer = (
            next(name for name in members if views[name].me.slots & overlap) for members in (one, other)
        )
        yield refusal(
            "slots-overlap",
            f"{owner} and {peer} do not know each other and both own the slots {overlap}: two clusters "
            "would be merged.",
            owner,
            peer,
            _START_OVER,
        )
    for name, members in owners:
        if views[name].keys:
            yield refusal(
                "two-clusters-with-keys",
                f"{name} holds {count(views[name].keys, 'key')} and does not know {others(members)}, which "
                f"{'owns' if len(groups) == 2 else 'own'} slots too: two clusters would be merged.",
                name,
                hint=f"{_ONE_EACH}, or move the data away first",
            )


def _overlapping(groups: Sequence[_Group]) -> Iterable[tuple[_Group, _Group]]:
    """Every pair of groups that own the same slot; fast where there is none, even with 1,000 groups."""
    if len(union(slots for _, slots in groups)) == sum(len(slots) for _, slots in groups):
        return ()
    return ((one, other) for one, other in combinations(groups, 2) if one[1] & other[1])


def _resharding(views: Views, target: Placement) -> Iterator[Problem]:
    """Nodes that import their first slots become primaries, and may have keys."""
    for name, view in views.items():
        spot = target.spots[name]
        if view.me.moving and not view.me.replica and spot.role == "replica":
            yield refusal(
                "resharding",
                f"{name} is importing slots, and would become a replica of {spot.primary}: a reshard is "
                "under way or was interrupted.",
                name,
                spot.primary,
                "wait until it is done; 'clusterboot up --rebalance' finishes what an interrupted run left",
            )


def needs_recheck(problems: Iterable[Problem]) -> frozenset[Problem]:
    """Return the `problems` that need a second look: nodes are not read at the same moment, and may stall."""
    return frozenset(problem for problem in problems if problem.code in ("slots-held", "member-failing"))


def _held(views: Views, target: Placement) -> Iterator[Problem]:
    """Nodes that are to serve slots which they list as those of another node, which no longer serves them.

    Nodes only say what they serve: others do not learn of a DELSLOTS on the owner, and refuse ADDSLOTS (`Slot
    N is already busy`) until they get a DELSLOTS too.
    """
    if any(view.me.moving for view in views.values()):
        return  # a reshard is under way, and nodes are not read at the same moment
    names = {view.id: name for name, view in views.items()}
    for name, view in views.items():
        wanted = target.spots[name].slots - view.me.slots
        for peer in view.peers if wanted else ():
            owner = names.get(peer.id)
            if peer.myself or owner is None:
                continue  # preflight refuses nodes outside the topology
            held = (peer.slots & wanted) - views[owner].me.slots
            if held:
                believers = [
                    each
                    for each, other in views.items()
                    if any(line.id == peer.id and line.slots & held for line in other.peers)
                ]
                yield refusal(
                    "slots-held",
                    f"{name} is to serve the slots {held}, but lists them as those of {owner}, which no "
                    f"longer serves them (CLUSTER NODES of both): {name} would refuse them as busy.",
                    name,
                    owner,
                    f"assign them to {owner} again with CLUSTER ADDSLOTS, or clear them with "
                    f"CLUSTER DELSLOTS on {listed(believers)}; then run this again",
                )


def _keys_without_slots(views: Views) -> Iterator[Problem]:
    for name, view in views.items():
        if view.keys and not view.me.slots and not view.me.replica and not view.me.moving:
            yield refusal(
                "keys-without-slots",
                f"{name} holds {count(view.keys, 'key')} but owns no slots: its keys would be lost "
                "or unreachable.",
                name,
                hint="copy the keys elsewhere and empty the node (FLUSHALL), or leave it out of the topology",
            )
