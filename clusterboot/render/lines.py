"""A run as plain lines, for logs and for terminals that cannot move their cursor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clusterboot.core.events import Event, Note, Phase, Planned, Warned
from clusterboot.render import problems, words
from clusterboot.render.page import Page
from clusterboot.render.run_state import Clock, RunReporter

if TYPE_CHECKING:
    from rich.console import Console

    from clusterboot.errors import Problem

INTERVAL = 5.0  # seconds between two lines about a phase that takes long

# What a closed pipe or stream raises; rich turns a broken pipe into SystemExit, which must not end a run
# that still has timers to restore.
GONE = (OSError, ValueError, SystemExit)


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
            self._line(self.title())
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
        """Begin a phase: the one before is summed up, the title of this one follows."""

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
        write(page)


def warn(console: Console, problem: Problem) -> None:
    """Print a warning; a stream that is gone does not end the run."""
    page = Page(console)
    problems.add(page, [problem], problems.WARNING)
    write(page)


def write(page: Page) -> None:
    """Print a page; a stream that is gone does not end the run."""
    try:
        page.print()
    except GONE:
        return
