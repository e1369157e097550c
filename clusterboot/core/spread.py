"""Spreading over zones and hosts: which nodes become primaries, which replica goes to which primary. Pure.

Of equally good choices the first in the file wins. Where versions are mixed, a replica only goes to a primary
that it can replicate, if that is possible evenly.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import heapify, heappop, heappush

from clusterboot.core.fit import Fit
from clusterboot.core.versions import Format, Formats
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

    Dealing and then trading between two is exact on fresh nodes and almost exact around replicas that
    are there already (tests/core/test_placement.py tries all combinations).

    `have` counts the replicas that primaries have already. `wish` names a primary for some of `replicas`,
    which is kept where the counts stay as even. Counts differ by no more than `have` forces them to.
    `formats` are given where versions are mixed; they are ignored where not every replica can fit.
    """
    if not replicas:
        return {}
    count = Counter({node.name: have.get(node.name, 0) for node in primaries})
    height, extra = level(count.values(), len(replicas))
    fit = Fit(formats, count, (node.name for node in replicas), height) if formats else None
    if fit is not None and not fit.possible:
        fit = None
    found: dict[str, str] = {}
    for node in replicas:
        primary = wish.get(node.name, "")
        if primary not in count or count[primary] > height or (count[primary] == height and not extra):
            continue
        if fit is not None and not fit.take(primary, node.name, count[primary]):
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


def _deal(
    replicas: Sequence[Node], primaries: Sequence[Node], count: Counter[str], fit: Fit | None
) -> list[_Pair]:
    """Deal `replicas` to the primary with the fewest, each time the replica that is furthest away."""
    formats = fit.formats if fit is not None else {}
    places: dict[tuple[str | None, str, Format], list[Node]] = {}
    for node in reversed(replicas):
        places.setdefault((node.zone, node.host, formats.get(node.name)), []).append(node)
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
            if fit is None or fit.take(primary.name, nodes[-1].name, have):
                heappush(turn, (have + 1, index))
                count[primary.name] += 1
                pairs.append((nodes.pop(), primary))
                if not nodes:
                    del places[key]
                break
        # Without a break: with one more for this primary another replica would find none. That never changes.
    return pairs


def _trade(pairs: list[_Pair], count: Counter[str], height: int, fit: Fit | None) -> None:
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
                if fit is not None and not (_fits(fit, primary, other) and _fits(fit, its_primary, replica)):
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
