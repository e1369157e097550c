"""The whole of clusterboot in one screen: look, compare, act, until Ready or out of time.

    up      look at every node → refuse what is unsafe → plan what is missing → lower timers → form
    form    send the plan → follow → if nothing moves any more: look at everything anew, plan again

Nothing remembers how far an earlier run got. A crash, a Ctrl-C or a second `up` needs no special case:
a Ready cluster plans no steps, a half-built one plans the rest, a grown topology plans the growth.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from clusterboot.core.events import Phase
from clusterboot.core.plan import Meet
from clusterboot.core.results import UpResult
from clusterboot.core.timers import handshake_seconds
from clusterboot.errors import from_problems
from clusterboot.loop.act import forbidden, stranded
from clusterboot.loop.boost import Boost
from clusterboot.loop.ending import cut_short, dry, give_back, no_boost, outcome
from clusterboot.loop.follow import follow
from clusterboot.loop.observe import Observed, Watch
from clusterboot.loop.run import TELL, Goal, Run, all_back, assess, due, first_look
from clusterboot.wire.resolve import resolve_announced
from clusterboot.wording import count

__all__ = ["Run", "outcome", "up"]


async def up(run: Run) -> UpResult:
    """Bring the nodes of `run` to Ready (or to the mesh) and return what was done.

    Raises Refused or NodeFailed with everything that is wrong before anything is changed, NodeFailed
    when a node refuses a step, and OutOfTime with the reasons when `run.timeout` seconds are over;
    `outcome` then tells how far it got. Lowered settings are restored in every case, also when the task
    is cancelled: then it raises Interrupted where some could not be.
    """
    boost = Boost(run.fleet, run.names, run.helper)
    try:
        deadline = run.start + run.timeout
        # The first look has bounds of its own, a little earlier: its end is what names who is silent.
        async with asyncio.timeout_at(deadline + 2 * TELL) as clock:
            run.report(Phase("look", count(len(run.names), "node")))
            run.topology = await resolve_announced(run.topology, deadline)
            # Refuses what is unsafe, and plans what is missing.
            goal = assess(run, await first_look(run))
            clock.reschedule(deadline)
            problems = await stranded(run.fleet, goal.plan.steps, goal.observed.views)
            if not run.dry_run:
                problems += await forbidden(run.fleet, goal.plan.steps, goal.observed.views)
            if problems:
                raise from_problems(problems)
            if run.dry_run:
                return dry(run, goal)
            # Up to here nothing was changed, and no node is known that would refuse a step.
            boost.notice(goal.observed.views)
            missing = goal.plan
            await form(run, goal, boost)
            while not await give_back(run, boost):
                # A node stalled or failed meanwhile, and what was Ready may be so no longer.
                goal = assess(run, await all_back(run, goal))
                await form(run, goal, boost)
            return outcome(run, plan=missing)
    except BaseException as ended:
        # A refusal as well: what a killed run has left lowered is restored before anybody hears of it.
        raise await cut_short(run, boost, ended) from ended.__cause__


async def form(run: Run, goal: Goal, boost: Boost) -> None:
    """Send what is missing and follow it, until the goal is reached; there is no other way out."""
    assert run.verdict is not None, "assess has judged"
    if run.verdict.ready and not goal.plan.steps:
        return
    views = goal.observed.views
    declined = no_boost(run, goal)
    if declined is None:
        run.report(Phase("lower", count(len(run.names), "node")))
        wait = handshake_seconds(await boost.lower(views))
    else:
        wait = handshake_seconds(await boost.decline(declined, views))
    again, stuck = False, True
    while True:
        first = [step for step in goal.plan.steps if step.kind in ("epoch", "slots")]
        await run.actor.send(first, views)
        if meets := due(run, goal.plan.meets, 0.0 if stuck else wait):
            run.report(Phase("meet", describe(meets)))
            await run.actor.send(meets, views, again=again)
        # Replicas follow their primaries in here, as soon as they know them, and Ready is found in here.
        watch = Watch(run.fleet, views, goal.judge, run.seen)
        run.verdict, stuck = await follow(run, goal.plan, watch, goal.judge, wait, boost.nudge)
        if run.verdict.ready:
            run.goal = replace(goal, observed=Observed(watch.views, {}))
            return
        # Nothing moved for as long as a handshake lives: whatever is still missing was lost; or roles
        # have changed. Looked at anew, since a node that was away meanwhile may be another one now.
        goal, again = assess(run, await all_back(run, goal), stuck=stuck), True
        views = goal.observed.views
        # Links that are not made in time, that is: nodes that just started take no writes for two seconds.
        eased = await boost.ease() if stuck and not run.verdict.mesh else None
        wait = wait if eased is None else handshake_seconds(eased)


def describe(meets: Sequence[Meet]) -> str:
    """Say a MEET plan in a few words, as in "5 MEETs around a"."""
    hubs = {step.node for step in meets}
    around = f" around {next(iter(hubs))}" if len(hubs) == 1 else ""
    return f"{count(len(meets), 'MEET')}{around}"
