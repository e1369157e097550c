"""Hash slots, 0 to 16383, as frozen sets of ranges: parse, print, combine, split.

Every operation is linear in the number of ranges, never in the number of slots.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

COUNT = 16384
_RANGE = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Slots:
    """A set of hash slots, kept as sorted, disjoint, inclusive ranges that do not touch."""

    ranges: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, ranges: Iterable[tuple[int, int]]) -> Slots:
        """Return the set of all slots in `ranges` (inclusive, any order, overlaps allowed)."""
        merged: list[tuple[int, int]] = []
        for low, high in sorted(ranges):
            if merged and low <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
            else:
                merged.append((low, high))
        return cls(tuple(merged))

    @classmethod
    def parse(cls, text: str) -> Slots:
        """Return the set for a text as in "0-100,200"; the empty text is the empty set.

        Raises ValueError with a sentence for the user when a part is no range of slots, runs backwards, goes
        past 16383, or names a slot twice.
        """
        ranges: list[tuple[int, int]] = []
        for part in filter(None, (piece.strip() for piece in text.split(","))):
            match = _RANGE.fullmatch(part)
            if match is None:
                raise ValueError(f"{part!r} is not a slot or a range of slots such as 0-5460")
            low = int(match[1])
            high = int(match[2] or match[1])
            if high >= COUNT:
                raise ValueError(f"slot {high} does not exist; slots go from 0 to {COUNT - 1}")
            if low > high:
                raise ValueError(f"the range {part} runs backwards")
            ranges.append((low, high))
        found = cls.of(ranges)
        if len(found) != sum(high - low + 1 for low, high in ranges):
            raise ValueError(f"{text!r} names a slot twice")
        return found

    def __len__(self) -> int:
        return sum(high - low + 1 for low, high in self.ranges)

    def __bool__(self) -> bool:
        return bool(self.ranges)

    def __iter__(self) -> Iterator[int]:
        for low, high in self.ranges:
            yield from range(low, high + 1)

    def __str__(self) -> str:
        return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in self.ranges)

    def __or__(self, other: Slots) -> Slots:
        return Slots.of((*self.ranges, *other.ranges))

    def __and__(self, other: Slots) -> Slots:
        shared: list[tuple[int, int]] = []
        mine, theirs = 0, 0
        while mine < len(self.ranges) and theirs < len(other.ranges):
            (low, high), (other_low, other_high) = self.ranges[mine], other.ranges[theirs]
            if max(low, other_low) <= min(high, other_high):
                shared.append((max(low, other_low), min(high, other_high)))
            if high < other_high:
                mine += 1
            else:
                theirs += 1
        return Slots(tuple(shared))

    def __sub__(self, other: Slots) -> Slots:
        return self & other.complement()

    def complement(self) -> Slots:
        """Return every slot that is not in this set."""
        edges = [-1, *(edge for pair in self.ranges for edge in pair), COUNT]
        return Slots(
            tuple(
                (after + 1, before - 1)
                for after, before in zip(edges[::2], edges[1::2], strict=True)
                if after + 1 < before
            )
        )

    def take(self, count: int) -> tuple[Slots, Slots]:
        """Return the lowest `count` slots of this set, and the rest."""
        taken: list[tuple[int, int]] = []
        rest = list(self.ranges)
        while count > 0 and rest:
            low, high = rest.pop(0)
            if high - low + 1 > count:
                rest.insert(0, (low + count, high))
                high = low + count - 1
            taken.append((low, high))
            count -= high - low + 1
        return Slots(tuple(taken)), Slots(tuple(rest))


ALL = Slots(((0, COUNT - 1),))
NONE = Slots()


def union(sets: Iterable[Slots]) -> Slots:
    """Return every slot that is in at least one of `sets`."""
    return Slots.of(pair for slots in sets for pair in slots.ranges)


def split(slots: Slots, weights: Sequence[float]) -> list[Slots]:
    """Split `slots` in order into one part per weight, as near to the weights as whole slots allow.

    Cuts are at the rounded cumulative share: with equal weights parts differ by at most one. Weights must not
    be negative and at least one must be positive.
    """
    size = len(slots)
    shares = list(accumulate(weights))
    # Not divided by sum(), which rounds differently from Python 3.12 on.
    cuts = [round(size * share / shares[-1]) for share in shares]
    parts: list[Slots] = []
    rest, done = slots, 0
    for cut in cuts:
        part, rest = rest.take(cut - done)
        parts.append(part)
        done = cut
    return parts
