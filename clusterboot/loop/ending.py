"""How a run ends: with an outcome, early, or out of time with every reason why."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from clusterboot.core.borrowed import lowered_found
from clusterboot.core.events import Phase
from clusterboot.core.plan import Plan
from clusterboot.core.results import BoostReport, UpResult, rows
from clusterboot.core.steps import Meet
from clusterboot.core.timers import why_no_boost
from clusterboot.errors import ClusterbootError, Exit, Interrupted, OutOfTime, Problem, not_ready
from clusterboot.loop.boost import GRACE, Boost
from clusterboot.loop.investigate import silent, why
from clusterboot.loop.observe import SMALL, now, survey
from clusterboot.loop.run import Goal, Run
from clusterboot.wording import duration

_MAX_REFUSALS_SHOWN = 5
# Refusals because somebody else is at work on the cluster.
_OTHERS = {"rebalance-running", "slots-moving"}
# Max seconds for the last look, before the reasons are found out.
_LOOK_SECONDS = 0.5


def outcome(run: Run, plan: Plan | None = None) -> UpResult:
    """Return what a run did and how the cluster stands, whether or not the goal is reached.

    `plan` is what was missing at first; only after `assess` has set a goal.
    """
    goal, boost = run.goal, run.boost_report
    assert goal is not None, "there is no outcome before the first look"
    assert run.verdict is not None, "the first look ends with a verdict"
    return UpResult(
        topology=run.topology,
        target=goal.target,
        plan=plan or goal.plan,
        verdict=run.verdict,
        nodes=rows(run.topology, goal.views, run.verdict, goal.judge.ids),
        steps=tuple(run.actor.done),
        boost=boost if boost is not None and (boost.used or boost.reason) else None,
        seconds=now() - run.start,
        dry_run=run.asked.dry_run,
        mesh_only=run.mesh_only,
        warnings=tuple(run.warned),
        moved=run.moved,
        retired=run.retired,
        transfers=run.transfers if run.asked.dry_run else (),
    )


def dry(run: Run, goal: Goal) -> UpResult:
    """Return what `up` would do, without doing it."""
    run.warn(lowered_found(goal.views))
    reason = no_boost(run, goal)
    run.boost_report = BoostReport(reason is None and bool(goal.plan.steps), {}, reason=reason)
    return outcome(run, goal.everything)


def no_boost(run: Run, goal: Goal) -> str | None:
    """Return why timers may not be lowered, or None if they may be."""
    replicas = any(spot.primary is not None for spot in goal.target.spots.values())
    return why_no_boost(
        run.topology, goal.views, wanted=run.asked.boost, replicas=replicas and not run.mesh_only
    )


async def restore_settings(run: Run, boost: Boost) -> bool:
    """Restore what this run or another has lowered; returns whether the cluster was calm all the time."""
    calm = True
    if boost.owes:
        run.report(Phase("restore"))
        calm = await boost.restore()
        run.warn(boost.warnings)
    run.boost_report = boost.report()
    return calm


async def end_early(run: Run, boost: Boost, ended: BaseException) -> BaseException:
    """Restore what is lowered, by this run or one before it; returns what the run is to raise after `ended`.

    A dry run only warns. Takes `boost.GRACE` seconds at most; an error gets the warnings of the run, and its
    outcome if it did a step.
    """
    if isinstance(ended, ClusterbootError) and any(each.code in _OTHERS for each in ended.problems):
        run.beside = True
    if not run.beside:
        boost.notice(run.views)
    if run.asked.dry_run:
        run.warn(lowered_found(run.views))
    owed = boost.owes and not run.asked.dry_run
    restoring = asyncio.ensure_future(boost.restore_within_grace() if owed else asyncio.sleep(0))
    try:
        if isinstance(ended, TimeoutError):
            ended = await _out_of_time(run)
    except asyncio.CancelledError as signalled:
        # Restoring still goes on to its end, and the error tells what is left.
        ended = signalled
    await restoring
    ended = boost.to_raise(ended)
    if isinstance(ended, asyncio.CancelledError | Interrupted) and run.unfinished is not None:
        ended = Interrupted(*getattr(ended, "problems", ()), run.unfinished)
    run.warn(boost.warnings)
    run.boost_report = boost.report()
    if isinstance(ended, ClusterbootError):
        ended.warnings = tuple(run.warned)
        ended.outcome = outcome(run) if run.actor.done or run.moved.slots else None
    return ended


async def _out_of_time(run: Run) -> OutOfTime:
    """Return the error for a deadline that came first, with every reason why the cluster is not Ready."""
    goal = "a full mesh" if run.mesh_only else "done" if run.unfinished else "Ready"
    limit = "within" if run.asked.bounded else "after no progress for"
    head = not_ready(
        "out-of-time",
        f"not {goal} {limit} {duration(run.asked.timeout)}.",
        hint="run the same command again: it goes on from here; --timeout gives it longer",
    )
    if run.verdict is None:
        return OutOfTime(head, *run.away.values())
    if run.unfinished is not None:
        # The goal of this moment was reached: what is left are the stages.
        return OutOfTime(head, run.unfinished, *await silent(run.fleet, run.names, _LOOK_SECONDS))
    met = [(done.step.node, done.step.peer) for done in run.actor.done if isinstance(done.step, Meet)]
    await _last_look(run)
    seconds = max(0.2, min(1.0, run.deadline + GRACE - now()))
    reasons = await why(run.fleet, run.topology, run.views, run.verdict, met, seconds=seconds, fresh=False)
    return OutOfTime(head, *dict.fromkeys((*run.actor.failures.values(), *_refusals(run), *reasons)))


async def _last_look(run: Run) -> None:
    """Look once more, unless the cluster is large: the last look may have waited for a node until the end."""
    if run.goal is None or len(run.names) > SMALL:
        return
    observed = await survey(run.fleet, run.names, run.seen, until=now() + _LOOK_SECONDS)
    run.views = {**run.views, **observed.views}
    away = {name: problem for name, problem in observed.away.items() if name not in run.views}
    run.verdict = run.goal.judge.verdict(run.views, away)


def _refusals(run: Run) -> list[Problem]:
    """Return the error replies to steps that are still planned; `why` names nodes that are loading."""
    planned = run.goal.plan.steps if run.goal is not None else ()
    refusals = [run.actor.refusals[step] for step in planned if step in run.actor.refusals]
    shown = [problem for problem in refusals if problem.code != "loading"][:_MAX_REFUSALS_SHOWN]
    return [replace(problem, exit=Exit.NOT_READY) for problem in shown]
