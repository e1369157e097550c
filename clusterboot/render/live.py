"""Shows a run while it works: a small screen on a terminal, plain lines elsewhere, nothing when quiet.

Both are driven by the events alone. There is no thread and no timer, so that watching costs next to
nothing; a screen is drawn at most ten times a second.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from clusterboot.core.events import Event, Warned
from clusterboot.render import words
from clusterboot.render.lines import GONE, Clock, Lines, note, warn, write
from clusterboot.render.page import BAD, DIM, GOOD, HEAD, NICE, WARN, Column, Page, Part, cells_of
from clusterboot.render.run_state import Progress
from clusterboot.render.safe import clean
from clusterboot.render.text import add_status

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from clusterboot.core.results import StatusResult
    from clusterboot.errors import Problem

REDRAW = 0.1
_MOST_NODES = 16
_BAR = 40


class RunReporter(Protocol):
    """A `Reporter` that is also a context manager, which leaves a clean screen behind.

    `warned` are the problems that have been shown as warnings, so that nobody shows them twice.
    """

    warned: list[Problem]

    def __enter__(self) -> RunReporter:
        """Start."""

    def __exit__(self, *exc: object) -> None:
        """Clear the screen, however the run ended."""

    def __call__(self, event: Event, /) -> None:
        """Take one event; is quick and does not raise."""


def reporter(console: Console, *, quiet: bool = False, clock: Clock = time.monotonic) -> RunReporter:
    """Return the reporter that fits `console`, the one for stderr."""
    if quiet:
        return Quiet()
    return Screen(console, clock) if drawable(console) else Lines(console, clock)


def drawable(console: Console) -> bool:
    """Whether the console is a real terminal that can move its cursor; FORCE_COLOR does not make one."""
    return console.is_interactive and console.file.isatty()


class Quiet:
    """Shows nothing."""

    def __init__(self) -> None:
        self.warned: list[Problem] = []

    def __enter__(self) -> Quiet:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def __call__(self, event: Event, /) -> None:
        """Take one event."""


class Screen:
    """A few lines that are drawn again in place, and gone when the run ends but for one with the times."""

    def __init__(self, console: Console, clock: Clock) -> None:
        self.warned: list[Problem] = []
        self._console = console
        self._clock = clock
        self._progress = Progress(clock())
        self._live: Live | None = None
        self._drawn: float | None = None
        self._over = False

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *exc: object) -> None:
        self._over = True
        self._progress.end(self._clock())
        try:
            if self._live is not None:
                self._live.stop()
                self._live = None
        except GONE:
            return
        page = Page(self._console)
        spent = self._progress.spent()
        if spent:
            page.paragraph((spent, DIM), hang=0)
        write(page)

    def __call__(self, event: Event, /) -> None:
        """Take one event."""
        now = self._clock()
        if isinstance(event, Warned):
            self.warned.append(event.problem)
            warn(self._console, event.problem)
            return
        self._progress.take(event, now)
        if self._over or (self._drawn is not None and now - self._drawn < REDRAW):
            return
        self._drawn = now
        try:
            if self._live is None:
                self._live = _live(self._console, self._draw, transient=True)
            self._live.refresh()
        except GONE:
            self._over = True

    def _draw(self) -> Text:
        """The screen as it is to be now; empty when the run is over, so that nothing can scroll away."""
        page = Page(self._console)
        if not self._over:
            self._add(page)
        return page.text()

    def _add(self, page: Page) -> None:
        progress = self._progress
        elapsed = words.seconds(self._clock() - progress.started)
        width = self._console.width
        title = clean(progress.title() or "starting", max(10, width - len(elapsed) - 5))
        space = max(1, width - cells_of(title) - len(elapsed) - 3)
        page.line(("● ", GOOD), (title, HEAD), " " * space, (elapsed, DIM))
        verdict = progress.verdict
        if verdict is not None:
            bars = (("links", verdict.links, verdict.total), ("nodes", verdict.complete, progress.size))
            longest = max(len(f"{number} of {total}") for _, number, total in bars)
            for label, number, total in bars:
                _bar(page, label, number, total, min(_BAR, width - longest - 12))
        self._add_nodes(page)
        if progress.away:
            page.paragraph((f"  not answering: {words.names(progress.away, 5)}", WARN), hang=4)
        if progress.note is not None:
            page.paragraph((f"  {note(progress.note)}", DIM), hang=4)

    def _add_nodes(self, page: Page) -> None:
        target, verdict = self._progress.target, self._progress.verdict
        if target is None or verdict is None or len(target.spots) > _MOST_NODES:
            return
        if self._console.height < len(target.spots) + 8:
            return
        rows: list[list[Part]] = []
        for name, spot in target.spots.items():
            health = verdict.nodes.get(name)
            state = words.state(health)
            others = len(target.spots) - 1
            sees = others - len([other for other in health.unseen if other != name]) if health else 0
            style = GOOD if state == "ready" else BAD if state == "away" else WARN
            told = f"sees {sees}/{others}" if health else ""
            rows.append([clean(name), spot.role, told, (state, style)])
        page.line()
        page.table((Column("", least=8), Column("", NICE), Column("", 1), Column("")), rows)


@contextmanager
def watch(console: Console) -> Iterator[Callable[[StatusResult], None]]:
    """Give a function that shows a status again and again: in place on a terminal, else on change."""
    last = ""
    page = Page(console)
    live = _live(console, page.text, transient=False) if drawable(console) else None

    def show(result: StatusResult) -> None:
        nonlocal last
        page.lines = []
        page.width = console.width if console.is_terminal else None
        add_status(page, result)
        if live is not None:
            live.refresh()
            return
        text = page.text().plain
        if text != last:
            if last:
                page.lines.insert(0, [])
            page.print()
        last = text

    try:
        yield show
    finally:
        if live is not None:
            live.stop()


def _live(console: Console, draw: Callable[[], Text], *, transient: bool) -> Live:
    from rich.live import Live

    live = Live(
        console=console,
        get_renderable=draw,
        auto_refresh=False,
        transient=transient,
        redirect_stdout=False,
        redirect_stderr=False,
        vertical_overflow="crop",
    )
    live.start()
    return live


def _bar(page: Page, label: str, number: int, total: int, width: int) -> None:
    width = max(4, width)
    filled = width * min(number, total) // total if total > 0 else width
    page.line(f"  {label}  ", ("━" * filled, GOOD), ("─" * (width - filled), DIM), f"  {number} of {total}")
