"""Numbers in sentences. Pure, and imports nothing."""

from __future__ import annotations


def count(number: int, one: str, many: str | None = None) -> str:
    """Return `number` with its noun: "1 node", "6 nodes"."""
    return f"{number} {one if number == 1 else many or one + 's'}"
