"""Spreading: which nodes become primaries, which replica goes to which primary. Pure.

Over zones, then over hosts; of equally good choices the first in the file wins. Where versions are mixed, a
replica only goes to a primary that it can replicate, if that is possible evenly.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush
from itertools import chain, combinations

from clusterboot.core.versions import Format, Formats, reads
from clusterboot.topology import Node

# A replica and its primary; None is an empty place.
_Pair = tuple[Node | None, Node]


def pick(candidates: Sequence[Node], taken: Iterable[Node], count: int) -> list[Node]:
    """Return `count` candidates, each from the zone, then the host, with the fewest so far."""
    taken = list(taken)
    order = {node.name: index for index, node in enumerate(candidates)}

    def in_turns(nodes: Sequence[Node], place: Callable[[Node], object]) -> list[Node]:
        """Sort `nodes` by how many nodes of their place come before them, then by the file."""
        so_far = Counter(place(node) for node in taken)
        rank: dict[str, tuple[int, int]] = {}
        for node in nodes:
            rank[node.name] = so_far[place(node)], order[node.name]
            so_far[place(node)] += 1
        return sorted(nodes, key=lambda node: rank[node.name])

    return in_turns(in_turns(candidates, lambda node: (node.zone, node.host)), lambda node: node.zone)[:count]


def apart(primary: Node, replica: Node | None) -> int:
    """Return how close a replica is to its primary: 2 for the same zone, 1 for the same host, or both."""
    if replica is None:
        return 0
    same_zone = primary.zone is not None and primary.zone == replica.zone
    return 2 * same_zone + (primary.host == replica.host)


def level(counts: Iterable[int], more: int) -> tuple[int, int]:
    """Return to what `counts` are raised when `more` are dealt out evenly, and how many get one more.

    Higher counts stay as they are. There must be at least one count.
    """
    heights = sorted(counts)
    water = heights[0]
    for reached, height in enumerate([*heights[1:], None], 1):
        needed = more if height is None else reached * (height - water)
        if height is None or needed > more:
            return water + more // reached, more % reached
        more -= needed
        water = height
    raise AssertionError("the last round always returns")


def pair(
    replicas: Sequence[Node],
    primaries: Sequence[Node],
    have: Mapping[str, int],
    wish: Mapping[str, str],
    formats: Formats | None = None,
) -> dict[str, str]:
    """Return a primary for every replica: evenly first, then as far apart as possible.

    Dealing and then trading between two is exact on fresh nodes and almost exact around existing replicas
    (tests/core/test_placement.py tries all combinations).
    `have` counts the replicas of each primary, which alone can make the result uneven. `wish` names primaries
    that are kept where the counts stay as even. `formats` are given where versions are mixed; they are
    ignored where not every replica can fit.
    """
    if not replicas:
        return {}
    count = Counter({node.name: have.get(node.name, 0) for node in primaries})
    height, extra = level(count.values(), len(replicas))
    fit = Fit(formats or {}, count, [node.name for node in replicas], height)
    if not fit.possible:
        fit = Fit({}, count, [], height)
    found: dict[str, str] = {}
    for node in replicas:
        primary = wish.get(node.name, "")
        if primary not in count or count[primary] > height or (count[primary] == height and not extra):
            continue
        if not fit.take(primary, node.name, count[primary]):
            continue
        extra -= count[primary] == height
        count[primary] += 1
        found[node.name] = primary
    pairs = _deal([node for node in replicas if node.name not in found], primaries, count, fit)
    if len({(node.zone, node.host) for node in (*replicas, *primaries)}) > 1:
        # A primary without an extra replica has an empty place to trade with.
        pairs += [(None, node) for node in primaries if count[node.name] == height]
        _trade(pairs, count, height, fit)
    return found | {replica.name: primary.name for replica, primary in pairs if replica is not None}


def improve(
    pairs: Sequence[tuple[Node, Node]], primaries: Sequence[Node], fixed: Mapping[str, int], formats: Formats
) -> dict[str, str]:
    """Return a better primary for each replica of `pairs`, where there is one: evenly, then further apart.

    Every replica that need not move stays. `fixed` counts the replicas of each primary beside these.
    """
    count = Counter({node.name: fixed.get(node.name, 0) for node in primaries})
    count.update(primary.name for _, primary in pairs)
    fit = Fit(formats, count, [], 0)
    found: list[_Pair] = list(pairs)
    while found and (way := _leveled(found, primaries, count, fit)) is not None:
        index, primary = way
        count[found[index][1].name] -= 1
        count[primary.name] += 1
        found[index] = found[index][0], primary
    height = min(count.values(), default=0)
    # Who has to move anyway trades first: a plan that was cut off is not turned round by the next one.
    before = {replica.name: primary.name for replica, primary in pairs}
    found.sort(key=lambda each: each[0] is not None and before[each[0].name] == each[1].name)
    found += [(None, node) for node in primaries if count[node.name] == height]
    _trade(found, count, height, fit)
    return {replica.name: primary.name for replica, primary in found if replica is not None}


def _leveled(
    pairs: Sequence[_Pair], primaries: Sequence[Node], count: Counter[str], fit: Fit
) -> tuple[int, Node] | None:
    """Return which replica goes to which primary that has at least two fewer, or None."""
    fullest = max(count[primary.name] for _, primary in pairs)
    ways = [
        (count[node.name], apart(node, replica), index, node)
        for index, (replica, primary) in enumerate(pairs)
        if count[primary.name] == fullest
        for node in primaries
        if count[node.name] + 2 <= fullest and _fits(fit, node, replica)
    ]
    best = min(ways, key=lambda way: way[:3], default=None)
    return None if best is None else best[2:]


def _deal(replicas: Sequence[Node], primaries: Sequence[Node], count: Counter[str], fit: Fit) -> list[_Pair]:
    """Deal `replicas` to the primary with the fewest, each time the replica that is furthest away."""
    places: dict[tuple[str | None, str, Format], list[Node]] = {}
    for node in reversed(replicas):
        places.setdefault((node.zone, node.host, fit.formats.get(node.name)), []).append(node)
    order = {node.name: index for index, node in enumerate(replicas)}
    turn = [(count[node.name], index) for index, node in enumerate(primaries)]
    heapify(turn)
    pairs: list[_Pair] = []
    while places:
        have, index = heappop(turn)
        primary = primaries[index]
        # Of equally good places the fullest first, so that choices stay for the last primaries.
        ranked = sorted(
            places.items(),
            key=lambda place: (apart(primary, place[1][-1]), -len(place[1]), order[place[1][-1].name]),
        )
        for key, nodes in ranked:
            if fit.take(primary.name, nodes[-1].name, have):
                heappush(turn, (have + 1, index))
                count[primary.name] += 1
                pairs.append((nodes.pop(), primary))
                if not nodes:
                    del places[key]
                break
        # Without a break this primary takes no more: another replica would find no place, now and later.
    return pairs


def _trade(pairs: list[_Pair], count: Counter[str], height: int, fit: Fit) -> None:
    """Trade replicas between two primaries where that increases the distances.

    Only the extra replica of a primary is traded for an empty place, so that counts stay even.
    """
    better = True
    while better:
        better = False
        for left, (replica, primary) in enumerate(pairs):
            near = apart(primary, replica)
            if not near:
                continue
            for right, (other, its_primary) in enumerate(pairs):
                if near + apart(its_primary, other) <= apart(primary, other) + apart(its_primary, replica):
                    continue
                if not (_fits(fit, primary, other) and _fits(fit, its_primary, replica)):
                    continue
                if other is None:
                    if count[primary.name] != height + 1 or count[its_primary.name] != height:
                        continue
                    count[primary.name] -= 1
                    count[its_primary.name] += 1
                pairs[left], pairs[right] = (other, primary), (replica, its_primary)
                better = True
                break


def _fits(fit: Fit, primary: Node, replica: Node | None) -> bool:
    return replica is None or fit.follows(primary.name, replica.name)


class Fit:
    """Replicas that are still to be dealt out evenly, each to a primary that it can replicate.

    `have` counts the replicas that each primary has already. Every primary gets `height` replicas, some one
    more (see `level`); a primary with more keeps them. Without `formats` any node can replicate any other.
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
        if not self.formats:
            return True
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

    The oldest first, since an older replica could swap places with its primary. That leaves a choice only
    between formats of which none reads the other, and for unknown ones.
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
