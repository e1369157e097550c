"""Problems as text: `error: sentence` and the next step below it, or `file:line:col: sentence`.

A file that cannot be read as a whole has no line to point at: `error: file: sentence`.

Names are never cut here: whoever reads an error has to find the node.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from clusterboot.render.page import BAD, DIM, WARN, Page, Piece
from clusterboot.render.safe import MAX_HINT, MAX_MESSAGE, clean

if TYPE_CHECKING:
    from rich.console import Console

    from clusterboot.errors import Problem

# A cluster of hundreds of nodes that lost its network has one cause and hundreds of equal errors.
_SHOWN_ALIKE = 20
_MAX_LINES = 30


def errors(console: Console, problems: Sequence[Problem]) -> None:
    """Print what ended a command; what is wrong in a file begins with `file:line:col:` instead of error."""
    _print(console, problems, ("error:", BAD))


def warnings(console: Console, problems: Sequence[Problem]) -> None:
    """Print what is only unfortunate."""
    _print(console, problems, ("warning:", WARN))


def _print(console: Console, problems: Sequence[Problem], label: Piece) -> None:
    page = Page(console)
    add(page, problems, label)
    page.print()


def add(page: Page, problems: Sequence[Problem], label: Piece) -> None:
    """Add problems to a page, each with its next step; of many alike only the first ones.

    The problems of a file are all shown. A hint that the following problems share stands once, below
    the last of them.
    """
    shown = list(_some(problems))
    for index, (problem, more) in enumerate(shown):
        lines = message(problem.message)
        head: tuple[Piece, ...] = ((label[0], label[1]), (" ", ""))
        if problem.file is not None:
            # Where first, as compilers write it; a warning still says that it is one.
            where: Piece = (f"{position(problem)}:", "bold")
            if problem.line is None:
                head = (*head, where, (" ", ""))
            elif label[0] == "error:":
                head = (where, (" ", ""))
            else:
                head = (where, (" ", ""), *head)
        page.paragraph(*head, lines[0], hang=2)
        for line in lines[1:]:
            page.paragraph((f"    {line}", DIM), hang=4)
        following = shown[index + 1][0].hint if index + 1 < len(shown) else None
        if problem.hint and (problem.hint != following or more):
            for line in hint(problem.hint):
                page.paragraph(("  → ", DIM), line, hang=4)
        if more:
            page.paragraph(
                head[0],
                f" and {more} more of the same kind ({clean(problem.code)}); -o json lists all",
                hang=2,
            )


def position(problem: Problem) -> str:
    """Return `file:line:col` as far as it is known."""
    parts = [clean(problem.file or "", MAX_MESSAGE)]
    if problem.line is not None:
        parts.append(str(problem.line))
        if problem.column is not None:
            parts.append(str(problem.column))
    return ":".join(parts)


def hint(text: str) -> list[str]:
    """Return a hint as safe lines, whole: a command with a node left out of it is of no use."""
    return [clean(line, MAX_HINT) for line in text.split("\n")]


def message(text: str) -> list[str]:
    """Return a message as safe lines: the last lines of a server's log may be part of it."""
    lines = text.strip("\n").split("\n")
    if len(lines) > _MAX_LINES:
        lines = [*lines[: _MAX_LINES - 1], f"… ({len(lines) - _MAX_LINES + 1} more lines)"]
    return [clean(line, MAX_MESSAGE) for line in lines]


def _some(problems: Sequence[Problem]) -> Iterator[tuple[Problem, int]]:
    """Return the problems to show, each with the number of those like it that are left out after it."""
    number = Counter(problem.code for problem in problems if problem.file is None)
    seen: Counter[str] = Counter()
    for problem in problems:
        if problem.file is not None or number[problem.code] <= _SHOWN_ALIKE + 1:
            yield problem, 0
            continue
        seen[problem.code] += 1
        if seen[problem.code] <= _SHOWN_ALIKE:
            last = seen[problem.code] == _SHOWN_ALIKE
            yield problem, number[problem.code] - _SHOWN_ALIKE if last else 0
