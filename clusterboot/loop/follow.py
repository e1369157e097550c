"""Following a forming cluster: look, and send REPLICATE to replicas, until Ready. The caller bounds it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from enum import Enum, auto

from clusterboot.core.events import Looked, Phase, PhaseName
from clusterboot.core.health import Judge
from clusterboot.core.steps import Replicate
from clusterboot.core.verdict import Verdict
from clusterboot.core.views import Views
from clusterboot.loop.meets import ExtraMeets
from clusterboot.loop.observe import SMALL, Observed, Watch, now
from clusterboot.loop.run import Goal, Run

# The pause between two rounds: as long as the round itself took, on large clusters twice as long, so that
# the nodes have the time that looking would take; within these bounds in seconds.
_MIN_PAUSE, _MAX_PAUSE = 0.02, 0.5
# The share of all pairs that must know each other before a large cluster is nudged.
_KNOWN_BEFORE_NUDGE = 0.9
# Seconds between two nudges: if they come sooner, nodes vouch for each other instead of asking.
_BETWEEN_NUDGES = 2.5

# Lets every node ping almost all others at once; returns False if that is never needed.
Nudge = Callable[[], Awaitable[bool]]


class Followed(Enum):
    """How following ended: Ready, nothing moves any more, or a node has another role than planned."""

    READY = auto()
    STUCK = auto()
    ROLES_CHANGED = auto()


async def follow(run: Run, goal: Goal, patience: float, nudge: Nudge) -> Followed:
    """Look and send REPLICATE until one snapshot of all nodes, taken after the last change, is Ready.

    Ends early if nothing has changed for `patience` seconds, or if a serving node takes another role than
    planned. `run.views` and `run.verdict` are of the last look.
    """
    watch = Watch(run.fleet, goal.views, goal.judge, run.seen)
    small = len(watch.views) <= SMALL
    serving = _serving(goal.judge.verdict(watch.views), watch.views)
    pending = {step for step in goal.plan.steps if isinstance(step, Replicate)}
    readiness = _ReplicaReadiness(goal.judge.ids, small=small)
    extra = ExtraMeets(run.topology, run.meets, run.actor, watch) if run.topology.extra_meets else None
    nudging = _Nudging(nudge, pairs=len(goal.judge.ids) ** 2)
    stagnation = _Stagnation(patience)
    reported: set[PhaseName] = set()
    while True:
        began = now()
        observed, verdict = await _look(watch, goal.judge, snapshot=not small and not pending)
        run.verdict, run.views = verdict, watch.views
        known = sum(view.known for view in watch.views.values())
        # Not every node of a large cluster was read whole by now, but each reported how many it knows.
        links = verdict.links if small else max(verdict.links, known - len(watch.views))
        run.report(Looked(replace(verdict, links=min(links, verdict.total)), tuple(observed.away)))
        phase: PhaseName = "mesh" if not verdict.mesh else "replicate" if pending else "ready"
        if phase not in reported and (phase == "mesh" or not run.mesh_only):
            reported.add(phase)
            run.report(Phase(phase))
        if verdict.ready:
            return Followed.READY
        if not observed.away and _role_changed(serving, verdict, watch.views):
            return Followed.ROLES_CHANGED
        ready = [step for step in pending if readiness.of(step, watch.views)]
        refused = await run.actor.send(sorted(ready, key=lambda step: step.node), watch.views)
        attached = {step for step in ready if step not in refused and step.node not in run.actor.failures}
        if attached:
            pending -= attached
            watch.unsettle()
        if extra is not None:
            await extra.send(verdict, {step.node: step.primary for step in pending})
        await nudging.nudge_when_known(known)
        if stagnation.over(verdict.links, verdict.complete, -len(pending), known):
            return Followed.STUCK
        if not attached:
            took = now() - began
            await asyncio.sleep(min(_MAX_PAUSE, max(_MIN_PAUSE, took * (1 if small else 2))))


async def _look(watch: Watch, judge: Judge, *, snapshot: bool) -> tuple[Observed, Verdict]:
    """Look once; a large cluster may be Ready by a `snapshot` of all nodes only."""
    observed = await watch.look()
    if snapshot and watch.promising:
        observed = await watch.snapshot()
        return observed, judge.verdict(watch.views, observed.away)
    verdict = judge.verdict(watch.views, observed.away)
    if len(watch.views) > SMALL:
        # Gathered from views of different moments.
        verdict = replace(verdict, ready=False)
    return observed, verdict


def _serving(verdict: Verdict, views: Views) -> dict[str, bool]:
    """Return which nodes of a serving cluster are as planned, and whether each is a replica."""
    return {
        name: views[name].me.replica
        for name, health in verdict.nodes.items()
        if views[name].state_ok and name not in health.stale
    }


def _role_changed(serving: Mapping[str, bool], verdict: Verdict, views: Views) -> bool:
    """Whether a node that was as planned reports another role, and its failover is over.

    Its planned steps would be refused. While two nodes claim the same slots no plan is possible; slots that
    are moved need no new plan.
    """
    stale = (name for name in serving if (health := verdict.nodes.get(name)) and name in health.stale)
    if not any(views[name].me.replica != serving[name] for name in stale):
        return False
    return sum(len(view.me.slots) for view in views.values()) == len(verdict.covered)


class _ReplicaReadiness:
    """Tells which replicas know their primary by now and can replicate it.

    In a small cluster the views say it. In a large one it is guessed from the number of nodes that a replica
    knows, and the server replies 'Unknown node' to an early guess. Early is good: a new link carries the role
    of a node at once, an old one with the next ping.
    """

    def __init__(self, ids: Mapping[str, str], *, small: bool) -> None:
        self._ids = ids
        self._small = small
        self._unknown: dict[str, int] = {}

    def of(self, step: Replicate, views: Views) -> bool:
        view = views[step.node]
        if self._small:
            peer = view.knows(self._ids[step.primary])
            return peer is not None and not peer.handshake
        # Again when it knows a quarter of those that it did not know last time: a few tries for each.
        unknown = len(self._ids) - view.known
        if unknown > 0.75 * self._unknown.get(step.node, len(self._ids)) and unknown > 0:
            return False
        self._unknown[step.node] = unknown
        return True


class _Nudging:
    """Nudges as soon as most nodes know each other, and again after some quiet seconds."""

    def __init__(self, nudge: Nudge, pairs: int) -> None:
        self._nudge: Nudge | None = nudge
        self._pairs = pairs
        self._quiet_until = 0.0

    async def nudge_when_known(self, known: int) -> None:
        if self._nudge is None or known < _KNOWN_BEFORE_NUDGE * self._pairs or now() <= self._quiet_until:
            return
        if not await self._nudge():
            self._nudge = None
        self._quiet_until = now() + _BETWEEN_NUDGES


class _Stagnation:
    """Tells when nothing has moved for `patience` seconds."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._best: tuple[int, ...] = ()
        self._moved_at = now()

    def over(self, *reached: int) -> bool:
        """Whether none of the numbers `reached` has been higher than ever before for too long."""
        best = tuple(map(max, reached, self._best or reached))
        if best != self._best:
            self._best, self._moved_at = best, now()
        return now() - self._moved_at > self._patience
