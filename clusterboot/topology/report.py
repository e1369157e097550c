"""The problems of one file, and safe quotes of its values.

A value can hold a password (credentials pasted into an address) or control characters: messages repeat parts
of the file only through `quoted` or `but_not`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import NoReturn

from clusterboot.errors import Exit, Problem, TopologyError

MAX_PROBLEMS = 100
_MAX_QUOTED = 40


@dataclass(slots=True)
class Position:
    """A place in the text, counted from 1; columns are characters."""

    line: int
    column: int


class Problems:
    """The problems of one file, each kept once, and at most `MAX_PROBLEMS` of them."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._problems: dict[tuple[int, int, str], Problem] = {}
        self._more = False

    def __bool__(self) -> bool:
        return bool(self._problems)

    def add(
        self,
        code: str,
        message: str,
        at: Position | None,
        *,
        hint: str | None = None,
        node: str | None = None,
        peer: str | None = None,
    ) -> None:
        """Add a problem at a place in the file (None: in the whole file)."""
        line, column = (at.line, at.column) if at else (None, None)
        key = (line or 0, column or 0, message)
        if key not in self._problems and not self.full():
            problem = Problem(code, message, node, peer, hint, Exit.USAGE, self._file, line, column)
            self._problems[key] = problem

    def fail(self, code: str, message: str, at: Position | None, hint: str | None = None) -> NoReturn:
        """Add a problem that leaves nothing more to check, and raise TopologyError with all."""
        self.add(code, message, at, hint=hint)
        self.finish()
        raise AssertionError("a problem was added")

    def full(self) -> bool:
        """Return whether one more problem is too many; if so, `finish` says that there are more."""
        self._more = len(self._problems) >= MAX_PROBLEMS
        return self._more

    def finish(self) -> None:
        """Raise TopologyError with all problems, in the order of the file; return if there are none."""
        if not self._problems:
            return
        problems = [self._problems[key] for key in sorted(self._problems)]
        if self._more:
            more = f"only the first {MAX_PROBLEMS} problems that were found are listed; there are more"
            code, hint = "topology-more-problems", "repair those above first"
            problems.append(Problem(code, more, hint=hint, exit=Exit.USAGE, file=self._file))
        raise TopologyError(*problems) from None


def may_hold_secret(text: str) -> bool:
    """Return whether `text` may hold a password before an @, as in user:password@host."""
    return "@" in text


def quoted(text: str) -> str:
    """Return at most 40 characters of `text` in single quotes, unprintable ones as escapes."""
    plain = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in cut(text, _MAX_QUOTED)
    )
    return f"'{plain}'"


def but_not(text: str) -> str:
    """Return ", not 'text'", or nothing where `text` may hold a password."""
    return "" if may_hold_secret(text) else f", not {quoted(text)}"


def cut(text: str, limit: int = 300) -> str:
    """Return `text`, cut to `limit` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the one of `known` that `word` most likely stands for, or None."""
    folded = {_fold(name): name for name in known}
    close = get_close_matches(_fold(word[:64]), folded, n=1, cutoff=0.65)
    return folded[close[0]] if close else None


def _fold(word: str) -> str:
    return word.strip().lower().replace("-", "").replace("_", "").replace(" ", "")
