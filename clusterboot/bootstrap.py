"""`up` from start to end, on one screen: look, compare, act, until Ready or out of time.

    up      look at every node → refuse what is unsafe → plan what is missing → reach
    reach   lower timers → form → restore timers
    form    send the plan → follow → if nothing moves any more: look at everything again, plan again
    --rebalance: reach, then stage by stage (failovers, replicas, slots, members that leave): take it → reach

No progress is kept between runs, so a crash, Ctrl-C or a second `up` is not a special case: a Ready cluster
needs no steps, a half-built one the missing steps, a topology with new nodes the steps that add them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from clusterboot.core.events import Phase
from clusterboot.core.results import UpResult
from clusterboot.core.steps import AddSlots, Meet, MoveSlots, SetEpoch
from clusterboot.core.timers import handshake_seconds
from clusterboot.errors import from_problems
from clusterboot.loop.act import command, forbidden, stranded
from clusterboot.loop.boost import Boost
from clusterboot.loop.ending import dry, end_early, no_boost, outcome, restore_settings
from clusterboot.loop.follow import Followed, follow
from clusterboot.loop.run import LATE_SECONDS, Goal, Request, Run, assess, first_look, full_look
from clusterboot.rebalance.alone import alone, at_work
from clusterboot.rebalance.take import Stages, idle, measure_moves
from clusterboot.wire.resolve import resolve_announced
from clusterboot.wording import count

__all__ = ["Request", "up"]


async def up(asked: Request) -> UpResult:
    """Bring the nodes of a topology to Ready (or to the full mesh), and return what was done.

    Raises Refused or NodeFailed with everything that is wrong before anything is changed, NodeFailed when a
    node refuses a step, and OutOfTime with the reasons at the deadline; `outcome` of the error is the
    UpResult of a partial run. Lowered settings are always restored; a cancelled run raises Interrupted if
    some could not be.
    """
    run = Run(asked)
    boost = Boost(run.fleet, run.names, asked.helper)
    try:
        # The first look ends a little later than the deadline, to name the nodes that did not answer.
        async with asyncio.timeout_at(run.deadline + 2 * LATE_SECONDS) as limit:
            run.report(Phase("look", count(len(run.names), "node")))
            run.topology = await resolve_announced(run.topology, run.deadline)
            goal = assess(run, await first_look(run))
            limit.reschedule(run.deadline)
            run.limit = limit
            missing, views = goal.everything, goal.views
            problems = await stranded(run.fleet, missing.steps, views)
            if not asked.dry_run:
                single = (step for step in missing.steps if not isinstance(step, MoveSlots))
                problems += await forbidden(run.fleet, [(step.node, command(step, views)) for step in single])
            if problems:
                raise from_problems(problems)
            if asked.dry_run:
                await measure_moves(run, goal)
                return dry(run, goal)
            # Nothing was changed so far, and no known node would refuse a step.
            if not asked.rebalance or idle(goal):
                run.beside = await at_work(run.fleet, views)
                if not run.beside:
                    boost.notice(views)
                goal = await reach(run, goal, boost)
            if not asked.rebalance or idle(goal):
                return outcome(run, plan=missing)
            async with alone(run.fleet, views, run.warn) as only:
                await measure_moves(run, goal)
                boost.notice(views)
                stages = Stages(run, boost, only)
                goal = await reach(run, await stages.begin(goal), boost)
                while goal.stages:
                    goal = await reach(run, await stages.take(goal), boost)
            return outcome(run, plan=missing)
    except BaseException as ended:
        # Also after a refusal: settings that a killed run left lowered are restored first.
        raise await end_early(run, boost, ended) from ended.__cause__


async def reach(run: Run, goal: Goal, boost: Boost) -> Goal:
    """Form the cluster until it is Ready with all settings restored; returns the goal that it has reached."""
    await form(run, goal, boost)
    while not await restore_settings(run, boost):
        # A node stalled or failed meanwhile: the cluster may no longer be Ready.
        await form(run, assess(run, await full_look(run, goal)), boost)
    assert run.goal is not None, "assess has set it"
    return run.goal


async def form(run: Run, goal: Goal, boost: Boost) -> None:
    """Send what is missing and follow it until the goal is reached; only an exception ends it earlier."""
    assert run.verdict is not None, "assess has judged"
    if run.verdict.ready and not goal.plan.steps:
        return
    declined = no_boost(run, goal)
    if declined is None:
        run.report(Phase("lower", count(len(run.names), "node")))
        wait = handshake_seconds(await boost.lower(goal.views))
    else:
        wait = handshake_seconds(await boost.decline(declined, goal.views))
    again, stuck = False, True
    while True:
        views = goal.views
        first = [step for step in goal.plan.steps if isinstance(step, SetEpoch | AddSlots)]
        await run.actor.send(first, views)
        if meets := run.meets.not_recently_sent(goal.plan.meets, 0.0 if stuck else wait):
            run.report(Phase("meet", describe(meets)))
            await run.actor.send(meets, views, again=again)
        # Sends REPLICATE to each replica as soon as it knows its primary.
        followed = await follow(run, goal, wait, boost.nudge)
        if followed is Followed.READY:
            run.goal = replace(goal, views=run.views)
            return
        # What is still missing after the lifetime of a handshake was lost; or roles have changed. Look at
        # everything again: a node that was away may have been replaced.
        stuck = followed is Followed.STUCK
        goal, again = assess(run, await full_look(run, goal), stuck=stuck), True
        # Links are made too slowly, or nodes have just started and take no writes for two seconds.
        eased = await boost.ease() if stuck and not run.verdict.mesh else None
        wait = wait if eased is None else handshake_seconds(eased)


def describe(meets: Sequence[Meet]) -> str:
    """Return a short description of MEETs, such as "5 MEETs around a"."""
    hubs = {step.node for step in meets}
    around = f" around {next(iter(hubs))}" if len(hubs) == 1 else ""
    return f"{count(len(meets), 'MEET')}{around}"
