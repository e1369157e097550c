"""The stages of `--rebalance`: each is taken on a cluster that is Ready, and ends with a new look.

A stage that ends early, because a node was lost in the middle, leaves nothing that the next look does not
find.
"""

from __future__ import annotations

from collections.abc import Sequence

from clusterboot.core.events import Done, Event, Phase, Warned
from clusterboot.core.open_slots import disputed_slots, open_slots
from clusterboot.core.steps import Failover, Forget, MoveSlots, Replicate, Reset, Step
from clusterboot.core.views import Views
from clusterboot.errors import NodeFailed, Problem, from_problems, not_ready
from clusterboot.loop.boost import Boost
from clusterboot.loop.run import Goal, Run, assess, full_look
from clusterboot.rebalance.agree import agreed
from clusterboot.rebalance.alone import Alone
from clusterboot.rebalance.functions import copy_functions
from clusterboot.rebalance.handover import attach, fail_over
from clusterboot.rebalance.measure import measure
from clusterboot.rebalance.move import Mover
from clusterboot.rebalance.open_slots import settle
from clusterboot.rebalance.retire import Leavers, retire
from clusterboot.slots import union
from clusterboot.wording import shortened

# How many stages may fail because nodes were lost in the middle: something is wrong if it goes on.
_MAX_FAILED = 5


async def measure_moves(run: Run, goal: Goal) -> None:
    """Note in `run` how the slots of `goal` would travel; raises what forbids it."""
    moves = [step for stage in goal.stages for step in stage if isinstance(step, MoveSlots)]
    if not moves:
        return
    measured = await measure(run.fleet, moves, goal.views)
    if measured.problems:
        raise from_problems(measured.problems)
    run.transfers = measured.transfers


def idle(goal: Goal) -> bool:
    """Return whether nothing is to be done: no step, no stage, and no slot that is half moved."""
    return not (goal.everything.steps or open_slots(goal.views) or disputed_slots(goal.views))


class Stages:
    """Takes the stages of one run."""

    def __init__(self, run: Run, boost: Boost, alone: Alone) -> None:
        self._run = run
        self._boost = boost
        self._alone = alone
        self._mover = Mover(run.fleet, self._report)
        self._failed = 0

    def _report(self, event: Event) -> None:
        if isinstance(event, Done):
            self._run.actor.done.append(event)
        if isinstance(event, Warned):
            self._run.warn((event.problem,))
            return
        self._run.moved = self._mover.moved
        self._run.report(event)

    async def begin(self, goal: Goal) -> Goal:
        """Finish what a killed run left; returns the goal then. Raises Refused if somebody moves slots."""
        run = self._run
        if await settle(run.fleet, run.names, goal.views, self._mover):
            return assess(run, await full_look(run, goal))
        return goal

    async def take(self, goal: Goal) -> Goal:
        """Take the next stage of `goal`; returns the goal after a new look at all nodes.

        A node that is lost in the middle is waited for, and what it left open is finished. Raises NodeFailed
        where nothing has changed since, and everything that the new look forbids.
        """
        run, stage = self._run, goal.stages[0]
        run.unfinished = _unfinished(goal.stages)
        run.report(Phase("retire" if isinstance(stage[0], Forget | Reset) else "move", _describe(stage)))
        before = _state(goal.views)
        try:
            await self._alone.keep()
            await self._do(stage, goal.views)
        except NodeFailed as failed:
            views = await full_look(run, goal)
            self._failed += 1
            if _state(views) == before or self._failed > _MAX_FAILED:
                raise failed from failed.__cause__
            return await self.begin(assess(run, views))
        goal = assess(run, await full_look(run, goal))
        run.unfinished = None
        return goal

    async def _do(self, stage: Sequence[Step], views: Views) -> None:
        run, first = self._run, stage[0]
        if isinstance(first, Failover):
            await fail_over(run.fleet, run.actor, first, views)
        elif isinstance(first, Replicate):
            replicates = [step for step in stage if isinstance(step, Replicate)]
            await attach(run.fleet, run.actor, self._boost, replicates, views, run.progress)
        elif isinstance(first, MoveSlots):
            await self._move([step for step in stage if isinstance(step, MoveSlots)], views)
        else:
            await self._leave()

    async def _move(self, steps: Sequence[MoveSlots], views: Views) -> None:
        run = self._run
        measured = await measure(run.fleet, steps, views)
        if measured.problems:
            raise from_problems(measured.problems)
        for source, target in dict.fromkeys((step.node, step.peer) for step in steps):
            await copy_functions(run.fleet, views[source], views[target])
        # A primary that loses its last slot would become a replica of the last taker, with all its replicas.
        emptied = [
            name
            for name in {step.node: None for step in steps}
            if not views[name].me.slots - union(step.slots for step in steps if step.node == name)
        ]
        ids = {views[name].id for name in emptied}
        held = [*emptied, *(name for name, view in views.items() if view.me.primary in ids)]
        await self._boost.hold(held, migration=True)
        await self._mover.run(measured.transfers, views)
        # A replica that learns of the last slot only after its release would go to the taker all the same.
        for step in steps:
            if step.node in emptied:
                await agreed(run.fleet, held, views[step.peer], step.slots, {})
        await self._boost.release(held)

    async def _leave(self) -> None:
        run = self._run
        leavers = run.members.leaving.leavers
        living = {each.name: each.id for each in leavers if each.node is not None}
        dead = {each.name: each.id for each in leavers if each.node is None}
        staying = [node.name for node in run.own.nodes]
        names = await retire(run.fleet, run.actor, staying, Leavers(living, dead))
        run.retired += tuple(name for name in names if name not in run.retired)


def _state(views: Views) -> dict[str, object]:
    """Return what shows that a node was lost and is back: its process, role and id."""
    return {name: (view.run_id, view.me.replica, view.id) for name, view in views.items()}


def _describe(stage: Sequence[Step]) -> str:
    first = stage[0]
    if isinstance(first, MoveSlots):
        moves = [step for step in stage if isinstance(step, MoveSlots)]
        slots = sum(len(step.slots) for step in moves)
        return f"{slots:,} slot{'s' if slots > 1 else ''} to {shortened(_targets(moves))}"
    if isinstance(first, Failover):
        return f"{first.node} takes the place of {first.peer}"
    if isinstance(first, Replicate):
        return f"{first.node} to {first.primary}"
    return shortened(
        list(dict.fromkeys(step.peer if isinstance(step, Forget) else step.node for step in stage))
    )


def _unfinished(stages: Sequence[Sequence[Step]]) -> Problem:
    """Return what is left to do, for a run that ends in the middle of a stage."""
    words = ("retire " if isinstance(stage[0], Forget | Reset) else "" for stage in stages)
    left = ", ".join(word + _describe(stage) for word, stage in zip(words, stages, strict=True))
    return not_ready("not-rebalanced", f"not everything is done yet that was planned: {left}.")


def _targets(moves: Sequence[MoveSlots]) -> list[str]:
    return list(dict.fromkeys(step.peer for step in moves))
