"""A run while it works: a small screen on a terminal, plain lines elsewhere, nothing when quiet.

A thread of rich redraws the screen, so the clock goes on while a node is silent; events only change what the
next frame shows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Self

from rich.console import Console

from clusterboot.core.events import Event, Warned
from clusterboot.core.results import StatusResult
from clusterboot.errors import ClusterbootError
from clusterboot.render import words
from clusterboot.render.page import BAD, DIM, GOOD, HEAD, OPTIONAL, WARN, Column, Page, Part
from clusterboot.render.reporter import GONE, Clock, Lines, RunReporter, warn
from clusterboot.render.safe import clean
from clusterboot.render.text import add_status

if TYPE_CHECKING:
    from rich.live import Live

FRAMES = 10  # per second
MAX_ROWS = 16  # nodes with a line each; of more nodes only those that are not ready are named
_MAX_NAMES = 5
_STYLES = {"ready": GOOD, "away": BAD}


def reporter(console: Console, *, quiet: bool = False, clock: Clock = time.monotonic) -> RunReporter:
    """Return the reporter that fits `console`, the one for stderr."""
    if quiet:
        return RunReporter(clock)
    return Screen(console, clock) if drawable(console) else Lines(console, clock)


def drawable(console: Console) -> bool:
    """Whether the console is a real terminal that can move its cursor; FORCE_COLOR does not make one."""
    return console.is_interactive and console.file.isatty()


class Screen(RunReporter):
    """A few lines that are redrawn in place; when the run ends, one line with the times is left."""

    def __init__(self, console: Console, clock: Clock) -> None:
        super().__init__(clock)
        self.live: Live | None = None
        self._console = console
        self._over = False

    def __enter__(self) -> Self:
        with suppress(*GONE):
            self.live = _start(self._console, self._frames(), transient=True)
        return self

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        self._over = True
        with suppress(*GONE):
            if self.live is not None:
                self.live.stop()
            page = Page(self._console)
            if spent := self.spent():
                page.line((spent, DIM), hang=0)
            # A run that failed tells it with its result; one that was interrupted has none.
            moved = self.speed.last
            if any(exc) and not isinstance(exc[1], ClusterbootError) and moved is not None:
                page.line(f"{moved.slots:,} of {moved.all_slots:,} slots moved")
            page.print()

    def __call__(self, event: Event, /) -> None:
        """Take one event."""
        super().__call__(event)
        if isinstance(event, Warned):
            warn(self._console, event.problem)

    def _frames(self) -> Callable[[], Page]:
        """Return what draws the screen as it is to be now; called by the thread of rich."""
        from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn
        from rich.progress import Progress as Bars
        from rich.table import Column as Wrapped

        console = self._console
        spinner = SpinnerColumn("line" if console.options.ascii_only else "dots")
        text = TextColumn("{task.description}", HEAD, markup=False, table_column=Wrapped())
        elapsed = TextColumn(" {task.elapsed:.1f} s", DIM)
        title = Bars(spinner, text, elapsed, console=console, get_time=self.clock)
        phase = title.add_task("", total=None)
        label, share = TextColumn("  {task.description}"), MofNCompleteColumn(" of ")
        bars = Bars(label, BarColumn(), share, console=console, get_time=self.clock)
        links, nodes = bars.add_task("links"), bars.add_task("nodes")
        moved = TextColumn("{task.completed:,} of {task.total:,}")
        moves = Bars(label, BarColumn(), moved, console=console, get_time=self.clock)
        slots = moves.add_task("slots")

        def draw() -> Page:
            page = Page(console)
            if self._over:
                page.line()  # one empty line, which rich clears: nothing can scroll away
                return page
            title.update(phase, description=page.text(self.title()).plain)
            page.parts.append(title)
            verdict, last = self.verdict, self.speed.last
            if last is not None:
                moves.update(slots, completed=last.slots, total=last.all_slots)
                page.parts.append(moves)
                page.line(f"  {', '.join(self.speed.details())}", hang=2)
            elif verdict is not None:
                bars.update(links, completed=verdict.links, total=verdict.total)
                bars.update(nodes, completed=self.most_ready, total=self.size)
                page.parts.append(bars)
            _add_nodes(page, self)
            if self.phase is not None and self.phase.name == "retire" and (done := self.summary()):
                page.line((f"  {done}", DIM), hang=4)
            if self.note:
                page.line((f"  {self.note}", DIM), hang=4)
            return page

        return draw


def _add_nodes(page: Page, run: RunReporter) -> None:
    """Add a line for each node, or where there is no room the names of those that are not ready."""
    target, verdict = run.target, run.verdict
    if target is None or verdict is None:
        if run.away:
            page.line((f"  not answering: {words.names(run.away, _MAX_NAMES)}", WARN), hang=4)
        return
    healths = {name: None if name in run.away else verdict.nodes.get(name) for name in target.spots}
    states = {name: words.state(health) for name, health in healths.items()}
    # While slots move, only nodes that are not ready are of interest.
    if run.speed.last is None and len(states) <= min(MAX_ROWS, page.console.height - 8):
        others = len(states) - 1
        sees = [
            f"sees {others - len(set(health.unseen) - {name})}/{others}" if health else ""
            for name, health in healths.items()
        ]
        shown: list[Part] = [(state, _STYLES.get(state, WARN)) for state in states.values()]
        page.line()
        page.table(
            Column("", [clean(name) for name in states], least=16),
            Column("", [spot.role for spot in target.spots.values()], OPTIONAL),
            Column("", sees, 1),
            Column("", shown),
        )
        return
    for state in dict.fromkeys(states.values()):
        if state != "ready":
            names = [name for name, its_state in states.items() if its_state == state]
            page.line((f"  {state}: ", _STYLES.get(state, WARN)), words.names(names, _MAX_NAMES), hang=4)


@contextmanager
def watch(
    console: Console, interval: float, clock: Clock = time.monotonic
) -> Iterator[Callable[[StatusResult], None]]:
    """Yield a function that shows a status: redrawn in place on a terminal, elsewhere printed on change.

    The screen also shows `interval`, the seconds between two looks, and the time since the last one.
    """
    shown, last = Page(console), ""
    looked = clock()

    def draw() -> Page:
        page = Page(console)
        since = words.duration(int(clock() - looked))
        look = f"last look {since} ago" if shown.parts else f"first look for {since}"
        page.line((f"every {words.duration(interval)}, {look}", DIM))
        page.parts += shown.parts
        return page

    def show(result: StatusResult) -> None:
        nonlocal shown, last, looked
        page = Page(console)
        add_status(page, result)
        shown, looked = page, clock()  # whole: a frame may be drawn at any time
        if live is None:
            with console.capture() as capture:
                shown.print()
            if capture.get() != last:
                if last:
                    console.print()
                shown.print()
            last = capture.get()

    live = _start(console, draw, transient=False) if drawable(console) else None
    try:
        yield show
    finally:
        if live is not None:
            live.stop()


def _start(console: Console, draw: Callable[[], Page], *, transient: bool) -> Live:
    """Start a live screen that redraws itself; it stops redrawing when its stream is gone."""
    from rich.control import Control
    from rich.live import Live
    from rich.segment import ControlType

    page = Page(console)
    width = console.width

    def frame() -> Page:
        nonlocal page
        page = draw()
        return page

    class Display(Live):
        def refresh(self) -> None:
            nonlocal width
            before, width = width, console.width
            try:
                if width < before:
                    # A narrower window wraps what was drawn: rich does not know of these rows.
                    cells = [sum(segment.cell_length for segment in line) for line in page.drawn]
                    wrapped = sum(max(0, min(each, before) - 1) // width for each in cells)
                    up = ((ControlType.CURSOR_UP, 1), (ControlType.ERASE_IN_LINE, 2))
                    console.control(Control((ControlType.ERASE_IN_LINE, 2), *up * wrapped))
                super().refresh()
            except GONE:
                return

    live = Display(
        console=console,
        get_renderable=frame,
        refresh_per_second=FRAMES,
        transient=transient,
        redirect_stdout=False,
        redirect_stderr=False,
        vertical_overflow="crop",
    )
    live.start(refresh=True)
    return live
