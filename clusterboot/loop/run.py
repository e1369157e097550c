"""One run of `up`: what was asked, how far it got, and how a look at all nodes becomes the next goal."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from clusterboot.core import preflight
from clusterboot.core.adopt import RECHECK_SECONDS, Adopted, adopt, needs_recheck
from clusterboot.core.borrowed import set_by_users
from clusterboot.core.events import Done, Event, Looked, Moved, Note, Planned, Reporter, Warned
from clusterboot.core.extra_meets import one_sided_meets
from clusterboot.core.health import Judge
from clusterboot.core.placement import Placement
from clusterboot.core.plan import Plan, plan
from clusterboot.core.results import BoostReport, MoveReport, Transfer
from clusterboot.core.steps import Step
from clusterboot.core.verdict import Verdict
from clusterboot.core.views import Seen, Views
from clusterboot.diagnosis.bus import BusView
from clusterboot.errors import NodeFailed, Problem, from_problems
from clusterboot.loop.act import Actor
from clusterboot.loop.boost import Helper
from clusterboot.loop.meets import SentMeets
from clusterboot.loop.members import Members, find_members
from clusterboot.loop.observe import Asker, Observed, now, survey
from clusterboot.topology import Topology

# Seconds after the deadline in which the first look names the nodes that did not answer.
LATE_SECONDS = 0.4
# Seconds for the first look if starting clusterboot took all the time.
_MIN_SECONDS = 0.1
# The pause before a node that is away is asked again, in seconds.
_RETRY_SECONDS = 0.2


@dataclass(frozen=True)
class Request:
    """What a run of `up` is asked to do.

    It may take `timeout` seconds, of which `spent` are over (for starting servers); unless it is `bounded`,
    that is the limit on time without progress only. Without a `helper` the next run restores what a killed
    one leaves lowered. `warnings` are reported first.
    """

    topology: Topology
    fleet: Asker
    report: Reporter
    timeout: float
    bounded: bool = True
    helper: Helper | None = None
    spent: float = 0.0
    mesh_only: bool = False
    boost: bool = True
    dry_run: bool = False
    rebalance: bool = False
    warnings: tuple[Problem, ...] = ()


class Run:
    """How far a run has got: `views`, `away` and `verdict` are of the last look, `goal` of the last plan."""

    def __init__(self, asked: Request) -> None:
        """Start the clock of the run."""
        self.asked = asked
        self.own = asked.topology  # later with the announced host names resolved
        self.topology = asked.topology  # `own` with the members that are to leave
        self.names = tuple(node.name for node in asked.topology.nodes)
        self.members = Members(asked.topology, {})
        self.mesh_only = asked.mesh_only or asked.topology.slots == "none"
        self.fleet = asked.fleet
        self.limit: asyncio.Timeout | None = None
        self._received = 0
        self.start = now() - asked.spent
        # Never over before the first look: the limits of the connections have to end first.
        self.deadline = max(self.start + asked.timeout, now() + _MIN_SECONDS)
        self.actor = Actor(self.fleet, self.report)
        self.meets = SentMeets()
        self.seen: Seen = {}
        self.views: Views = {}
        self.away: Mapping[str, Problem] = {}
        self.verdict: Verdict | None = None
        self.goal: Goal | None = None
        self.confirmed: frozenset[Problem] = frozenset()  # refusals that a second look has found too
        self.boost_report: BoostReport | None = None
        self.moved = MoveReport()
        self.transfers: tuple[Transfer, ...] = ()
        self.retired: tuple[str, ...] = ()
        self.beside = False  # another --rebalance is at work: what it holds is not ours to restore
        self.unfinished: Problem | None = None  # while a stage is being taken
        self.warned: dict[Problem, None] = {}
        self.warn(asked.warnings)

    def report(self, event: Event) -> None:
        """Report an event to the user; if something was done, or data has come, an unbounded run goes on."""
        received = sum(view.sync_bytes for view in self.views.values())
        if isinstance(event, Done | Moved) or received != self._received:
            self._received = received
            self.progress()
        self.asked.report(event)

    def progress(self) -> None:
        """Give an unbounded run its whole time again."""
        if not self.asked.bounded:
            self.deadline = max(self.deadline, now() + self.asked.timeout)
            if self.limit is not None and not self.limit.expired():
                self.limit.reschedule(self.deadline)

    def take(self, members: Members) -> Views:
        """Go on with these members; returns their views."""
        self.members, self.topology = members, members.topology
        self.names = tuple(node.name for node in members.topology.nodes)
        return members.views

    def warn(self, problems: Iterable[Problem]) -> None:
        """Report each warning once, however often it is found."""
        for problem in problems:
            if problem not in self.warned:
                self.warned[problem] = None
                self.report(Warned(problem))


@dataclass(frozen=True, slots=True)
class Goal:
    """What one full look leads to: its views, the target around them, the plan to get there.

    `stages` are the steps that `--rebalance` takes then, stage by stage.
    """

    views: Views
    target: Placement
    plan: Plan
    judge: Judge
    stages: tuple[tuple[Step, ...], ...] = ()

    @property
    def everything(self) -> Plan:
        """The whole plan, with the steps of all stages."""
        later = (step for stage in self.stages for step in stage)
        return Plan((*self.plan.steps, *later), self.plan.groups)


async def first_look(run: Run) -> Views:
    """Look at every node, and wait until none is loading its data.

    Raises NodeFailed with every node that cannot be used; TimeoutError if one still loads at the deadline.
    """
    # Later than the limits of connections and answers, whose errors say more about a node.
    until = run.deadline + LATE_SECONDS
    run.own = run.topology
    observed = _usable(run, await survey(run.fleet, run.names, run.seen, until=until))
    if observed.away:
        run.report(Note(f"waiting for {', '.join(observed.away)}: loading data"))
        async with asyncio.timeout_at(run.deadline):
            while observed.away:
                await asyncio.sleep(_RETRY_SECONDS)
                observed = _usable(run, await survey(run.fleet, run.names, run.seen))
    members = await find_members(run.fleet, run.own, observed.views, run.seen, until=until)
    return await _recheck(run, run.take(members))


def _usable(run: Run, observed: Observed) -> Observed:
    """Keep a look in `run` and return it; raises NodeFailed unless all nodes that are away are loading."""
    run.away, run.views = observed.away, observed.views
    if any(problem.code != "loading" for problem in observed.away.values()):
        raise NodeFailed(*observed.away.values())
    return observed


async def _recheck(run: Run, views: Views) -> Views:
    """Look once more if something would be refused that may be transient; note what is found again."""
    doubtful = needs_recheck(_adopt(run, views).refusals)
    if not doubtful:
        return views
    await asyncio.sleep(RECHECK_SECONDS)
    again = await survey(run.fleet, run.names, run.seen, until=run.deadline)
    if again.away:
        return views
    run.confirmed = doubtful & needs_recheck(_adopt(run, again.views).refusals)
    return again.views


def _adopt(run: Run, views: Views) -> Adopted:
    return adopt(run.topology, views, run.members.leaving.leavers, rebalance=run.asked.rebalance)


async def full_look(run: Run, goal: Goal) -> Views:
    """Look until all nodes answer in one look, so wait for those that restart; the caller bounds it."""
    while True:
        names = [node.name for node in run.own.nodes]
        observed = await survey(run.fleet, names, run.seen)
        if not observed.away:
            silent = run.members.silent
            members = await find_members(run.fleet, run.own, observed.views, run.seen, silent=silent)
            # A member that has just stopped answering is waited for, like the others.
            if not members.silent - silent:
                return run.take(members)
        # The last views of nodes that are away are kept: without them the others would seem incomplete.
        run.views = {**run.views, **observed.views}
        run.verdict = goal.judge.verdict(observed.views, observed.away)
        run.report(Looked(run.verdict, tuple(observed.away)))
        await asyncio.sleep(_RETRY_SECONDS)


def assess(run: Run, views: Views, *, stuck: bool = False) -> Goal:
    """Compare a full look with the topology; returns the target and the plan, which `run` keeps too.

    `stuck`: nothing has changed for so long that gossip alone will not help. Raises everything that forbids
    going on.
    """
    first = run.goal is None
    if first:
        run.warn(set_by_users(views))
    adopted = _adopt(run, views)
    leaving = run.members.leaving
    problems = preflight.refusals(run.topology, views, run.topology.gone)
    problems += tuple(each for each in leaving.refusals if run.asked.rebalance or each.code == "slots-lost")
    # A server that is listed twice looks like two clusters too; only the cause is reported.
    if not any(problem.code in ("same-server", "same-id") for problem in problems):
        problems += tuple(
            each for each in adopted.refusals if each in run.confirmed or not needs_recheck([each])
        )
        if not run.mesh_only:
            problems += preflight.no_way_in(adopted.target, views)
    if run.goal is not None:
        problems = preflight.during_run(run.goal.judge.ids, views, problems, acted=bool(run.actor.done))
    if problems:
        raise from_problems(problems)
    open_slots = "slots-open" if run.asked.rebalance and not run.asked.dry_run else ""
    found = (each for each in preflight.warnings(views) if each.code != open_slots)
    run.warn((*run.topology.warnings, *found, *adopted.target.warnings))
    if not run.asked.rebalance:
        run.warn(leaving.pending())
    steps = plan(run.topology, adopted.target, views)
    if run.mesh_only:
        steps = Plan(steps.meets, steps.groups)
    if stuck and steps.groups == 1:
        # All nodes are connected, so the minimal plan has no MEET for nodes of which one knows the other.
        unlisted = BusView(run.topology, views).unlisted()
        steps = Plan((*steps.steps, *one_sided_meets(run.topology, views, unlisted)), steps.groups)
    if unmeetable := preflight.out_of_reach(run.topology, steps.meets, views):
        raise from_problems(unmeetable)
    if first or steps.steps:
        later = (step for stage in adopted.stages for step in stage) if first else ()
        run.report(Planned(adopted.target, Plan((*steps.steps, *later), steps.groups)))
    ids = {name: view.id for name, view in views.items()}
    judge = Judge(adopted.target, ids, mesh_only=run.mesh_only, gone=run.topology.gone)
    run.views = views
    run.verdict = judge.verdict(views)
    run.goal = Goal(views, adopted.target, steps, judge, adopted.stages)
    return run.goal
