"""Problems as text: `error: sentence` with its hint below, or `file:line:col: sentence`.

A file that cannot be read at all has no line to point at: `error: file: sentence`. Names are never cut: the
reader of an error has to find the node.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from rich.console import Console

from clusterboot.errors import Problem
from clusterboot.render.page import BAD, DIM, WARN, Page, Part
from clusterboot.render.safe import MAX_HINT, MAX_MESSAGE, clean

MAX_ALIKE = 10  # problems with the same code; a network that fails gives hundreds
_MAX_LINES = 30  # of one message

ERROR: Part = ("error:", BAD)
WARNING: Part = ("warning:", WARN)
REASON: Part = ("  ·", DIM)


def errors(console: Console, problems: Sequence[Problem]) -> None:
    """Print what ended a command; a problem in a file begins with `file:line:col:` instead of error."""
    _print(console, problems, ERROR)


def warnings(console: Console, problems: Sequence[Problem]) -> None:
    """Print what is wrong but ends nothing."""
    _print(console, problems, WARNING)


def _print(console: Console, problems: Sequence[Problem], label: Part) -> None:
    page = Page(console)
    add(page, problems, label)
    page.print()


def add(page: Page, problems: Sequence[Problem], label: Part) -> None:
    """Add problems to a page, each behind `label` and with its hint below it.

    Of those with the same code the first `MAX_ALIKE` are shown, and how many more there are; problems of a
    file are all shown. Consecutive problems with the same hint show it once.
    """
    margin = " " * (4 if label == REASON else 2)
    shown = list(_first_of_each_code(problems))
    for index, (problem, more) in enumerate(shown):
        first, *rest = _lines(problem.message)
        page.line(*_head(problem, label), first, hang=len(margin))
        for line in rest:
            page.line((f"    {line}", DIM), hang=4)
        if more:
            page.line(label, (f" and {more} more like these; -o json lists all", DIM), hang=len(margin))
        following = shown[index + 1][0].hint if index + 1 < len(shown) else None
        if problem.hint and (problem.hint != following or more):
            # A hint is whole: a command without one of its nodes is of no use.
            for line in problem.hint.split("\n"):
                page.line((f"{margin}→ ", DIM), clean(line, MAX_HINT), hang=len(margin) + 2)


def _head(problem: Problem, label: Part) -> list[Part]:
    """Return what stands before the message: the place first, as compilers write it."""
    if problem.file is None:
        return [label, " "]
    place = [clean(problem.file, MAX_MESSAGE)]
    place += [str(number) for number in (problem.line, problem.column) if number is not None]
    where: Part = (f"{':'.join(place)}:", "bold")
    if problem.line is None:
        return [label, " ", where, " "]
    # A warning still says that it is one.
    return [where, " "] if label == ERROR else [where, " ", label, " "]


def _lines(message: str) -> list[str]:
    """Return a message as safe lines: the end of a server's log may be part of it."""
    lines = message.strip("\n").split("\n")
    if len(lines) > _MAX_LINES:
        lines = [*lines[: _MAX_LINES - 1], f"… ({len(lines) - _MAX_LINES + 1} more lines)"]
    return [clean(line, MAX_MESSAGE) for line in lines]


def _first_of_each_code(problems: Sequence[Problem]) -> Iterator[tuple[Problem, int]]:
    """Return the problems to show, each with the number of those like it that are left out after it."""
    number = Counter(problem.code for problem in problems if problem.file is None)
    seen: Counter[str] = Counter()
    for problem in problems:
        if problem.file is not None or number[problem.code] <= MAX_ALIKE + 1:
            yield problem, 0
            continue
        seen[problem.code] += 1
        if seen[problem.code] < MAX_ALIKE:
            yield problem, 0
        elif seen[problem.code] == MAX_ALIKE:
            yield problem, number[problem.code] - MAX_ALIKE
