"""Numbers and names in sentences. Pure."""

from __future__ import annotations

from collections.abc import Sequence, Sized

MAX_NAMES_SHOWN = 5

_PLURALS = {"is": "are", "has": "have", "was": "were", "does": "do", "it": "they"}


def count(number: int, one: str, many: str | None = None) -> str:
    """Return `number` with its noun: "1 node", "6 nodes"."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def duration(number: float) -> str:
    """Return `number` seconds as text: "5 s", "0.25 s", never "5.00001 s"."""
    return f"{round(number, 1 if number >= 1 else 2):g} s"


def listed(words: Sequence[str]) -> str:
    """Return all `words` as "a, b and c": for commands, which must name every node."""
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def shortened(words: Sequence[str]) -> str:
    """Return `words` as "a, b and c", or the first ones and "7 more" where there are many."""
    if len(words) > MAX_NAMES_SHOWN:
        return f"{', '.join(words[:MAX_NAMES_SHOWN])} and {len(words) - MAX_NAMES_SHOWN} more"
    return listed(words)


def agree(word: str, subjects: Sized) -> str:
    """Return `word` (a singular verb or "it") in the form for `subjects`: "is" or "are"."""
    return word if len(subjects) == 1 else _PLURALS.get(word, word.removesuffix("s"))
