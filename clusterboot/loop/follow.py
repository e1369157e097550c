"""Following a forming cluster: look again and again, let replicas follow their primaries, until Ready.

Ends with the verdict when one snapshot of all nodes, taken after the last change, is Ready, and also
when nothing has moved for as long as a handshake lives, or when a node that serves has taken another
role than the plan counts on; the caller then looks at everything anew.
There is no deadline in here: the caller bounds the whole run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from clusterboot.core.events import Looked, Phase, PhaseName
from clusterboot.core.extra_meets import moved_meets, newcomer_meets, newcomers, pause
from clusterboot.core.groups import group
from clusterboot.core.health import Judge
from clusterboot.core.plan import Meet, Plan, Replicate
from clusterboot.core.verdict import Verdict
from clusterboot.core.views import Views
from clusterboot.loop.observe import SMALL, Watch

if TYPE_CHECKING:
    from clusterboot.loop.run import Run

# The pause between two rounds: as long as the round itself took, on large clusters twice as long, so that
# the nodes have the time that looking would take; within these bounds in seconds.
_SHORTEST, _LONGEST = 0.02, 0.5
# A pair gets its next extra MEET no sooner: a handshake takes ~200 ms, and one more would cut it off.
_PAIR_SECONDS = 0.3
# Nodes of a large cluster read whole in a round while somebody joins it.
_AT_ONCE = 32
# The share of all pairs that must know each other before a large cluster is nudged.
_MOST = 0.9
# Seconds between two nudges: too short, and nodes vouch for each other instead of asking.
_QUIET = 2.5


# Lets every node ping almost all others at once; False where that is never needed.
Nudge = Callable[[], Awaitable[bool]]


async def follow(
    run: Run, todo: Plan, watch: Watch, judge: Judge, patience: float, nudge: Nudge | None = None
) -> tuple[Verdict, bool]:
    """Look and REPLICATE until Ready, until nothing has moved for `patience` seconds, or a role changed.

    Returns the last verdict, and whether it was that nothing has moved.
    `nudge` is called as soon as most nodes know each other, and again after some quiet seconds.
    """
    clock = asyncio.get_running_loop().time
    pending = {step for step in todo.steps if isinstance(step, Replicate)}
    hurrying = _Hurry(run, watch) if run.topology.extra_meets else None
    small = len(watch.views) <= SMALL
    phases = _Phases(run)
    guess = _Guess(judge.ids, small=small)
    quiet = 0.0  # until when there is no nudge
    best: tuple[int, ...] = ()
    settled = _serving(judge.verdict(watch.views), watch.views)
    stirred = clock()
    while True:
        began = clock()
        observed = await watch.look()
        verdict = judge.verdict(watch.views, observed.away)
        if not small and watch.promising and not pending:
            observed = await watch.snapshot()
            verdict = judge.verdict(watch.views, observed.away)
        elif not small and verdict.ready:
            # Gathered from views of different moments: only a snapshot of all may say so.
            verdict = replace(verdict, ready=False)
        run.verdict, run.views = verdict, watch.views
        known = sum(view.known for view in watch.views.values())
        # Not every node of a large cluster was read whole by now, but each told how many it knows.
        links = verdict.links if small else max(verdict.links, known - len(watch.views))
        run.report(Looked(replace(verdict, links=min(links, verdict.total)), tuple(observed.away)))
        phases.tell(verdict, bool(pending))
        if verdict.ready or (not observed.away and _turned(settled, verdict, watch.views)):
            return verdict, False
        due = {step for step in pending if guess.due(step, watch.views)}
        accepted: set[Replicate] = set()
        if due:
            refused = await run.actor.send(sorted(due, key=lambda step: step.node), watch.views)
            accepted = {step for step in due - refused.keys() if step.node not in run.actor.failures}
            pending -= accepted
            if accepted:
                watch.unsettle()
        if hurrying is not None:
            await hurrying.round(verdict, {step.node: step.primary for step in pending})
        if nudge is not None and known >= _MOST * len(judge.ids) ** 2 and clock() > quiet:
            nudge = nudge if await nudge() else None
            quiet = clock() + _QUIET
        now = clock()
        reached = (verdict.links, verdict.complete, -len(pending), known)
        if not best or any(new > old for new, old in zip(reached, best, strict=True)):
            best = tuple(map(max, reached, best)) if best else reached
            stirred = now
        elif now - stirred > patience:
            return verdict, True
        if not accepted:
            await asyncio.sleep(min(_LONGEST, max(_SHORTEST, (now - began) * (1 if small else 2))))


def _serving(verdict: Verdict, views: Views) -> dict[str, bool]:
    """Return the nodes of a cluster that serves which are what the plan takes them for: whether a replica.

    Nodes that do not serve yet become it later; asking all of them would be N² work on large clusters.
    """
    return {
        name: views[name].me.replica
        for name, health in verdict.nodes.items()
        if views[name].state_ok and name not in health.stale
    }


def _turned(settled: Mapping[str, bool], verdict: Verdict, views: Views) -> bool:
    """Whether one of the nodes that were as planned has another role by its own words now.

    A failover has made it so, and what was planned around its old role would only be refused. It is over
    when no two nodes claim the same slots any more: before that nobody could plan around it. Slots that
    somebody moves meanwhile change no role, and a new plan at every one of them would help nobody.
    """
    stale = (name for name in settled if (health := verdict.nodes.get(name)) and name in health.stale)
    if not any(views[name].me.replica != settled[name] for name in stale):
        return False
    return sum(len(view.me.slots) for view in views.values()) == len(verdict.covered)


class _Guess:
    """Tells which replicas know their primary by now.

    A view that is read whole says it. On large clusters a view is not read just for that: the count of
    those it knows says how likely it is, and the server answers 'Unknown node' where the guess was too
    early. The sooner a replica is one, the more links are made after that, and every new link carries
    its role to the other end at once, where an old one waits for the next ping.
    """

    def __init__(self, ids: Mapping[str, str], *, small: bool) -> None:
        self._ids = ids
        self._small = small
        self._unknown: dict[str, int] = {}

    def due(self, step: Replicate, views: Views) -> bool:
        view = views[step.node]
        if self._small:
            peer = view.knows(self._ids[step.primary])
            return peer is not None and not peer.handshake
        # Again when it knows a quarter of those whom it did not know last time: a few tries for each.
        unknown = len(self._ids) - view.known
        if unknown > 0.75 * self._unknown.get(step.node, len(self._ids)) and unknown > 0:
            return False
        self._unknown[step.node] = unknown
        return True


class _Hurry:
    """Extra MEETs: from newcomers to a serving cluster, and between nodes that both look at old addresses."""

    def __init__(self, run: Run, watch: Watch) -> None:
        self._run = run
        self._watch = watch
        # Also when everything is planned anew in the middle of it.
        self._joining = run.joining = run.joining | newcomers(watch.views)
        self._nodes = {node.name: node for node in run.topology.nodes}
        self._moved = bool(moved_meets(self._nodes, watch.views))
        # On large clusters views are old: what they lack has most likely been mended.
        self._small = len(watch.views) <= SMALL
        self._pause = _PAIR_SECONDS if self._small else 60.0
        if self._joining:
            # Nobody is busy making links: whoever misses a newcomer can be found sooner.
            watch.sample_at_least(_AT_ONCE)
        # When a pair got its last extra MEET, and how many it had: they become rarer where they do not help.
        self._last = run.hurried
        self._connected = False

    async def round(self, verdict: Verdict, attaching: Mapping[str, str]) -> None:
        """Send the next batch; `attaching` are the nodes that have yet to REPLICATE, and whom."""
        now = asyncio.get_running_loop().time()
        resting = {
            pair for pair, (last, count) in self._last.items() if now - last < pause(_PAIR_SECONDS, count)
        }
        steps = [*self._of_newcomers(verdict, attaching, resting)]
        if self._moved:
            lost = moved_meets(self._nodes, self._watch.views)
            self._moved = bool(lost)
            for meet in lost:
                last, count = self._last.get((meet.node, meet.peer), (-self._pause, 0))
                if now - last >= pause(self._pause, count):
                    steps.append(meet)
        for meet in steps:
            # Either direction gives the pair a new link, and the other one has to wait for it.
            for pair in ((meet.node, meet.peer), (meet.peer, meet.node)):
                self._last[pair] = now, self._last.get(pair, (now, 0))[1] + 1
        await self._run.actor.send(steps, self._watch.views, extra=True)

    def _of_newcomers(
        self, verdict: Verdict, attaching: Mapping[str, str], resting: set[tuple[str, str]]
    ) -> Iterator[Meet]:
        if not self._joining:
            return
        if not self._connected:
            self._connected = len(group(self._watch.views)) == 1
            # The links of the planned MEETs are being made: their handshakes are not cut off.
            now = asyncio.get_running_loop().time()
            met = {(peer, name) for name in self._joining for peer in verdict.nodes if peer != name}
            self._last |= dict.fromkeys(met, (now, 0))
            resting |= met
        if self._connected:
            views = self._watch.views
            for meet in newcomer_meets(self._nodes, self._joining, verdict, views, attaching, resting):
                told, receiver = verdict.nodes[meet.peer], views[meet.peer]
                # A peer of a large cluster may have been read long ago; how many it knows is always new.
                if self._small or meet.node not in told.unseen or receiver.known < len(self._nodes):
                    yield meet


class _Phases:
    """Tells when the mesh is full and when all replicas have been told, once each."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._told: set[str] = set()

    def tell(self, verdict: Verdict, unattached: bool) -> None:
        """Report the phase that `verdict` shows."""
        phase: PhaseName = "mesh" if not verdict.mesh else "replicate" if unattached else "ready"
        if self._run.mesh_only and phase != "mesh":
            return
        if phase not in self._told:
            self._told.add(phase)
            self._run.report(Phase(phase))
