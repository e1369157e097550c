"""One run of `up`: what it was given, where it stands, and how looking at the nodes moves it on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from clusterboot.core import preflight
from clusterboot.core.adopt import AGAIN, adopt, needs_recheck
from clusterboot.core.events import Looked, Note, Planned, Reporter, Warned
from clusterboot.core.extra_meets import one_sided_meets
from clusterboot.core.health import Judge
from clusterboot.core.placement import Placement
from clusterboot.core.plan import Meet, Plan, plan
from clusterboot.core.results import BoostReport
from clusterboot.core.timers import elections_off, marks_alone
from clusterboot.core.verdict import Verdict
from clusterboot.core.views import Seen, Views
from clusterboot.diagnosis.bus import BusView
from clusterboot.errors import NodeFailed, Problem, from_problems
from clusterboot.loop.act import Actor
from clusterboot.loop.boost import Helper
from clusterboot.loop.observe import Asker, Observed, survey
from clusterboot.topology import Topology

# Seconds after the deadline for telling who was waited for.
TELL = 0.4


@dataclass
class Run:
    """One run of `up`: what it was given, and where it stands."""

    topology: Topology
    fleet: Asker
    report: Reporter
    timeout: float
    helper: Helper | None = None
    spent: float = 0.0
    mesh_only: bool = False
    boost: bool = True
    dry_run: bool = False
    seen: Seen = field(default_factory=dict)
    away: Mapping[str, Problem] = field(default_factory=dict)
    views: Views = field(default_factory=dict)
    goal: Goal | None = None
    joining: frozenset[str] = frozenset()
    held: frozenset[Problem] = frozenset()
    hurried: dict[tuple[str, str], tuple[float, int]] = field(default_factory=dict)
    met: dict[tuple[str, str], float] = field(default_factory=dict)
    verdict: Verdict | None = None
    lent: BoostReport | None = None
    warned: dict[Problem, None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.names = tuple(node.name for node in self.topology.nodes)
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


async def first_look(run: Run) -> Observed:
    """Look at every node; wait for those that are loading; NodeFailed with all that cannot be used."""
    told = False
    clock, end = asyncio.get_running_loop().time, run.start + run.timeout
    # Later than the bounds of a single answer, which tell more of a node than that it was too late.
    until = end + TELL
    while True:
        observed = await survey(run.fleet, run.names, run.seen, until=until)
        if told and clock() >= end:
            # Cut off by the deadline: the look before has told who is loading.
            raise TimeoutError
        run.away, run.views = observed.away, observed.views
        problems = observed.away.values()
        if not problems:
            return await _surely(run, observed)
        if any(problem.code != "loading" for problem in problems):
            raise NodeFailed(*problems)
        if not told:
            told = True
            run.report(Note(f"waiting for {', '.join(observed.away)}: loading data"))
        await asyncio.sleep(0.2)
        if clock() >= end:
            raise TimeoutError


async def _surely(run: Run, observed: Observed) -> Observed:
    """Look once more where something would be refused that may only have been a moment's."""
    found = needs_recheck(adopt(run.topology, observed.views).refusals)
    if not found:
        return observed
    await asyncio.sleep(AGAIN)
    again = await survey(run.fleet, run.names, run.seen, until=run.start + run.timeout)
    if again.away:
        return observed
    run.held = found & needs_recheck(adopt(run.topology, again.views).refusals)
    return again


async def all_back(run: Run, goal: Goal) -> Observed:
    """Look at every node until all answer: one that restarts is waited for, up to the deadline."""
    while True:
        observed = await survey(run.fleet, run.names, run.seen)
        if not observed.away:
            return observed
        # Of those that are away the last view is kept: what they said before is no lack of the others.
        run.views = {**run.views, **observed.views}
        run.verdict = goal.judge.verdict(observed.views, observed.away)
        run.report(Looked(run.verdict, tuple(observed.away)))
        await asyncio.sleep(0.2)


def assess(run: Run, observed: Observed, *, stuck: bool = False) -> Goal:
    """Compare a full look with the topology: the target and the plan, or all that forbids going on.

    `stuck` tells that nothing has moved for so long that gossip alone will not do it.
    """
    views = {name: observed.views[name] for name in run.names}
    if run.goal is None:
        run.warn((*elections_off(views), *marks_alone(views)))
    adopted = adopt(run.topology, views)
    problems = preflight.refusals(run.topology, views)
    # A server that is listed twice looks like two clusters as well: only the cause is told then.
    if not any(problem.code in ("same-server", "same-id") for problem in problems):
        problems += tuple(each for each in adopted.refusals if each in run.held or not needs_recheck([each]))
        if not run.mesh_only:
            problems += preflight.no_way_in(adopted.target, views)
    if run.goal is not None:
        problems = preflight.during_run(run.goal.judge.ids, views, problems, acted=bool(run.actor.done))
    if problems:
        raise from_problems(problems)
    run.warn((*run.topology.warnings, *preflight.warnings(views), *adopted.target.warnings))
    steps = plan(run.topology, adopted.target, views)
    if run.mesh_only:
        steps = Plan(steps.meets, steps.groups)
    if stuck and steps.groups == 1:
        # Everybody is connected, so no MEET is missing for that.
        unlisted = BusView(run.topology, views).unlisted()
        steps = Plan((*steps.steps, *one_sided_meets(run.topology, views, unlisted)), steps.groups)
    if unmeetable := preflight.out_of_reach(run.topology, steps.meets, views):
        raise from_problems(unmeetable)
    if run.goal is None or steps.steps:
        run.report(Planned(adopted.target, steps))
    ids = {name: view.id for name, view in views.items()}
    judge = Judge(adopted.target, ids, mesh_only=run.mesh_only)
    run.views = views
    run.verdict = judge.verdict(views)
    run.goal = Goal(Observed(views, {}), adopted.target, steps, judge)
    return run.goal


def due(run: Run, meets: Iterable[Meet], wait: float) -> list[Meet]:
    """Return the MEETs of pairs that got none in the last `wait` seconds: a handshake may still be alive."""
    now = asyncio.get_running_loop().time()
    found = [meet for meet in meets if now - run.met.get((meet.node, meet.peer), 0.0) >= wait]
    run.met |= {(meet.node, meet.peer): now for meet in found}
    return found
