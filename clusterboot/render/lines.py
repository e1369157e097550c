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

# How often a phase that takes long tells how far it is.
TELL = 5.0

# What a closed pipe or stream raises; rich turns a broken pipe into SystemExit, which must not end a run
# that still has something to give back.
GONE = (OSError, ValueError, SystemExit)


class Lines:
    """Plain lines for logs: one for each phase, one for what it brought, and now and then how far it is."""

    def __init__(self, console: Console, clock: Clock) -> None:
        self.warned: list[Problem] = []
        self._console = console
        self._clock = clock
        self._progress = Progress(clock())
        self._told = ""
        self._at = clock()
        self._notes: set[str] = set()

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *exc: object) -> None:
        self._tell(self._clock())

    def __call__(self, event: Event, /) -> None:
        """Take one event."""
        now = self._clock()
        progress = self._progress
        if isinstance(event, Warned):
            self.warned.append(event.problem)
            warn(self._console, event.problem)
        elif isinstance(event, Phase):
            new = progress.phase is None or progress.phase.name != event.name
            if new:
                self._tell(now)
            progress.take(event, now)
            if new:
                self._told = ""
                self._line(now, progress.title())
        else:
            progress.take(event, now)
            if isinstance(event, Planned):
                missing = words.steps(event.plan.steps)
                self._line(now, f"plan: {missing}" if missing else "plan: nothing is missing")
            elif isinstance(event, Note):
                text = note(event)
                # A run says the same in every round; a log needs it once.
                if text not in self._notes:
                    self._notes.add(text)
                    self._line(now, f"  {text}")
            elif now - self._at >= TELL:
                self._tell(now)

    def end_phase(self) -> None:
        """Tell what the phase has come to, where it has not been told."""
        self._tell(self._clock())

    def _tell(self, now: float) -> None:
        summary = self._progress.summary()
        if summary and summary != self._told:
            self._told = summary
            self._line(now, f"  {summary}")

    def _line(self, now: float, text: str) -> None:
        self._at = now
        page = Page(self._console)
        page.paragraph(f"{words.seconds(now - self._progress.started):>8}  {text}", hang=12)
        write(page)


def note(found: Note) -> str:
    """Return a note as one safe line that names its node."""
    text = clean(found.text, 400)
    if found.node is None or clean(found.node) in text:
        return text
    return f"{clean(found.node)}: {text}"


def warn(console: Console, problem: Problem) -> None:
    """Print a warning at once; a stream that is gone is no reason to end a run."""
    try:
        problems.warnings(console, [problem])
    except GONE:
        return


def write(page: Page) -> None:
    """Print a page; a stream that is gone is no reason to end a run."""
    try:
        page.print()
    except GONE:
        return
