"""A run while it works: its state, folded from its events, and the plain lines of logs.

Plain lines are also for terminals that cannot move their cursor; `live` shows the same state on a screen.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Self

from rich.console import Console

from clusterboot.core.events import Done, Event, Looked, Moved, Note, Phase, PhaseName, Planned, Warned
from clusterboot.core.placement import Placement
from clusterboot.core.steps import Step
from clusterboot.core.verdict import Verdict
from clusterboot.errors import Problem
from clusterboot.render import problems, words
from clusterboot.render.page import Page
from clusterboot.render.safe import clean
from clusterboot.render.speed import Speed

Clock = Callable[[], float]

INTERVAL = 5.0  # seconds between two lines about a phase that takes long
_SHORTEST = 0.05  # seconds; less is shown as 0.0 s
_LABELS: dict[PhaseName, str] = {
    "lower": "lower timers",
    "mesh": "wait for mesh",
    "ready": "wait for Ready",
    "restore": "restore timers",
    "move": "rebalance",
}
_STAGES = frozenset({"move", "retire"})

# What a closed pipe or stream raises; rich turns a broken pipe into SystemExit, which must not end a run
# that still has timers to restore.
GONE = (OSError, ValueError, SystemExit)


class RunReporter:
    """A `Reporter` that shows nothing; the base of those that do.

    A context manager, so that a screen is left clean. `warned` are the problems shown as warnings. Times are
    seconds of `clock`. Attributes are replaced, never changed, so that another thread may read them.
    """

    def __init__(self, clock: Clock) -> None:
        self.warned: list[Problem] = []
        self.phase: Phase | None = None
        self.target: Placement | None = None
        self.verdict: Verdict | None = None
        self.most_ready = 0  # the highest number of nodes that lacked nothing
        self.away: tuple[str, ...] = ()
        self.note = ""
        self.clock = clock
        self.started = self._since = clock()
        self._spent: dict[PhaseName, float] = {}
        self._looked = False
        self.speed = Speed()
        self._steps: list[Step] = []
        self._again = self._extra = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._end_phase()

    def __call__(self, event: Event, /) -> None:
        """Take one event; is quick and does not raise. A phase that is already on only changes its detail."""
        match event:
            case Phase():
                if self.begins(event):
                    self._end_phase()
                    self._steps, self._again, self._extra, self._looked = [], 0, 0, False
                    self.note, self.speed = "", Speed()
                self.phase = event
            case Planned():
                self.target = event.target
            case Done():
                self._again += event.again
                self._extra += event.extra and not event.again
                if not (event.again or event.extra):
                    self._steps.append(event.step)
            case Looked():
                self.verdict, self.away, self._looked = event.verdict, event.away, True
                self.most_ready = max(self.most_ready, event.verdict.complete)
            case Moved():
                self.speed = self.speed.after(event)
            case Note():
                self.note = clean(event.text, 400)
            case Warned():
                self.warned.append(event.problem)

    def begins(self, event: Event) -> bool:
        """Return whether an event begins another phase; each stage of `--rebalance` is one."""
        if not isinstance(event, Phase) or self.phase is None:
            return isinstance(event, Phase)
        return event.name != self.phase.name or (event.name in _STAGES and event != self.phase)

    def _end_phase(self) -> None:
        now = self.clock()
        if self.phase is not None:
            name = self.phase.name
            self._spent[name] = self._spent.get(name, 0.0) + now - self._since
        self._since = now

    def title(self) -> str:
        """Return the phase and its detail: "meet: 5 MEETs around a"."""
        if self.phase is None:
            return "start"
        label = _LABELS.get(self.phase.name, self.phase.name)
        return f"{label}: {clean(self.phase.detail, 400)}" if self.phase.detail else label

    def summary(self) -> str:
        """Return what was done and seen in this phase; empty when nothing."""
        parts = [*self.speed.parts()]
        parts += words.all_steps(self._steps, self._again, self._extra)
        if self._looked and self.verdict is not None:
            parts.append(f"{self.verdict.links} of {self.verdict.total} links")
            parts.append(f"{self.verdict.complete} of {words.count(self.size, 'node')} ready")
        if self.away:
            parts.append(f"not answering: {words.names(self.away, 5)}")
        return ", ".join(parts)

    @property
    def size(self) -> int:
        """How many nodes there are, as far as that is known."""
        if self.target is not None:
            return len(self.target.spots)
        return len(self.verdict.nodes) + len(self.away) if self.verdict is not None else 0

    def spent(self) -> str:
        """Return the time of each phase that took any: "look 0.1s · mesh 0.4s"."""
        return " · ".join(
            f"{_LABELS.get(name, name).removeprefix('wait for ')} {words.seconds(took).replace(' ', '')}"
            for name, took in self._spent.items()
            if took >= _SHORTEST
        )


class Lines(RunReporter):
    """Plain lines for logs: one for each phase, one for its outcome, one every `INTERVAL`."""

    def __init__(self, console: Console, clock: Clock) -> None:
        super().__init__(clock)
        self._console = console
        self._last_summary = ""
        self._written_at = clock()
        self._notes: set[str] = set()

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        self._summarise()

    def __call__(self, event: Event, /) -> None:
        """Take one event."""
        begins = self.begins(event)
        if begins:
            self._summarise()
            self._last_summary = ""
        super().__call__(event)
        if begins:
            self.begin()
        elif isinstance(event, Warned):
            self.warn(event.problem)
        elif isinstance(event, Planned):
            self._line(f"plan: {words.steps(event.plan.steps) or 'nothing is missing'}")
        elif isinstance(event, Note):
            # A run notes the same in every round; a log needs it once.
            if self.note not in self._notes:
                self._notes.add(self.note)
                self._line(f"  {self.note}")
        elif not isinstance(event, Phase) and self.clock() - self._written_at >= INTERVAL:
            self._summarise()

    def begin(self) -> None:
        """Begin a phase: write its title; the summary of the one before is written."""
        self._line(self.title())

    def warn(self, problem: Problem) -> None:
        """Write a warning."""
        warn(self._console, problem)

    def _summarise(self) -> None:
        summary = self.summary()
        if summary and summary != self._last_summary:
            self._last_summary = summary
            self._line(f"  {summary}")

    def _line(self, text: str) -> None:
        self._written_at = self.clock()
        page = Page(self._console)
        page.line(f"{words.seconds(self._written_at - self.started):>8}  {text}", hang=12)
        with suppress(*GONE):
            page.print()


def warn(console: Console, problem: Problem) -> None:
    """Print a warning; a stream that is gone does not end the run."""
    with suppress(*GONE):
        problems.warnings(console, [problem])
