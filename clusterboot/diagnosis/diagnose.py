"""Why a cluster is not Ready: from the views of both sides and the evidence to a few sentences. Pure.

Many symptoms of one cause become one problem: every other node misses a node that none reaches. A reason
without an explanation stays as in the verdict.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice

from clusterboot.core.verdict import Verdict, not_seen
from clusterboot.core.views import View
from clusterboot.diagnosis import blocked, forgotten
from clusterboot.diagnosis.bus import BusView, Evidence, Gap, by_peer
from clusterboot.diagnosis.unsynced import unsynced
from clusterboot.errors import Exit, Problem, not_ready
from clusterboot.wording import agree, shortened

_MAX_GAPS = 2000  # gaps that are explained one by one
_PATIENCE = "gossip may still be under way: look again in a moment"
# For servers before Redis 7, which do not count CLUSTER FORGET.
_OR_FORGOTTEN = (
    "gossip may still be under way, and a node that was told to forget another (CLUSTER FORGET) refuses it "
    "for 60 s: wait a minute and run 'clusterboot up' again"
)
_MAX_ALIKE = 5  # problems of one kind; more become one problem


def diagnose(bus: BusView, verdict: Verdict, evidence: Evidence) -> tuple[Problem, ...]:
    """Return every reason why the cluster is not Ready: causes first, without what follows from them."""
    explained = _Explained()
    away = [reason for reason in verdict.reasons if reason.exit is Exit.NODE]
    explained.nodes |= {problem.node for problem in away if problem.node}
    refused = forgotten.refused(bus, evidence)
    explained.pairs |= {frozenset((node, peer)) for peer, nodes in refused.items() for node in nodes}
    causes = [forgotten.forgotten(bus, evidence, *each) for each in islice(refused.items(), _MAX_ALIKE)]
    causes += _bus(bus, evidence, explained)
    if not causes and evidence.closed.isdisjoint(bus.gaps):
        causes = _apart(bus, explained)
    found = [*away, *causes]
    # A node that is dropped again and again never ends its first sync either.
    found += [each for each in unsynced(bus.views, verdict, evidence) if each.node not in refused]
    covered = {"replica-out-of-sync"}
    if found:
        covered |= {"state-fail"}
    if causes:
        # Gossip about nodes, roles and slots uses the same links.
        covered |= {"not-seen", "roles-disagree"}
    rest = [reason for reason in verdict.reasons if reason not in away and reason.code not in covered]
    rest = [_with_hint(reason, bus.views) for reason in _unexplained(rest, verdict, explained)]
    return (*found, *_failing_as_one(rest, len(bus.names)))


class _Explained:
    """Nodes and pairs whose reasons are already explained."""

    def __init__(self) -> None:
        self.nodes: set[str] = set()
        self.pairs: set[frozenset[str]] = set()

    def __call__(self, node: str, peer: str) -> bool:
        return node in self.nodes or peer in self.nodes or frozenset((node, peer)) in self.pairs


def _bus(bus: BusView, evidence: Evidence, explained: _Explained) -> list[Problem]:
    """Every gap on the bus as one problem per cause, the widest cause first."""
    place = {name: index for index, name in enumerate(bus.names)}
    gaps = [gap for gap in bus.gaps.values() if not explained(gap.node, gap.peer)]
    gaps = [gap for gap in gaps if (gap.node, gap.peer) not in evidence.closed]
    gaps.sort(key=lambda gap: (place[gap.peer], place[gap.node]))
    found: list[Problem] = []

    def tell(problem: Problem, told: Iterable[Gap]) -> None:
        found.append(problem)
        gone = set(told)
        gaps[:] = [gap for gap in gaps if gap not in gone]

    tls = evidence.tls
    if mixed := [g for g in gaps if g.node in tls and g.peer in tls and tls[g.node] != tls[g.peer]]:
        tell(blocked.tls_differs(mixed, evidence), mixed)
    former = [its for its in by_peer(gaps).values() if all(blocked.at_former_address(bus, g) for g in its)]
    if moved := [gap for its in former for gap in its]:
        tell(blocked.moved(bus, moved, evidence), moved)
    for name, its in by_peer(gaps).items():
        if all(gap.at.host != bus.views[name].ip for gap in its):
            tell(blocked.announced(bus, its, evidence), [g for g in gaps if name in (g.node, g.peer)])
    _tell_split(bus, gaps, tell)
    _tell_cut_off(bus, gaps, evidence, tell)
    del gaps[_MAX_GAPS:]
    for name in bus.names:
        out = [gap for gap in gaps if gap.node == name]
        others_do = all(evidence.ports.get(gap.at) == "open" or bus.seen(gap.peer) for gap in out)
        if len(out) > 1 and others_do and not bus.sees(name):
            tell(blocked.reaches_none(name, out, evidence), out)
    for gap in list(gaps):
        back = next((g for g in gaps if (g.node, g.peer) == (gap.peer, gap.node)), None)
        if back is not None and not blocked.stuck([gap, back], evidence) and gap in gaps:
            tell(blocked.each_other(back, gap, evidence), [gap, back])
    for its in _alike(bus, gaps, evidence)[:_MAX_ALIKE]:
        tell(blocked.unreached(bus, its, evidence), its)
    if gaps:
        found.append(blocked.many(gaps))
    return found


def _tell_split(bus: BusView, gaps: Sequence[Gap], tell: Callable[[Problem, Iterable[Gap]], None]) -> None:
    """Two groups or more of at least two nodes each, with gaps both ways between them."""
    groups = [group for group in bus.groups() if len(group) > 1]
    side = {name: index for index, group in enumerate(groups) for name in group}
    across = [
        gap for gap in gaps if gap.node in side and gap.peer in side and side[gap.node] != side[gap.peer]
    ]
    ways = {(side[gap.node], side[gap.peer]) for gap in across}
    if across and all((there, here) in ways for here, there in ways):
        tell(blocked.split(groups), across)


def _tell_cut_off(
    bus: BusView, gaps: Sequence[Gap], evidence: Evidence, tell: Callable[[Problem, Iterable[Gap]], None]
) -> None:
    """Nodes that see no other and that no other sees: one problem each, or one for three and more."""
    if len(bus.names) < 3:
        return
    tried, missed = {gap.node for gap in gaps}, {gap.peer for gap in gaps}
    alone = [name for name in bus.names if name in tried and (name in missed or bus.capped)]
    alone = [name for name in alone if not bus.sees(name) and not bus.seen(name)]
    for those in [[name] for name in alone] if len(alone) < 3 else [alone]:
        about = set(those)
        its = [gap for gap in gaps if gap.node in about or gap.peer in about]
        tell(blocked.cut_off(those, [gap for gap in its if gap.peer in about], evidence), its)


def _alike(bus: BusView, gaps: Sequence[Gap], evidence: Evidence) -> list[list[Gap]]:
    """The gaps, grouped where the same nodes miss their peers in the same way."""
    found: dict[tuple[str | None, ...], list[Gap]] = defaultdict(list)
    for its in by_peer(gaps).values():
        shown = blocked.cannot_reach(bus, its), blocked.observed(its, evidence)
        found[*shown, evidence.ports.get(its[0].at)] += its
    return list(found.values())


def _apart(bus: BusView, explained: _Explained) -> list[Problem]:
    """Groups between which no connection was ever tried: no node has met one of another group."""
    groups = bus.groups()
    if len(groups) < 2:
        return []
    explained.nodes |= set(bus.names)
    parts = [shortened(group) for group in groups[:_MAX_ALIKE]]
    more = f" | and {len(groups) - _MAX_ALIKE} more" if len(groups) > _MAX_ALIKE else ""
    return [
        not_ready(
            "not-met",
            f"the nodes are {len(groups)} groups that do not know each other: {' | '.join(parts)}{more}.",
            node=groups[0][0],
            peer=groups[1][0],
            hint="run 'clusterboot up': it lets them meet",
        )
    ]


def _unexplained(reasons: Iterable[Problem], verdict: Verdict, explained: _Explained) -> Iterator[Problem]:
    for reason in reasons:
        if reason.code == "roles-disagree" and reason.peer in explained.nodes:
            continue  # news of a node that is away
        if reason.code == "handshake" and any(reason.node in pair for pair in explained.pairs):
            continue  # a refused node is met and dropped again
        if reason.code == "not-seen" and reason.node is not None:
            unseen = verdict.nodes[reason.node].unseen
            if left := [name for name in unseen if not explained(reason.node, name)]:
                yield not_seen(reason.node, left)
        else:
            yield reason


def _with_hint(reason: Problem, views: Mapping[str, View]) -> Problem:
    if reason.hint or reason.code not in ("not-seen", "roles-disagree", "handshake"):
        return reason
    old = reason.code == "not-seen" and any(0 < view.version.major < 7 for view in views.values())
    return replace(reason, hint=_OR_FORGOTTEN if old else _PATIENCE)


def _failing_as_one(reasons: Sequence[Problem], count: int) -> list[Problem]:
    failing = [reason.node or "" for reason in reasons if reason.code == "state-fail"]
    found = [reason for reason in reasons if reason.code != "state-fail"]
    if failing:
        names = f"all {count} nodes" if len(failing) == count > 1 else shortened(failing)
        hint = "a node that has just started, or saw most primaries fail, says so for some seconds more"
        message = f"{names} {agree('says', failing)} cluster_state:fail."
        found.append(not_ready("state-fail", message, failing[0], hint=hint))
    return found
