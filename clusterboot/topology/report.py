"""Collect the problems of one file, and say values in a way that is short, harmless and kind.

A value can hold a password (credentials pasted into an address) or control characters. Everything
that repeats a piece of the file goes through `shown` or `but`.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Protocol

from clusterboot.errors import Exit, Problem, TopologyError

LIMIT = 100
_SHOWN = 40


class Place(Protocol):
    """Where something stands in the file; both counted from 1."""

    @property
    def line(self) -> int: ...  # noqa: D102

    @property
    def column(self) -> int: ...  # noqa: D102


class Problems:
    """The problems and warnings of one file, each kept once.

    At most `LIMIT` problems are kept: a file of generated nonsense has thousands.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self._found: dict[tuple[int, int, str], Problem] = {}
        self.more = False
        self._warnings: list[Problem] = []

    def __len__(self) -> int:
        return len(self._found)

    @property
    def full(self) -> bool:
        """Whether no further problem is kept, so that its words need not be made."""
        return len(self._found) >= LIMIT

    def add(
        self,
        code: str,
        message: str,
        at: Place | None,
        *,
        hint: str | None = None,
        node: str | None = None,
        peer: str | None = None,
    ) -> None:
        """Note a problem at a place of the file (None: the file as a whole)."""
        line, column = (at.line, at.column) if at else (0, 0)
        key = (line, column, message)
        if key in self._found:
            return
        if self.full:
            self.more = True
            return
        self._found[key] = Problem(
            code, message, node, peer, hint, Exit.USAGE, self.file, line or None, column or None
        )

    def warn(self, code: str, message: str, at: Place, *, hint: str, node: str | None = None) -> None:
        """Note something that is only unfortunate: it ends no command, so its exit is DONE."""
        self._warnings.append(
            Problem(code, message, node, None, hint, Exit.DONE, self.file, at.line, at.column)
        )

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What is only unfortunate, in the order of the file."""
        return tuple(sorted(self._warnings, key=lambda problem: (problem.line or 0, problem.column or 0)))

    def finish(self) -> None:
        """Raise TopologyError with all problems, in the order of the file; return if there are none."""
        if not self._found:
            return
        listed = [self._found[key] for key in sorted(self._found)]
        if self.more:
            more = f"only the first {LIMIT} problems that were found are listed; there are more"
            listed.append(
                Problem("topology-more-problems", more, hint="repair those above first", exit=Exit.USAGE,
                        file=self.file)
            )  # fmt: skip
        raise TopologyError(*listed) from None


def may_hold_secret(text: str) -> bool:
    """Return whether `text` may hold a password: whatever stands before an @, as in user:password@host."""
    return "@" in text


def shown(text: str) -> str:
    """Return `text` in single quotes, shortened, with everything unprintable as an escape."""
    plain = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in cut(text, _SHOWN)
    )
    return f"'{plain}'"


def but(text: str) -> str:
    """Return ", not 'text'", or nothing where `text` may hold a password."""
    return "" if may_hold_secret(text) else f", not {shown(text)}"


def cut(text: str, limit: int = 300) -> str:
    """Return `text`, shortened to `limit` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the one of `known` that was probably meant by `word`, or None."""
    folded = {_fold(name): name for name in known}
    plain = _fold(word[:64])
    close = get_close_matches(plain, folded, n=1, cutoff=0.65)
    return folded[close[0]] if close else None


def _fold(word: str) -> str:
    return word.strip().lower().replace("-", "").replace("_", "").replace(" ", "")


def counted(number: int, one: str, many: str) -> str:
    """Return the number with the word that fits it: "1 primary", "2 primaries"."""
    return f"{number:,} {one if number == 1 else many}"


def listed(words: Iterable[str]) -> str:
    """Return the words as a sentence has them: "a", "a and b", "a, b and c"."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last
