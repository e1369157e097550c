"""Numbers and names in sentences. Pure."""

from __future__ import annotations

from collections.abc import Sequence

_SHOWN = 5


def count(number: int, one: str, many: str | None = None) -> str:
    """Return `number` with its noun: "1 node", "6 nodes"."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def duration(number: float) -> str:
    """Return a time as people read it: "5 s", "0.25 s", never "5.00001 s"."""
    return f"{round(number, 1 if number >= 1 else 2):g} s"


def every(words: Sequence[str]) -> str:
    """Return "a, b and c", however many: for commands, where nobody may be left out."""
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def listed(words: Sequence[str]) -> str:
    """Return "a, b and c", of many the first ones."""
    if len(words) > _SHOWN:
        return f"{', '.join(words[:_SHOWN])} and {len(words) - _SHOWN} more"
    return every(words)
