"""Why a cluster is not Ready: from the views of both sides and the evidence to a few sentences. Pure.

A node that nobody reaches on its bus port is missed by every other node, and misses all of them. Here
such a crowd of symptoms becomes one problem that names the node or the pair, the port, what was
observed and by what, what it most likely is, and the next thing to do. What no diagnosis explains
stays as the verdict has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from clusterboot.addresses import Endpoint
from clusterboot.core.replaced import way_out
from clusterboot.core.verdict import Verdict
from clusterboot.core.views import View
from clusterboot.diagnosis import blocked, elsewhere, forgotten
from clusterboot.diagnosis.blocked import Evidence
from clusterboot.diagnosis.bus import Gap, Reach, targets
from clusterboot.diagnosis.unsynced import unsynced
from clusterboot.errors import Exit, Problem
from clusterboot.wording import shortened

_CLOSELY = 2000  # so many blocked ways are looked at one by one
_PATIENCE = "gossip may still be under way: look again in a moment"
# For servers before Redis 7, which do not tell it.
_OR_FORGOTTEN = (
    "gossip may still be under way, and a node that was told to forget another (CLUSTER FORGET) refuses it "
    "for 60 s: wait a minute and run 'clusterboot up' again"
)
_MOST = 5  # so many problems of one kind; more than that are told as one


def diagnose(reach: Reach, verdict: Verdict, evidence: Evidence) -> tuple[Problem, ...]:
    """Return every reason why the cluster is not Ready: causes first, what follows from them left out."""
    explained = _Explained()
    away = [reason for reason in verdict.reasons if reason.exit is Exit.NODE]
    explained.nodes |= {problem.node for problem in away if problem.node}
    refused = forgotten.refused(reach, evidence)
    explained.pairs |= {frozenset((node, peer)) for peer, nodes in refused.items() for node in nodes}
    causes = [forgotten.tell(reach, evidence, peer, nodes) for peer, nodes in [*refused.items()][:_MOST]]
    causes += _bus(reach, evidence, explained)
    if not causes and evidence.closed.isdisjoint(reach.gaps):
        causes = _apart(reach, explained)
    found = [*away, *causes]
    # Who is dropped again and again never gets through its first sync either.
    found += [each for each in unsynced(reach.views, verdict, evidence) if each.node not in refused]
    rest = [
        reason for reason in verdict.reasons if reason not in away and reason.code != "replica-out-of-sync"
    ]
    if causes:
        # Gossip goes over the same links: without them nobody hears of others, of roles or of slots.
        rest = [reason for reason in rest if reason.code not in ("not-seen", "roles-disagree")]
    rest = [_with_hint(reason, reach.views) for reason in _unexplained(rest, verdict, explained)]
    return (*found, *_failing(rest, len(reach.names), because=bool(found)))


def changed(
    ids: Mapping[str, str], views: Mapping[str, View], problems: Sequence[Problem], *, acted: bool
) -> tuple[Problem, ...]:
    """Return what forbids going on in the middle of a run, told as what happened since it began.

    `ids` are the nodes' ids at the beginning, `problems` what preflight finds now. A node with another
    id is a new, empty one in the place of the old, which the others still list. Once something was
    changed (`acted`) nothing is a mere refusal any more: its exit status would say the opposite.
    """
    replaced = {name: view for name, view in views.items() if ids.get(name, view.id) != view.id}
    found = [
        Problem(
            "node-replaced",
            f"{name} was replaced during this run: {Endpoint(view.ip, view.me.port)} answers with another "
            f"node id now ({view.id}, before {ids[name]}).",
            node=name,
            hint=way_out(ids[name], [n for n in views if views[n].knows(ids[name])], views)
            + ": it takes the new node in",
            exit=Exit.NODE,
        )
        for name, view in replaced.items()
    ]
    told = {"ghost", "stranger", "slots-elsewhere"} if replaced else set()
    rest = [problem for problem in problems if problem.code not in told]
    return (*found, *(replace(problem, exit=Exit.NODE) if acted else problem for problem in rest))


class _Explained:
    """What needs no words of its own any more: all about some nodes, and some pairs."""

    def __init__(self) -> None:
        self.nodes: set[str] = set()
        self.pairs: set[frozenset[str]] = set()

    def __call__(self, node: str, peer: str) -> bool:
        return node in self.nodes or peer in self.nodes or frozenset((node, peer)) in self.pairs


def _bus(reach: Reach, evidence: Evidence, explained: _Explained) -> list[Problem]:
    """Every gap on the bus, in as few problems as there are causes: the widest cause first."""
    place = {name: index for index, name in enumerate(reach.names)}
    gaps = [gap for gap in reach.gaps.values() if not explained(gap.node, gap.peer)]
    gaps = [gap for gap in gaps if (gap.node, gap.peer) not in evidence.closed]
    gaps.sort(key=lambda gap: (place[gap.peer], place[gap.node]))
    found: list[Problem] = []

    def tell(problem: Problem, told: Iterable[Gap]) -> None:
        found.append(problem)
        gone = set(told)
        gaps[:] = [gap for gap in gaps if gap not in gone]

    tls = evidence.tls
    mixed = [g for g in gaps if g.node in tls and g.peer in tls and tls[g.node] != tls[g.peer]]
    if mixed:
        tell(blocked.tls_differs(mixed, evidence), mixed)
    moved = [
        gap for its in targets(gaps).values() if all(elsewhere.left(reach, g) for g in its) for gap in its
    ]
    if moved:
        tell(elsewhere.moved(reach, moved, evidence), moved)
    for name, its in targets(gaps).items():
        if all(elsewhere.elsewhere(reach, gap) for gap in its):
            tell(elsewhere.announced(reach, its, evidence), [g for g in gaps if name in (g.node, g.peer)])
    _tell_split(reach, gaps, tell)
    _tell_cut_off(reach, gaps, evidence, tell)
    del gaps[_CLOSELY:]
    for name in reach.names:
        out = [gap for gap in gaps if gap.node == name]
        others_do = all(evidence.ports.get(gap.at) == "open" or reach.seen(gap.peer) for gap in out)
        if len(out) > 1 and others_do and not reach.sees(name):
            tell(blocked.reaches_nobody(name, out, evidence), out)
    for gap in list(gaps):
        back = next((g for g in gaps if (g.node, g.peer) == (gap.peer, gap.node)), None)
        if back is not None and not blocked.stuck([gap, back], evidence) and gap in gaps:
            tell(blocked.each_other(back, gap, evidence), [gap, back])
    for its in _alike(reach, gaps, evidence)[:_MOST]:
        tell(blocked.unreached(reach, its, evidence), its)
    if gaps:
        found.append(blocked.many(gaps))
    return found


def _tell_split(reach: Reach, gaps: Sequence[Gap], tell: Callable[[Problem, Iterable[Gap]], None]) -> None:
    """Two groups or more of at least two nodes each, with gaps both ways between them."""
    groups = [group for group in reach.groups() if len(group) > 1]
    side = {name: index for index, group in enumerate(groups) for name in group}
    across = [
        gap for gap in gaps if gap.node in side and gap.peer in side and side[gap.node] != side[gap.peer]
    ]
    ways = {(side[gap.node], side[gap.peer]) for gap in across}
    if across and all((there, here) in ways for here, there in ways):
        tell(blocked.split(groups), across)


def _tell_cut_off(
    reach: Reach, gaps: Sequence[Gap], evidence: Evidence, tell: Callable[[Problem, Iterable[Gap]], None]
) -> None:
    """Nodes with nobody in sight, in both directions: each by itself, many as one."""
    if len(reach.names) < 3:
        return
    tried, missed = {gap.node for gap in gaps}, {gap.peer for gap in gaps}
    alone = [name for name in reach.names if name in tried and (name in missed or reach.capped)]
    alone = [name for name in alone if not reach.sees(name) and not reach.seen(name)]
    for those in [[name] for name in alone] if len(alone) < 3 else [alone]:
        about = set(those)
        its = [gap for gap in gaps if gap.node in about or gap.peer in about]
        tell(blocked.cut_off(those, [gap for gap in its if gap.peer in about], evidence), its)


def _alike(reach: Reach, gaps: Sequence[Gap], evidence: Evidence) -> list[list[Gap]]:
    """The gaps towards nodes that the same others miss in the same way, together."""
    found: dict[tuple[str | None, ...], list[Gap]] = {}
    for its in targets(gaps).values():
        seen = (blocked.tellers(reach, its), blocked.observed(its, evidence), evidence.ports.get(its[0].at))
        found.setdefault(seen, []).extend(its)
    return list(found.values())


def _apart(reach: Reach, explained: _Explained) -> list[Problem]:
    """Groups between which nothing was ever tried: nobody has introduced them."""
    groups = reach.groups()
    if len(groups) < 2:
        return []
    explained.nodes |= set(reach.names)
    parts = [shortened(group) for group in groups[:_MOST]]
    more = f" | and {len(groups) - _MOST} more" if len(groups) > _MOST else ""
    return [
        Problem(
            "not-met",
            f"the nodes are {len(groups)} groups that do not know each other: {' | '.join(parts)}{more}.",
            node=groups[0][0],
            peer=groups[1][0],
            hint="run 'clusterboot up': it lets them meet",
            exit=Exit.NOT_READY,
        )
    ]


def _unexplained(reasons: Sequence[Problem], verdict: Verdict, explained: _Explained) -> list[Problem]:
    """The reasons without those that are explained, in whole or in part."""
    found = []
    for reason in reasons:
        if reason.code == "roles-disagree" and reason.peer in explained.nodes:
            continue  # what it has not heard of a node that is away
        if reason.code == "not-seen" and reason.node is not None:
            unseen = verdict.nodes[reason.node].unseen
            left = [name for name in unseen if not explained(reason.node, name)]
            if not left:
                continue
            if len(left) < len(unseen):
                peer = left[0] if len(left) == 1 else None
                reason = replace(reason, message=f"{reason.node} does not see {shortened(left)}.", peer=peer)
        found.append(reason)
    return found


def _with_hint(reason: Problem, views: Mapping[str, View]) -> Problem:
    if reason.hint or reason.code not in ("not-seen", "roles-disagree", "handshake"):
        return reason
    old = reason.code == "not-seen" and any(0 < view.version.major < 7 for view in views.values())
    return replace(reason, hint=_OR_FORGOTTEN if old else _PATIENCE)


def _failing(reasons: Sequence[Problem], count: int, *, because: bool) -> list[Problem]:
    """cluster_state:fail on many nodes is one reason, and none at all beside a cause that is known."""
    failing = [reason.node or "" for reason in reasons if reason.code == "state-fail"]
    found = [reason for reason in reasons if reason.code != "state-fail"]
    if not failing or because:
        return found
    who = f"all {count} nodes say" if len(failing) == count > 1 else f"{shortened(failing)} say"
    found.append(
        Problem(
            "state-fail",
            f"{who}{'s' if len(failing) == 1 else ''} cluster_state:fail.",
            node=failing[0],
            hint="a node that has just started, or saw most primaries fail, says so for some seconds more",
            exit=Exit.NOT_READY,
        )
    )
    return found
