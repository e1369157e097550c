"""How a run ends: with an outcome, cut short, or out of time with every reason why."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from clusterboot.boost import Boost
from clusterboot.course import Goal, Run
from clusterboot.errors import Exit, OutOfTime, Problem
from clusterboot.evidence import why
from clusterboot.plan import Meet, Plan
from clusterboot.results import BoostReport, UpResult, rows
from clusterboot.timers import refusal
from clusterboot.wording import duration

# How long putting things back may take when a run is cut short: within the two seconds of grace.
GRACE = 1.2
_SHOWN = 5


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
    reason = refusal(run.topology, goal.observed.views, wanted=run.boost)
    run.lent = BoostReport(reason is None and bool(goal.plan.steps), {}, reason=reason)
    return outcome(run, plan=goal.plan)


async def cut_short(run: Run, boost: Boost) -> None:
    """Put back what was borrowed although the run is being cancelled; bounded by GRACE."""
    back = asyncio.ensure_future(boost.give_back(patient=False))
    try:
        async with asyncio.timeout(GRACE):
            run.lent = await asyncio.shield(back)
    except TimeoutError:
        back.cancel()
        run.lent = boost.abandon()


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
    left = run.start + run.timeout + GRACE - asyncio.get_running_loop().time()
    seconds = max(0.2, min(1.0, left))
    reasons = await why(run.fleet, run.topology, run.views, run.verdict, met, seconds=seconds, fresh=False)
    return OutOfTime(head, *dict.fromkeys((*run.actor.failures.values(), *_refused(run), *reasons)))


def _refused(run: Run) -> list[Problem]:
    """What nodes went on refusing to do of what is still planned, in their own words."""
    planned = run.goal.plan.steps if run.goal is not None else ()
    found = [run.actor.refusals[step] for step in planned if step in run.actor.refusals]
    # Who is loading is told as such by `why`.
    found = [problem for problem in found if problem.code != "loading"]
    return [replace(problem, exit=Exit.NOT_READY) for problem in found[:_SHOWN]]
