"""A run as plain lines, for logs and for terminals that cannot move their cursor."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from clusterboot.core.events import Event, Note, Phase, Planned, Warned
from clusterboot.render import problems, words
from clusterboot.render.page import Page
from clusterboot.render.run_state import Progress
from clusterboot.render.safe import clean

if TYPE_CHECKING:
    from rich.console import Console

    from clusterboot.errors import Problem

Clock = Callable[[], float]

INTERVAL = 5.0  # seconds between two lines about a phase that takes long

# What a closed pipe or stream raises; rich turns a broken pipe into SystemExit, which must not end a run
# that still has timers to restore.
GONE = (OSError, ValueError, SystemExit)


class Lines:
    """Plain lines for logs: one for each phase, one for its outcome, one every `INTERVAL`."""

    def __init__(self, console: Console, clock: Clock) -> None:
        self.warned: list[Problem] = []
        self.progress = Progress(clock())
        self._console = console
        self._clock = clock
        self._last_summary = ""
        self._written_at = clock()
        self._notes: set[str] = set()

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *exc: object) -> None:
        self._summarise(self._clock())

    def __call__(self, event: Event, /) -> None:
        """Take one event."""
        now = self._clock()
        progress = self.progress
        if isinstance(event, Warned):
            self.warned.append(event.problem)
            self.warn(event.problem)
        elif isinstance(event, Phase):
            new = progress.phase is None or progress.phase.name != event.name
            if new:
                self._summarise(now)
                self._last_summary = ""
            progress.take(event, now)
            if new:
                self.begin()
                self._line(now, progress.title())
        else:
            progress.take(event, now)
            if isinstance(event, Planned):
                self._line(now, f"plan: {words.steps(event.plan.steps) or 'nothing is missing'}")
            elif isinstance(event, Note):
                text = note(event)
                # A run notes the same in every round; a log needs it once.
                if text not in self._notes:
                    self._notes.add(text)
                    self._line(now, f"  {text}")
            elif now - self._written_at >= INTERVAL:
                self._summarise(now)

    def begin(self) -> None:
        """Begin a phase: the one before is summed up, the title of this one follows."""

    def warn(self, problem: Problem) -> None:
        """Write a warning."""
        warn(self._console, problem)

    def _summarise(self, now: float) -> None:
        summary = self.progress.summary()
        if summary and summary != self._last_summary:
            self._last_summary = summary
            self._line(now, f"  {summary}")

    def _line(self, now: float, text: str) -> None:
        self._written_at = now
        page = Page(self._console)
        page.line(f"{words.seconds(now - self.progress.started):>8}  {text}", hang=12)
        write(page)


def note(found: Note) -> str:
    """Return a note as one safe line that names its node."""
    text = clean(found.text, 400)
    if found.node is None or clean(found.node) in text:
        return text
    return f"{clean(found.node)}: {text}"


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
