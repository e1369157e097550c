"""Placement: what each file gives, what pins force, and how near to the best the spreading comes."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from itertools import permutations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterboot.core.placement import Placement, Spot, place, wanted_primaries
from clusterboot.core.spread import apart, level, pair, pick
from clusterboot.slots import ALL, COUNT, NONE, union
from clusterboot.topology import Node, Topology
from tests.core.test_plan import topologies
from tests.core.world import examples, node, slots, topology


def told(placement: Placement) -> list[str]:
    """One line per node, as in "a 0-8191" or "c > a"."""
    return [
        f"{name} > {spot.primary}" if spot.role == "replica" else f"{name} {spot.slots}".strip()
        for name, spot in placement.spots.items()
    ]


def zoned(text: str) -> list[Node]:
    """Nodes "a", "b"… in zones, as in "x y x" or with hosts "x/1 x/2"; "-" is no zone."""
    found = []
    for index, word in enumerate(text.split()):
        zone, _, host = word.partition("/")
        found.append(node(chr(97 + index), zone=None if zone == "-" else zone, host=host or f"h{index}"))
    return found


CASES = [
    # what it shows, topology, expected
    ("one node", topology("a"), ["a 0-16383"]),
    ("even split", topology(*"abc"), ["a 0-5460", "b 5461-10922", "c 10923-16383"]),
    ("one replica each", topology(*"abcd", replicas=1), ["a 0-8191", "b 8192-16383", "c > a", "d > b"]),
    (
        "more nodes than shards need: the rest are replicas, evenly",
        topology(*"abcde", replicas=1),
        ["a 0-8191", "b 8192-16383", "c > a", "d > b", "e > a"],
    ),
    ("mesh only", topology(*"ab", slots="none"), ["a", "b"]),
    (
        "weights share the slots",
        topology(node("a", weight=3.0), node("b", weight=1.0)),
        ["a 0-12287", "b 12288-16383"],
    ),
    (
        "a weight too small for one slot leaves a primary without any",
        topology("a", node("b", weight=1e-6), "c"),
        ["a 0-8191", "b", "c 8192-16383"],
    ),
    (
        "slots that are given are kept and the others take the rest",
        topology(node("a", slots=slots("100-199,16383")), "b", "c"),
        ["a 100-199,16383", "b 0-99,200-8241", "c 8242-16382"],
    ),
    (
        "slots: none is a primary without any, which may have replicas",
        topology(node("a", slots=NONE), "b", node("c", replica_of="a"), node("d", replica_of="b")),
        ["a", "b 0-16383", "c > a", "d > b"],
    ),
    (
        "a node that another one replicates is a primary",
        topology("a", "b", node("c", replica_of="b"), replicas=1),
        ["a > b", "b 0-16383", "c > b"],
    ),
    (
        "roles that are spelled out count, whatever `replicas` says",
        topology(node("a", role="replica"), node("b", role="primary"), node("c", role="primary")),
        ["a > b", "b 0-8191", "c 8192-16383"],
    ),
    (
        "primaries go to different zones, replicas to others than their primary",
        Topology(tuple(zoned("x x y y z z")), replicas=1),
        ["a 0-5460", "b > c", "c 5461-10922", "d > e", "e 10923-16383", "f > a"],
    ),
    (
        "within one zone they go to different hosts",
        Topology(tuple(zoned("-/1 -/1 -/2 -/2")), replicas=1),
        ["a 0-8191", "b > c", "c 8192-16383", "d > a"],
    ),
    (
        "the extra replica goes where it is apart",
        Topology(
            tuple(
                replace(n, role=r)
                for n, r in zip(zoned("x y x"), ("primary", "primary", "replica"), strict=True)
            )
        ),
        ["a 0-8191", "b 8192-16383", "c > b"],
    ),
]


@pytest.mark.parametrize(("top", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_fresh_nodes(top: Topology, expected: list[str]) -> None:
    assert told(place(top)) == expected


def primary(text: str = "") -> Spot:
    return Spot("primary", None, slots(text))


def replica(name: str) -> Spot:
    return Spot("replica", name)


SIX = topology(*"abcdef", replicas=1)
SPELLED = topology("a", "b", node("c", replica_of="a"), node("d", replica_of="b"))
PINNED = [
    (
        "slots that are served stay, and only unserved slots are given out",
        topology(*"abc"),
        {"a": primary("0-9999")},
        ["a 0-9999", "b 10000-10922", "c 10923-16383"],
    ),
    (
        "growth by a replica",
        topology(*"abcdefg", replicas=1),
        {"a": primary("0-5460"), "b": primary("5461-10922"), "c": primary("10923-16383")}
        | {"d": replica("a"), "e": replica("b"), "f": replica("c")},
        ["a 0-5460", "b 5461-10922", "c 10923-16383", "d > a", "e > b", "f > c", "g > a"],
    ),
    (
        "growth by a primary and its replica: the new primary has no slots",
        topology(*"abcdefgh", replicas=1),
        {"a": primary("0-5460"), "b": primary("5461-10922"), "c": primary("10923-16383")}
        | {"d": replica("a"), "e": replica("b"), "f": replica("c")},
        ["a 0-5460", "b 5461-10922", "c 10923-16383", "d > a", "e > b", "f > c", "g", "h > g"],
    ),
    (
        "a failover is kept, and a missing replica goes to the new primary",
        SIX,
        {"a": replica("d"), "d": primary("0-5460"), "b": primary("5461-10922"), "c": primary("10923-16383")},
        ["a > d", "b 5461-10922", "c 10923-16383", "d 0-5460", "e > b", "f > c"],
    ),
    (
        "unserved slots go to the primary that took over from the planned one",
        SIX,
        {"a": replica("d"), "d": primary()},
        ["a > d", "b 5461-10922", "c 10923-16383", "d 0-5460", "e > b", "f > c"],
    ),
    (
        "slots of a shard whose planned primary is in another shard now go to a primary without any",
        SIX,
        {"a": replica("b"), "b": primary("5461-10922"), "c": primary("10923-16383")},
        ["a > b", "b 5461-10922", "c 10923-16383", "d 0-5460", "e > d", "f > c"],
    ),
    (
        "a primary that comes back empty replicates the node that took over",
        SPELLED,
        {"c": primary("0-8191"), "b": primary("8192-16383"), "d": replica("b")},
        ["a > c", "b 8192-16383", "c 0-8191", "d > b"],
    ),
    (
        "so do the other replicas that the file gives it",
        topology("a", "b", node("c", replica_of="a"), node("d", replica_of="a")),
        {"c": primary("0-8191"), "b": primary("8192-16383")},
        ["a > c", "b 8192-16383", "c 0-8191", "d > c"],
    ),
    (
        "a primary that the file adds is one, in spite of that",
        topology(
            "a", "b", "e", node("c", replica_of="a"), node("d", replica_of="b"), node("f", replica_of="e")
        ),
        {"c": primary("0-8191"), "b": primary("8192-16383"), "d": replica("b")},
        ["a > c", "b 8192-16383", "e", "c 0-8191", "d > b", "f > e"],
    ),
    (
        "a wish of the file does not make counts uneven",
        topology("a", "b", "c", *"defg", replicas=1),
        {"a": primary("0-5460"), "b": primary("5461-10922"), "c": primary("10923-16383")}
        | {"f": replica("a"), "e": replica("b")},
        ["a 0-5460", "b 5461-10922", "c 10923-16383", "d > a", "e > b", "f > a", "g > c"],
    ),
    (
        "mesh only: what is there is kept",
        topology(*"ab", slots="none"),
        {"a": primary("0-9"), "b": replica("a")},
        ["a 0-9", "b > a"],
    ),
]


@pytest.mark.parametrize(
    ("top", "pins", "expected"), [case[1:] for case in PINNED], ids=[case[0] for case in PINNED]
)
def test_around_what_exists(top: Topology, pins: dict[str, Spot], expected: list[str]) -> None:
    assert told(place(top, pins)) == expected


@examples(300)
@given(topologies())
def test_every_placement_keeps_the_rules(top: Topology) -> None:
    found = place(top)
    assert found == place(replace(top)), "the same file gives the same placement"
    assert list(found.spots) == [each.name for each in top.nodes]
    if top.slots == "none":
        return
    spots = found.spots
    primaries = [name for name, spot in spots.items() if spot.role == "primary"]
    assert len(primaries) == wanted_primaries(top)
    assert found.slots == ALL
    assert sum(len(spot.slots) for spot in spots.values()) == COUNT, "no slot has two owners"
    for each in top.nodes:
        spot = spots[each.name]
        assert each.slots is None or spot.slots == each.slots
        assert each.replica_of is None or spot.primary == each.replica_of
        assert each.role is None or spot.role == each.role
        assert spot.role == "primary" or spots[spot.primary or ""].role == "primary"
    automatic = [each for each in top.nodes if each.name in primaries and each.slots is None]
    rest = len(ALL - union(each.slots for each in top.nodes if each.slots))
    weights = sum(each.weight for each in automatic)
    for each in automatic:
        assert abs(len(spots[each.name].slots) - rest * each.weight / weights) <= 1
    given_ = Counter(each.replica_of for each in top.nodes if each.replica_of)
    have = Counter(spot.primary for spot in spots.values() if spot.primary)
    free = sum(spot.role == "replica" for spot in spots.values()) - sum(given_.values())
    height, extra = level([given_[name] for name in primaries], free)
    assert sorted(have[name] for name in primaries) == sorted(
        _raised([given_[name] for name in primaries], height, extra)
    ), "as even as what the file gives allows"


def _raised(counts: list[int], height: int, extra: int) -> list[int]:
    found = []
    for count in sorted(counts):
        more = 1 if count <= height and extra else 0
        extra -= more
        found.append(max(count, height) + more)
    assert extra == 0
    return found


@examples(150)
@given(topologies(), st.randoms(use_true_random=False))
def test_pins_are_never_changed(top: Topology, chance: random.Random) -> None:
    """Pins as a cluster has them: a part of the placement, roles swapped within shards here and there."""
    if top.slots == "none":
        return
    spots = dict(place(top).spots)
    for name, spot in list(spots.items()):
        if spot.primary is not None and chance.random() < 0.3 and spots[spot.primary].role == "primary":
            old = spot.primary
            spots = {n: Spot("replica", name) if s.primary == old else s for n, s in spots.items()}
            spots[name], spots[old] = spots[old], Spot("replica", name)
    gone = {name for name, spot in spots.items() if spot.role == "replica" and chance.random() < 0.4}
    pins = {name: spot for name, spot in spots.items() if name not in gone}
    found = place(top, pins)
    assert {name: found.spots[name] for name in pins} == pins
    assert found.slots == ALL
    assert all(found.spots[name].role == "replica" for name in gone)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("grown", [False, True])
def test_replicas_are_as_far_apart_as_any_even_way_to_deal_them_out(seed: int, *, grown: bool) -> None:
    """Against every way there is, with zones and hosts as they are in life: a host is in one zone.

    Where some primaries have replicas already, one pair in a thousand clusters may be in one zone.
    """
    worse = 0
    chance = random.Random(seed)
    for _ in range(60):
        places = [("x", "1"), ("x", "2"), ("y", "3"), ("y", "4"), ("z", "5")]
        if chance.random() < 0.3:
            places = [(None, host) for _, host in places]
        chosen = [chance.choice(places[: chance.randint(1, 5)]) for _ in range(chance.randint(2, 7))]
        nodes = [node(f"n{index}", zone=zone, host=host) for index, (zone, host) in enumerate(chosen)]
        count = chance.randint(1, len(nodes) - 1)
        primaries, replicas = nodes[:count], nodes[count:]
        have = {each.name: chance.choice([0, 0, 0, 1, 2]) if grown else 0 for each in primaries}
        height, extra = level(have.values(), len(replicas))
        even = sorted(_raised(list(have.values()), height, extra))
        best = min(
            sum(apart(head, each) for head, each in zip(heads, replicas, strict=True))
            for heads in product(primaries, repeat=len(replicas))
            if sorted(have[each.name] + heads.count(each) for each in primaries) == even
        )
        found = pair(replicas, primaries, have, {})
        by_name = {each.name: each for each in nodes}
        assert sorted(have[each.name] + list(found.values()).count(each.name) for each in primaries) == even
        worse += sum(apart(by_name[head], by_name[name]) for name, head in found.items()) - best
    assert worse <= (2 if grown else 0)


def test_primaries_are_picked_from_the_zone_then_the_host_with_the_fewest() -> None:
    nodes = zoned("x/1 x/1 x/2 y/3 y/3 -/4")
    assert [each.name for each in pick(nodes, [], 6)] == list("adfceb")
    assert [each.name for each in pick(nodes[1:], nodes[:1], 2)] == ["d", "f"]


def test_the_order_of_the_file_decides_between_equals_whatever_they_are_called() -> None:
    for names in permutations("abc"):
        assert told(place(topology(*names)))[0] == f"{names[0]} 0-5460"


@pytest.mark.parametrize(
    ("counts", "more", "expected"),
    [
        ([0], 5, (5, 0)),
        ([0, 0, 0], 4, (1, 1)),
        ([2, 0, 0], 1, (0, 1)),
        ([2, 0, 0], 4, (2, 0)),
        ([2, 0, 0], 5, (2, 1)),
        ([5, 1, 3], 2, (3, 0)),
        ([5, 1, 3], 3, (3, 1)),
        ([1, 1], 0, (1, 0)),
    ],
)
def test_water_finds_its_level(counts: list[int], more: int, expected: tuple[int, int]) -> None:
    assert level(counts, more) == expected


WARNINGS = [
    (topology(*"abc"), []),
    (
        topology("a"),
        [("few-primaries", "1 primary: no majority can agree on a failover when one fails.")],
    ),
    (
        topology(*"ab"),
        [("few-primaries", "2 primaries: no majority can agree on a failover when one fails.")],
    ),
    (topology("a", slots="none"), []),
    (
        topology(*"abcdef", replicas=1),
        [
            (
                "replica-same-host",
                "3 replicas share the host of their primary: d beside a, e beside b and f beside c.",
            )
        ],
    ),
    (Topology(tuple(node(name, host="127.0.0.1") for name in "abcdef"), replicas=1), []),
    (
        Topology(tuple(zoned("x x x x y y")), replicas=1),
        [("replica-same-zone", "1 replica shares the zone of its primary: c beside b.")],
    ),
    (
        topology("a", "b", "c", node("d", weight=1e-6)),
        [
            (
                "primary-without-slots",
                "d is a primary without slots: slots that are served stay where they are, and a tiny "
                "weight gets none.",
            )
        ],
    ),
    (topology("a", "b", "c", node("d", slots=NONE)), []),
]


@pytest.mark.parametrize(("top", "expected"), WARNINGS)
def test_warnings_about_a_placement(top: Topology, expected: list[tuple[str, str]]) -> None:
    assert [(problem.code, problem.message) for problem in place(top).warnings] == expected


def test_two_thousand_nodes_are_spread_over_zones_and_hosts() -> None:
    nodes = tuple(
        node(f"n{index}", zone=f"z{index % 3}", host=f"h{index % 100}-{index % 3}") for index in range(2000)
    )
    found = place(Topology(nodes, replicas=1))
    assert found.warnings == ()
    assert Counter(Counter(s.primary for s in found.spots.values() if s.primary).values()) == {1: 1000}
