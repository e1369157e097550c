"""Text for one console, laid out by rich: paragraphs and tables, safe to show, without markup.

On a terminal paragraphs wrap and tables fit the width; elsewhere lines are not wrapped, so that logs can be
searched. A stream that is not UTF-8 gets ASCII in place of the drawn characters.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, cast

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment, Segments
from rich.text import Text

from clusterboot.render import workflow
from clusterboot.render.safe import spell

Part = str | tuple[str, str]  # a text, or a text and its style

GOOD, BAD, WARN, DIM, HEAD = "green", "bold red", "yellow", "dim", "bold"

OPTIONAL = 10  # columns of this rank and above go before any other column shrinks
_UNBOUNDED = 10**9
_ASCII = str.maketrans(dict(zip("→▶─├└●○✗✓·–×’…", ">>-+`*oxv.-x'~", strict=True)))


def console(*, stderr: bool = False, no_color: bool = False) -> Console:
    """Return a console for stdout or stderr.

    With `no_color` or NO_COLOR (https://no-color.org) not even bold is written: words say what colours say.
    """
    plain = no_color or bool(os.environ.get("NO_COLOR"))
    stream = sys.stderr if stderr else sys.stdout
    return Console(
        # Without a file rich takes the stream anew at each print.
        file=cast("IO[str]", workflow.Defused(stream)) if workflow.active() else None,
        stderr=stderr,
        color_system=None if plain else "auto",
        markup=False,
        emoji=False,
        highlight=False,
    )


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. With `least` it may shrink to that width; then its cells lose their middle.

    Where the table does not fit, columns with a `rank` are left out, the highest first.
    """

    title: str
    cells: Sequence[Part | Text]
    rank: int = 0
    right: bool = False
    least: int | None = None


class Page:
    """Collects what is to be shown on one console; a rich renderable."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.parts: list[RenderableType] = []
        self.drawn: list[list[Segment]] = []  # the lines, as they were last rendered
        self._ascii = console.options.ascii_only

    def line(self, *parts: Part, hang: int | None = 2) -> None:
        """Add a paragraph whose later lines are indented by `hang`; with None it is one line at any width."""
        self.parts.append(_Paragraph(self.text(*parts), hang))

    def table(self, *columns: Column, indent: int = 2) -> None:
        """Add a table; columns without a single text are left out."""
        titled = any(column.title for column in columns)
        shown = []
        for column in columns:
            cells = [self.text(cell) if isinstance(cell, str | tuple) else cell for cell in column.cells]
            if any(cells):
                cells = [self.text((column.title, DIM)), *cells] if titled else cells
                shown.append((column, cells, max(cell.cell_len for cell in cells)))
        if shown:
            self.parts.append(_Table(shown, indent))

    def text(self, *parts: Part) -> Text:
        """Return text that is safe for the console."""
        text = Text(overflow="ignore")
        for part in parts:
            shown, how = (part, "") if isinstance(part, str) else part
            # Callers clean and cut what comes from outside; this is for what they forgot.
            shown = spell(shown)
            if self._ascii:
                encoding = self.console.encoding
                shown = shown.replace("…", "...").translate(_ASCII)
                shown = shown.encode(encoding, "backslashreplace").decode(encoding)
            text.append(shown, how or None)
        return text

    def print(self, *, repeat: bool = False) -> None:
        """Write everything at once; with `repeat` also the first line at the end, if it scrolls away."""
        console = self.console
        lines = self._lines(console.options, self.parts)
        if repeat and console.is_terminal and len(lines) >= console.height:
            lines += [[], *self._lines(console.options, self.parts[:1])]
        if lines:
            console.print(Segments(_trimmed(lines)), crop=False)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        self.drawn = self._lines(options, self.parts)
        yield from _trimmed(self.drawn)

    def _lines(self, options: ConsoleOptions, parts: Sequence[RenderableType]) -> list[list[Segment]]:
        if not self.console.is_terminal:
            options = options.update(width=_UNBOUNDED)
        lines = list(Segment.split_lines(self.console.render(Group(*parts), options)))
        if self._ascii:  # the ellipsis is rich's
            lines = [[Segment(text.translate(_ASCII), style) for text, style, _ in line] for line in lines]
        return lines


def _trimmed(lines: list[list[Segment]]) -> Iterator[Segment]:
    """Return lines without the spaces that fill the last column: a narrower window would wrap them."""
    for line in lines:
        while line and not line[-1].text.rstrip(" "):
            line.pop()
        if line:
            line[-1] = Segment(line[-1].text.rstrip(" "), line[-1].style)
        yield from line
        yield Segment.line()


@dataclass(frozen=True, slots=True)
class _Paragraph:
    text: Text
    hang: int | None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.hang is None or self.text.cell_len <= options.max_width:
            yield Text("", overflow="ignore", no_wrap=True).append_text(self.text)
            return
        first = self.text.wrap(console, options.max_width)[0]
        skip = len(self.text) - len(self.text.plain[len(first) :].lstrip(" "))
        lines = [first, *self.text[skip:].wrap(console, max(8, options.max_width - self.hang))]
        yield Text("\n" + " " * self.hang, overflow="ignore", no_wrap=True).join(lines)


@dataclass(frozen=True, slots=True)
class _Table:
    """A table whose columns are one text each, a line to a cell: much faster than a text per cell."""

    columns: list[tuple[Column, list[Text], int]]  # with the width of the widest cell
    indent: int

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.padding import Padding
        from rich.table import Table

        shown = list(self.columns)

        def needed(*, shrunk: bool) -> int:
            widths = [min(width, column.least or width) if shrunk else width for column, _, width in shown]
            return sum(widths) + 2 * (len(widths) - 1) + self.indent

        for each in sorted(self.columns, key=lambda each: -each[0].rank):
            rank = each[0].rank
            if rank and len(shown) > 1 and needed(shrunk=rank < OPTIONAL) > options.max_width:
                shown.remove(each)
        widths = [width for _, _, width in shown]
        least = [min(width, column.least or width) for column, _, width in shown]
        for _ in range(needed(shrunk=False) - options.max_width):
            # The widest column that may shrink gets narrower.
            place = max(
                range(len(widths)), key=lambda place: widths[place] if widths[place] > least[place] else 0
            )
            widths[place] = max(least[place], widths[place] - 1)
        table = Table(box=None, show_header=False, padding=(0, 0, 0, 2))
        for (column, _, _), width in zip(shown, widths, strict=True):
            table.add_column(justify="right" if column.right else "left", width=width)
        lines = Text("\n", no_wrap=True, overflow="ellipsis")
        table.add_row(
            *(
                lines.join(_without_middle(cell, width) for cell in cells)
                for (_, cells, _), width in zip(shown, widths, strict=True)
            )
        )
        yield Padding.indent(table, self.indent - 2) if self.indent > 2 else table


def _without_middle(text: Text, width: int) -> Text:
    """Return text that fits: names of nodes differ near their start (a host) or at their end (a number)."""
    if text.cell_len <= width:
        return text
    tail = (width - 1) // 3
    return text[: width - 1 - tail].append("…").append_text(text[len(text) - tail :])
