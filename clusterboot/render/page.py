"""Lines of styled text, laid out for one console: paragraphs, tables, and what a stream cannot show replaced.

A piece is a text with a style; a line is a list of pieces. Markup is never interpreted. On a terminal
paragraphs wrap at its width and tables fit it; elsewhere a line is as long as it is, so that logs can be
searched line by line. A stream that is not UTF-8 gets ASCII in place of the drawn characters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clusterboot.render.safe import cut, spell

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

Piece = tuple[str, str]
Part = str | Piece

NICE = 10

# Holds two words together on one line; shown as a space. `safe.clean` lets no such character through.
GLUE = "\x1f"

GOOD, BAD, WARN, DIM, HEAD = "green", "bold red", "yellow", "dim", "bold"

# Each drawn character has one ASCII character, so that nothing shifts; only the ellipsis is longer.
_ASCII = str.maketrans(
    {
        **dict(zip("→▶─━┬├└│●○✗·–×’", ">>-=++`|*ox.-x'", strict=True)),
        "…": "...",
    }
)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. `least` is how far it may shrink.

    Where it is tight, columns with a `rank` go, the highest first: from NICE on before any other is
    shrunk, the lower ones only when nothing else helps.
    """

    title: str
    rank: int = 0
    right: bool = False
    least: int | None = None


class Page:
    """Collects lines for one console; `print` writes them all at once."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.width = console.width if console.is_terminal else None
        self._encoding = console.encoding
        self._unicode = self._encoding.replace("_", "-").startswith("utf")
        self.lines: list[list[Piece]] = []

    def line(self, *parts: Part) -> None:
        """Add one line as it is."""
        self.lines.append(list(self._pieces(parts)))

    def paragraph(self, *parts: Part, hang: int = 0) -> None:
        """Add text that wraps between words; lines after the first are indented by `hang`. No word is cut."""
        pieces = list(self._pieces(parts))
        text = "".join(piece for piece, _ in pieces)
        first = True
        for start, end in _breaks(text, self.width, hang):
            line = _slice(pieces, start, end)
            self.lines.append(line if first else [(" " * hang, ""), *line])
            first = False

    def table(self, columns: Sequence[Column], rows: Iterable[Sequence[Part]], indent: int = 2) -> None:
        """Add a table that fits the console: columns go by rank, cells lose their middle."""
        cells = [[next(self._pieces([part])) for part in row] for row in rows]
        titles = [next(self._pieces([(column.title, DIM)])) for column in columns]
        grid = [titles, *cells] if any(title for title, _ in titles) else cells
        widths = [max((cells_of(row[index][0]) for row in grid), default=0) for index in range(len(columns))]
        kept = [index for index, width in enumerate(widths) if any(row[index][0] for row in cells) and width]
        if self.width is not None:
            kept, widths = _fit(columns, kept, widths, self.width - indent)
        for row in grid:
            line: list[Piece] = [(" " * indent, "")] if indent else []
            for position, index in enumerate(kept):
                text, style = row[index]
                text = self.fit(text, widths[index])
                space = " " * (widths[index] - cells_of(text))
                last = position == len(kept) - 1
                if columns[index].right:
                    line += [(space, ""), (text, style)]
                else:
                    line += [(text, style), *([] if last else [(space, "")])]
                if not last:
                    line.append(("  ", ""))
            self.lines.append(_trim(line))

    def fit(self, text: str, width: int, *, tail: bool = False) -> str:
        """Return `text` without its middle where it takes more than `width` columns, or only its `tail`."""
        if cells_of(text) <= width:
            return text
        # A stream without the character for an ellipsis shows three dots.
        dots = "…" if self._unicode else "..."
        room = max(1, width - len(dots) + 1)
        if not tail:
            return _shorten(text, room).replace("…", dots)
        while cells_of(text) >= room and text:
            text = text[1:]
        return f"{dots}{text}"

    def text(self) -> Text:
        """Return everything as one rich text."""
        from rich.text import Text

        text = Text(no_wrap=True, overflow="crop", end="")
        for number, line in enumerate(self.lines):
            if number:
                text.append("\n")
            for piece, style in line:
                text.append(piece.replace(GLUE, " "), style or None)
        return text

    def print(self) -> None:
        """Write the lines and forget them."""
        if self.lines:
            self.console.print(self.text(), soft_wrap=True, end="\n")
            self.lines = []

    def _pieces(self, parts: Iterable[Part]) -> Iterator[Piece]:
        for part in parts:
            text, style = (part, "") if isinstance(part, str) else part
            # Callers clean and cut what comes from outside; here nothing that they forgot gets past.
            text = spell(text, keep=GLUE)
            if not self._unicode and not text.isascii():
                text = (
                    text.translate(_ASCII).encode(self._encoding, "backslashreplace").decode(self._encoding)
                )
            yield text, style


def cells_of(text: str) -> int:
    """Return how many columns of a terminal `text` takes; wide characters take two."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _shorten(text: str, width: int) -> str:
    size = len(text)
    while cells_of(text) > width and size > 1:
        size -= max(1, (cells_of(text) - width) // 2)
        text = cut(text, max(1, size))
    return text


def _fit(
    columns: Sequence[Column], kept: list[int], widths: list[int], room: int
) -> tuple[list[int], list[int]]:
    """Drop columns by rank and shrink those that may shrink until `room` is enough, or nothing helps."""
    least = [columns[index].least or width for index, width in enumerate(widths)]

    def total(sizes: Sequence[int]) -> int:
        return sum(sizes[index] for index in kept) + 2 * (len(kept) - 1)

    for index in sorted(kept, key=lambda index: -columns[index].rank):
        rank = columns[index].rank
        if total(widths if rank >= NICE else [min(pair) for pair in zip(widths, least, strict=True)]) <= room:
            continue
        if rank:
            kept = [other for other in kept if other != index]
    widths = list(widths)
    while total(widths) > room:
        # The widest gives way first, so that two long columns end up equally long.
        able = [index for index in kept if widths[index] > least[index]]
        if not able:
            break
        widths[max(able, key=lambda index: widths[index])] -= 1
    return kept, widths


def _breaks(text: str, width: int | None, hang: int) -> Iterator[tuple[int, int]]:
    """Return start and end of each line of `text`; spaces at a break belong to neither side."""
    if width is None or cells_of(text) <= width:
        yield 0, len(text)
        return
    room = width
    start = len(text) - len(text.lstrip(" "))
    line, position = 0, start
    fits: int | None = None
    while position <= len(text):
        space = text.find(" ", position)
        end = len(text) if space < 0 else space
        if cells_of(text[line:end]) > room and fits is not None:
            yield line, fits
            line = fits + len(text[fits:]) - len(text[fits:].lstrip(" "))
            room, fits = max(width - hang, 8), None
            continue
        fits = end
        position = end + 1
    yield line, len(text)


def _slice(pieces: Sequence[Piece], start: int, end: int) -> list[Piece]:
    found: list[Piece] = []
    at = 0
    for text, style in pieces:
        part = text[max(0, start - at) : max(0, end - at)]
        if part:
            found.append((part, style))
        at += len(text)
    return found


def _trim(line: list[Piece]) -> list[Piece]:
    while line and not line[-1][0].rstrip(" "):
        line.pop()
    if line:
        line[-1] = (line[-1][0].rstrip(" "), line[-1][1])
    return line
