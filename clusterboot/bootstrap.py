"""The whole of clusterboot in one screen: look, compare, act, until Ready or out of time.

    up      look at every node → refuse what is unsafe → plan what is missing → borrow timers → form
    form    send the plan → follow → if nothing moves any more: look at everything anew, plan again

Nothing remembers how far an earlier run got. A crash, a Ctrl-C or a second `up` needs no special case:
a Ready cluster plans no steps, a half-built one plans the rest, a grown topology plans the growth.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from clusterboot import preflight
from clusterboot.act import Actor, forbidden
from clusterboot.adopt import adopt
from clusterboot.announced import out_of_reach
from clusterboot.boost import Boost, Ledger, refusal
from clusterboot.diagnose import changed
from clusterboot.errors import Exit, NodeFailed, OutOfTime, Problem, from_problems
from clusterboot.events import Looked, Note, Phase, Planned, Reporter, Warned
from clusterboot.evidence import why
from clusterboot.follow import follow, handshake_seconds
from clusterboot.health import Judge, Verdict
from clusterboot.nodes import Seen
from clusterboot.observe import Asker, Observed, Watch, announced, survey
from clusterboot.placement import Placement
from clusterboot.plan import Meet, Plan, Views, plan
from clusterboot.results import BoostReport, UpResult, rows
from clusterboot.topology import Topology

# How long putting things back may take when a run is cut short: within the two seconds of grace.
GRACE = 1.2


@dataclass
class Run:
    """One run of `up`: what it was given, and where it stands."""

    topology: Topology
    fleet: Asker
    report: Reporter
    ledger: Ledger
    timeout: float
    spent: float = 0.0
    mesh_only: bool = False
    boost: bool = True
    dry_run: bool = False
    seen: Seen = field(default_factory=dict)
    away: Mapping[str, Problem] = field(default_factory=dict)
    views: Views = field(default_factory=dict)
    goal: Goal | None = None
    verdict: Verdict | None = None
    lent: BoostReport | None = None
    warned: dict[Problem, None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.names = tuple(node.name for node in self.topology.nodes)
        self.addresses = {node.name: node.address for node in self.topology.nodes}
        self.mesh_only = self.mesh_only or self.topology.slots == "none"
        self.actor = Actor(self.fleet, self.report)
        # Seconds that were spent before (on starting servers) count for the deadline.
        self.start = asyncio.get_running_loop().time() - self.spent

    def warn(self, problems: Iterable[Problem]) -> None:
        """Tell a warning once, however often it is found."""
        for problem in problems:
            if problem not in self.warned:
                self.warned[problem] = None
                self.report(Warned(problem))


@dataclass(frozen=True, slots=True)
class Goal:
    """What one full look comes to: the views, the target around them, the plan to get there."""

    observed: Observed
    target: Placement
    plan: Plan
    judge: Judge


async def up(run: Run) -> UpResult:
    """Bring the nodes of `run` to Ready (or to the mesh) and return what was done.

    Raises Refused or NodeFailed with everything that is wrong before anything is changed, NodeFailed
    when a node refuses a step, and OutOfTime with the reasons when `run.timeout` seconds are over;
    `outcome` then tells how far it got. Borrowed timers are put back in every case, also when the task
    is cancelled.
    """
    try:
        async with asyncio.timeout_at(run.start + run.timeout):
            run.report(Phase("look", f"{len(run.names)} nodes"))
            run.topology = await announced(run.topology)
            goal = assess(run, await first_look(run))
            if run.dry_run:
                return dry(run, goal)
            boost = Boost(run.fleet, run.addresses, run.ledger)
            boost.take_over(goal.observed.views)
            run.warn(boost.warnings)
            problems = await forbidden(run.fleet, goal.plan.steps, goal.observed.views)
            if problems:
                raise from_problems(problems)
            try:
                await form(run, goal, boost)
                run.report(Phase("give-back"))
                run.lent = await boost.give_back(patient=True)
            except BaseException:
                await cut_short(run, boost)
                raise
            finally:
                run.warn(boost.warnings)
            return outcome(run, plan=goal.plan)
    except TimeoutError as over:
        raise await out_of_time(run) from over


def dry(run: Run, goal: Goal) -> UpResult:
    """What `up` would do, without doing it."""
    reason = refusal(run.topology, goal.observed.views, wanted=run.boost)
    run.lent = BoostReport(reason is None and bool(goal.plan.steps), {}, reason=reason)
    return outcome(run, plan=goal.plan)


async def form(run: Run, goal: Goal, boost: Boost) -> None:
    """Send what is missing and follow it, until the goal is reached; there is no other way out."""
    assert run.verdict is not None, "assess has judged"
    if run.verdict.ready and not goal.plan.steps:
        return
    views = goal.observed.views
    wait = handshake_seconds(max(view.node_timeout for view in views.values()))
    declined = refusal(run.topology, views, wanted=run.boost)
    if declined is None:
        run.report(Phase("borrow", f"{len(run.names)} nodes"))
        wait = handshake_seconds(await boost.borrow(views))
    else:
        boost.decline(declined)
    again = False
    while True:
        run.report(Phase("meet", describe(goal.plan)))
        first = [step for step in goal.plan.steps if step.kind in ("epoch", "slots")]
        await run.actor.send(first, views)
        await run.actor.send(goal.plan.meets, views, again=again)
        watch = Watch(run.fleet, views, goal.judge, run.seen)
        run.verdict = await follow(run, goal.plan, watch, goal.judge, wait, boost.hasten)
        if run.verdict.ready:
            run.goal = replace(goal, observed=Observed(watch.views, {}))
            return
        # Nothing moved for as long as a handshake lives: whatever is still missing was lost. Looked at
        # anew, since a node that was away meanwhile may be another one now.
        goal, again = assess(run, await all_back(run, goal)), True
        views = goal.observed.views
        eased = await boost.ease()
        wait = wait if eased is None else handshake_seconds(eased)


async def all_back(run: Run, goal: Goal) -> Observed:
    """Look at every node until all answer: one that restarts is waited for, up to the deadline."""
    while True:
        observed = await survey(run.fleet, run.names, run.seen)
        if not observed.away:
            return observed
        run.views = observed.views
        run.verdict = goal.judge.verdict(observed.views, observed.away)
        run.report(Looked(run.verdict, tuple(observed.away)))
        await asyncio.sleep(0.2)


async def first_look(run: Run) -> Observed:
    """Look at every node; wait for those that are loading; NodeFailed with all that cannot be used."""
    told = False
    while True:
        observed = await survey(run.fleet, run.names, run.seen)
        run.away = observed.away
        problems = observed.away.values()
        if not problems:
            return observed
        if any(problem.code != "loading" for problem in problems):
            raise NodeFailed(*problems)
        if not told:
            told = True
            run.report(Note(f"waiting for {', '.join(observed.away)}: loading data"))
        await asyncio.sleep(0.2)


def assess(run: Run, observed: Observed) -> Goal:
    """Compare a full look with the topology: the target and the plan, or all that forbids going on."""
    views = {name: observed.views[name] for name in run.names}
    adopted = adopt(run.topology, views)
    problems = (*preflight.refusals(run.topology, views), *adopted.refusals)
    if not run.mesh_only:
        problems += preflight.no_way_in(adopted.target, views)
    if run.goal is not None:
        problems = changed(run.goal.judge.ids, views, problems, acted=bool(run.actor.done))
    if problems:
        raise from_problems(problems)
    run.warn((*run.topology.warnings, *preflight.warnings(views), *adopted.target.warnings))
    steps = plan(run.topology, adopted.target, views)
    if run.mesh_only:
        steps = Plan(steps.meets, steps.groups)
    if unmeetable := out_of_reach(run.topology, steps.meets, views):
        raise from_problems(unmeetable)
    run.report(Planned(adopted.target, steps))
    ids = {name: view.id for name, view in views.items()}
    judge = Judge(adopted.target, ids, mesh_only=run.mesh_only)
    run.views = views
    run.verdict = judge.verdict(views)
    run.goal = Goal(Observed(views, {}), adopted.target, steps, judge)
    return run.goal


def describe(steps: Plan) -> str:
    """Say a plan in a few words, as in "5 MEETs around a, 3 replicas"."""
    hubs = {step.node for step in steps.meets}
    around = f" around {next(iter(hubs))}" if len(hubs) == 1 else ""
    count = len(steps.meets)
    return f"{count} MEET{'' if count == 1 else 's'}{around}"


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
        f"not {'a full mesh' if run.mesh_only else 'Ready'} within {run.timeout:g} s.",
        hint="run the same command again: it goes on from here; --timeout gives it longer",
        exit=Exit.NOT_READY,
    )
    if run.verdict is None:
        return OutOfTime(head, *run.away.values())
    met = [(done.step.node, done.step.peer) for done in run.actor.done if isinstance(done.step, Meet)]
    left = run.start + run.timeout + GRACE - asyncio.get_running_loop().time()
    seconds = max(0.2, min(1.0, left))
    reasons = await why(run.fleet, run.topology, run.views, run.verdict, met, seconds=seconds, fresh=False)
    return OutOfTime(head, *dict.fromkeys((*run.actor.failures.values(), *reasons)))


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
        boost=run.lent,
        seconds=asyncio.get_running_loop().time() - run.start,
        dry_run=run.dry_run,
        mesh_only=run.mesh_only,
        warnings=tuple(run.warned),
    )
