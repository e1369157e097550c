"""Mixed versions: whether all replicas find a primary, and of which versions primaries must be. Pure.

Only the numbers of nodes by format count here; `spread` chooses the nodes by zones and hosts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, combinations

from clusterboot.core.versions import Format, Formats, reads


class Fit:
    """Replicas that are still to be dealt out evenly, each to a primary that it can replicate.

    `have` counts the replicas that each primary has already. Every primary gets `height` replicas, some one
    more (see `spread.level`); a primary with more keeps them.
    """

    def __init__(
        self, formats: Formats, have: Mapping[str, int], replicas: Iterable[str], height: int
    ) -> None:
        self.formats = formats
        self._height = height
        self._left = Counter(formats.get(name) for name in replicas)
        # By the format of primaries: how many replicas they must get, and how many they can take.
        self._need: Counter[Format] = Counter()
        self._room: Counter[Format] = Counter()
        for name, count in have.items():
            self._need[formats.get(name)] += max(0, height - count)
            self._room[formats.get(name)] += max(0, height + 1 - count)

    @property
    def possible(self) -> bool:
        """Whether a way exists: Hall's condition for the replicas, and for the places to be filled."""
        return all(
            sum(self._left[each] for each in some)
            <= sum(room for sent, room in self._room.items() if any(reads(sent, each) for each in some))
            for some in _subsets(self._left)
        ) and all(
            sum(self._need[each] for each in some)
            <= sum(left for reader, left in self._left.items() if any(reads(each, reader) for each in some))
            for some in _subsets(self._need)
        )

    def follows(self, primary: str, replica: str) -> bool:
        """Return whether `replica` can replicate `primary`."""
        return reads(self.formats.get(primary), self.formats.get(replica))

    def take(self, primary: str, replica: str, have: int) -> bool:
        """Give `primary`, which has `have` replicas, one more, if all others can still find a place."""
        if have > self._height or not self.follows(primary, replica):
            return False
        self._move(primary, replica, have, -1)
        if self.possible:
            return True
        self._move(primary, replica, have, 1)
        return False

    def _move(self, primary: str, replica: str, have: int, by: int) -> None:
        sent = self.formats.get(primary)
        self._left[self.formats.get(replica)] += by
        self._room[sent] += by
        if have < self._height:
            self._need[sent] += by


def _subsets(counts: Counter[Format]) -> Iterator[Sequence[Format]]:
    """Every choice of the formats in use: few, since a cluster has few versions."""
    there = [each for each, count in counts.items() if count]
    return chain.from_iterable(combinations(there, size) for size in range(1, len(there) + 1))


def shares(candidates: Iterable[Format], count: int) -> Iterator[dict[Format, int]]:
    """Yield how many primaries of each format to try when `count` of `candidates` become primaries.

    The oldest first: a replica that is older than a primary could swap places with it. That leaves a
    choice only between formats of which none reads the other, and for unknown ones.
    """
    there = Counter(candidates)
    known = sorted(each for each in there if each is not None)
    below = [each for each in known if all(reads(*sorted((each, other))) for other in known)]
    above = [each for each in known if each not in below]
    for unknown in range(min(there[None], count) + 1):
        left = count - unknown
        base: dict[Format, int] = {None: unknown}
        for each in below:
            base[each] = min(there[each], left)
            left -= base[each]
        for rest in _splits(left, [there[each] for each in above]):
            yield base | dict(zip(above, rest, strict=True))


def _splits(count: int, most: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Every way to write `count` as a sum of numbers up to `most`."""
    if not most:
        if not count:
            yield ()
        return
    for first in range(max(0, count - sum(most[1:])), min(count, most[0]) + 1):
        for rest in _splits(count - first, most[1:]):
            yield (first, *rest)
