"""How a run ends: with an outcome, cut short, or out of time with every reason why."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from clusterboot.core.events import Phase
from clusterboot.core.plan import Meet, Plan
from clusterboot.core.results import BoostReport, UpResult, rows
from clusterboot.core.timers import lowered_found, refusal
from clusterboot.errors import Exit, OutOfTime, Problem
from clusterboot.loop.boost import GRACE, Boost
from clusterboot.loop.investigate import why
from clusterboot.loop.observe import SMALL, survey
from clusterboot.loop.run import Goal, Run
from clusterboot.wording import duration

_SHOWN = 5
# How long the last look may take, before it is found out why a run is out of time.
_LOOK_SECONDS = 0.5


def outcome(run: Run, plan: Plan | None = None) -> UpResult:
    """Return what a run did and where it stands, whether or not it reached its goal.

    `plan` is what was missing at first; only after `assess` has found a goal.
    """
    goal = run.goal
    assert goal is not None, "there is no outcome before the first look"
    assert run.verdict is not None, "the first look ends with a verdict"
    return UpResult(
        topology=run.topology,
        target=goal.target,
        plan=plan or goal.plan,
        verdict=run.verdict,
        nodes=rows(run.topology, goal.observed.views, run.verdict, goal.judge.ids),
        steps=tuple(run.actor.done),
        boost=run.lent if run.lent is not None and (run.lent.used or run.lent.reason) else None,
        seconds=asyncio.get_running_loop().time() - run.start,
        dry_run=run.dry_run,
        mesh_only=run.mesh_only,
        warnings=tuple(run.warned),
    )


def dry(run: Run, goal: Goal) -> UpResult:
    """What `up` would do, without doing it."""
    run.warn(lowered_found(goal.observed.views))
    reason = no_boost(run, goal)
    run.lent = BoostReport(reason is None and bool(goal.plan.steps), {}, reason=reason)
    return outcome(run, plan=goal.plan)


def no_boost(run: Run, goal: Goal) -> str | None:
    """Return why there is to be no boost, or None when there may be one."""
    replicas = any(spot.primary is not None for spot in goal.target.spots.values())
    return refusal(
        run.topology, goal.observed.views, wanted=run.boost, replicas=replicas and not run.mesh_only
    )


async def give_back(run: Run, boost: Boost) -> bool:
    """Restore what this run, or another, has lowered; return whether the cluster was calm all the time."""
    if not boost.owes:
        run.lent = boost.report()
        return True
    run.report(Phase("restore"))
    calm = await boost.restore()
    run.warn(boost.warnings)
    run.lent = boost.report()
    return calm


async def cut_short(run: Run, boost: Boost, ended: BaseException) -> BaseException:
    """Restore what is lowered, by this run or one before it, and return what the run is to raise.

    Nothing is restored in a dry run, which only warns. Takes `boost.GRACE` seconds; why a run is out of time
    is found out at the same time.
    """
    boost.notice(run.views)
    if run.dry_run:
        run.warn(lowered_found(run.views))
    restoring = asyncio.ensure_future(_restored(boost, wanted=boost.owes and not run.dry_run))
    try:
        if isinstance(ended, TimeoutError):
            ended = await out_of_time(run)
    except asyncio.CancelledError as signalled:
        # A signal at this very moment: restoring goes on to its end, and what is left is told.
        ended = signalled
    await restoring
    ended = boost.ending(ended)
    run.warn(boost.warnings)
    run.lent = boost.report()
    return ended


async def _restored(boost: Boost, *, wanted: bool) -> None:
    if wanted:
        await boost.cut_short()


async def out_of_time(run: Run) -> OutOfTime:
    """The error for a deadline that came first: every reason why the cluster is not Ready."""
    head = Problem(
        "out-of-time",
        f"not {'a full mesh' if run.mesh_only else 'Ready'} within {duration(run.timeout)}.",
        hint="run the same command again: it goes on from here; --timeout gives it longer",
        exit=Exit.NOT_READY,
    )
    if run.verdict is None:
        return OutOfTime(head, *run.away.values())
    met = [(done.step.node, done.step.peer) for done in run.actor.done if isinstance(done.step, Meet)]
    await _look_again(run)
    left = run.start + run.timeout + GRACE - asyncio.get_running_loop().time()
    seconds = max(0.2, min(1.0, left))
    reasons = await why(run.fleet, run.topology, run.views, run.verdict, met, seconds=seconds, fresh=False)
    return OutOfTime(head, *dict.fromkeys((*run.actor.failures.values(), *_refused(run), *reasons)))


async def _look_again(run: Run) -> None:
    """Look at the nodes as they are now: the last look may have waited for one of them until the deadline.

    On large clusters one look takes too long for that.
    """
    if run.goal is None or len(run.names) > SMALL:
        return
    until = asyncio.get_running_loop().time() + _LOOK_SECONDS
    observed = await survey(run.fleet, run.names, run.seen, until=until)
    run.views = {**run.views, **observed.views}
    away = {name: problem for name, problem in observed.away.items() if name not in run.views}
    run.verdict = run.goal.judge.verdict(run.views, away)


def _refused(run: Run) -> list[Problem]:
    """What nodes went on refusing to do of what is still planned, in their own words."""
    planned = run.goal.plan.steps if run.goal is not None else ()
    found = [run.actor.refusals[step] for step in planned if step in run.actor.refusals]
    # Who is loading is told as such by `why`.
    found = [problem for problem in found if problem.code != "loading"]
    return [replace(problem, exit=Exit.NOT_READY) for problem in found[:_SHOWN]]
