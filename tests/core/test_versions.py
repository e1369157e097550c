"""Mixed versions: which replica can follow which primary, and a placement in which all can, if any."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterboot.core.placement import Spot, place, spelled_role, wanted_primaries
from clusterboot.core.plan import Plan
from clusterboot.core.spread import level
from clusterboot.core.versions import (
    Format,
    can_replicate,
    for_a_while,
    format_of,
    formats,
    out_of_sync,
    reads,
)
from clusterboot.core.views import View
from clusterboot.errors import Exit, Problem
from clusterboot.topology import Topology
from tests.core.test_placement import told, zoned
from tests.core.test_plan import again, topologies
from tests.core.world import examples, fresh, node, topology


def running(server: str, name: str = "a") -> View:
    """A view of "redis 7.0.15", "valkey 9.1.2", or "" where INFO is refused."""
    kind, _, version = server.partition(" ")
    # Valkey also reports a version of Redis, for clients.
    info = {"redis_version": version if kind == "redis" else "7.2.4"} if server else {}
    return View(name, "127.0.0.1", (), info | ({"valkey_version": version} if kind == "valkey" else {}))


# Tried on real servers: the primary in the row, the replica in the column.
SERVERS = ("redis 3.2.13", "redis 5.0.14", "redis 6.2.14", "redis 7.0.15", "redis 8.0.6")
SERVERS += ("valkey 8.0.1", "valkey 9.1.2")
MEASURED = """
y y y y y y y
- y y y y y y
- y y y y y y
- - - y y y y
- - - - y - -
- - - - y y y
- - - - * * y
"""


def test_the_table_that_was_measured() -> None:
    rows = [row.split() for row in MEASURED.split("\n") if row]
    for (primary, row), (index, replica) in product(zip(SERVERS, rows, strict=True), enumerate(SERVERS)):
        able = can_replicate(running(primary), running(replica))
        assert able == (row[index] == "y"), f"{replica} of {primary}"
        if not able:
            assert for_a_while(running(primary), running(replica)) == (row[index] == "*")


@pytest.mark.parametrize(
    ("server", "number"),
    [
        *(("redis 3.0.7", 6), ("redis 4.0.14", 8), ("redis 6.0.20", 9), ("redis 6.9.240", 10)),
        *(("redis 7.2.4", 11), ("redis 7.4.1", 12), ("redis 7.9.240", 12), ("redis 8.4.0", 12)),
        *(("redis 255.255.255", 12), ("valkey 7.2.5", 11), ("valkey 8.1.3", 11), ("valkey 9.0.0", 80)),
        *(("", None), ("redis 0.0.0", None), ("redis none", None), ("valkey 1.0.0", None)),
    ],
)
def test_versions_between_those_that_were_tried_have_the_format_of_their_line(
    server: str, number: Format
) -> None:
    assert format_of(running(server)) == number


def test_what_is_not_known_is_left_to_the_servers() -> None:
    for server in SERVERS:
        assert can_replicate(running(server), running(""))
        assert can_replicate(running(""), running(server))


def test_formats_only_matter_where_two_are_known() -> None:
    views = {"a": running("redis 6.2.14"), "b": running("redis 5.0.0"), "c": running("")}
    assert formats(views) == {}
    views["d"] = running("redis 7.0.0")
    assert formats(views) == {"a": 9, "b": 9, "c": None, "d": 10}


@pytest.mark.parametrize(
    ("primary", "replica", "info", "told"),
    [
        (
            "redis 7.0.15",
            "redis 6.2.14",
            {"master_sync_in_progress": "1"},
            "does not read the data format of",
        ),
        ("valkey 9.1.2", "valkey 8.0.1", {}, "reads what valkey 9.1.2 sends only until a hash field"),
        ("valkey 9.1.2", "valkey 8.0.1", {"master_sync_in_progress": "1"}, None),
        ("redis 6.2.14", "redis 7.0.15", {}, None),
        ("redis 7.0.15", "", {}, None),
    ],
)
def test_why_a_replica_is_not_in_sync(
    primary: str, replica: str, info: dict[str, str], told: str | None
) -> None:
    reason = Problem("replica-out-of-sync", "b is not in sync.", node="b", peer="a", exit=Exit.NOT_READY)
    b = running(replica, "b")
    found = out_of_sync(reason, {"a": running(primary), "b": replace(b, info={**b.info, **info})})
    assert (found and found.code) == (told and "versions-cannot-replicate")
    assert found is None or (told or "") in found.message
    assert out_of_sync(reason, {"b": b}) is None


CASES = [
    # what it shows, zones of the nodes (one host where there are none), their formats, the placement
    ("older first in the file: as ever", "", "9 9 9 10 10 10", "a b c d>a e>b f>c"),
    ("newer first: the older ones are primaries", "", "10 10 10 9 9 9", "a>d b>e c>f d e f"),
    ("every other one", "", "10 9 10 9 10 9", "a>b b c>d d e>f f"),
    ("each version a shard of its own: nothing has to change", "", "9 10 9 10", "a b c>a d>b"),
    ("one upgraded already, first in the file", "", "10 9 9 9 9 9", "a>c b c d e>b f>d"),
    ("one not upgraded yet", "", "10 10 10 10 10 9", "a b c>a d>b e>f f"),
    ("neither reads the other: a shard each", "", "12 80 80 12", "a b c>b d>a"),
    ("neither reads the other, one behind the other", "", "12 12 80 80", "a b>a c d>c"),
    ("unknown versions go anywhere", "", "10 - 9 9", "a>c b>d c d"),
    (
        "replicas in other zones, as on equal versions",
        "x x y y x x y y",
        "10 9 9 10 9 10 10 9",
        "a b c d e>c f>d g>a h>b",
    ),
    (
        "replicas in other zones, though all primaries are in one",
        "x x x y y y",
        "9 9 9 10 10 10",
        "a b c d>a e>b f>c",
    ),
]


@pytest.mark.parametrize(("zones", "numbers", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_newer_nodes_replicate_older_ones(zones: str, numbers: str, expected: str) -> None:
    nodes = zoned(zones or " ".join("-/1" for _ in numbers.split()))
    known = {
        each.name: None if number == "-" else int(number)
        for each, number in zip(nodes, numbers.split(), strict=True)
    }
    spots = place(Topology(tuple(nodes), replicas=1), {}, known).spots
    assert " ".join(f"{name}>{s.primary}" if s.primary else name for name, s in spots.items()) == expected


def test_a_node_of_unknown_version_is_the_primary_where_nothing_else_can_be() -> None:
    assert told(place(topology(*"abc", replicas=2), {}, {"a": 12, "b": None, "c": 80})) == [
        "a > b",
        "b 0-16383",
        "c > b",
    ]


def test_a_node_that_can_replicate_any_primary_leaves_the_place_to_one_that_cannot() -> None:
    """Although c is better off with b and d with a, as far as zones go."""
    a, b, c, d = zoned("x y x y")
    top = Topology((replace(a, role="primary"), replace(b, role="primary"), c, d), replicas=1)
    assert told(place(top))[2:] == ["c > b", "d > a"]
    assert told(place(top, {}, {"a": 9, "b": 10, "c": 9, "d": 10}))[2:] == ["c > a", "d > b"]


def test_what_the_file_spells_out_is_kept_although_it_cannot_work() -> None:
    top = topology("a", "b", node("c", replica_of="b"), node("d", role="primary"), replicas=1)
    assert told(place(top, {}, {"a": 10, "b": 10, "c": 9, "d": 9})) == [
        "a > d",
        "b 0-8191",
        "c > b",
        "d 8192-16383",
    ]


NUMBERS = st.sampled_from([9, 10, 10, 11, 12, 80, None])


@examples(200)
@given(topologies(7), st.data())
def test_if_there_is_a_way_it_is_found(top: Topology, data: st.DataObject) -> None:
    """Against every way there is to choose primaries and to deal out replicas evenly."""
    if top.slots == "none":
        return
    known = {each.name: data.draw(NUMBERS) for each in top.nodes}
    found = place(top, {}, known)
    assert found == place(top, {}, dict(reversed(known.items())))
    _check(top, {}, known, found.spots)


@examples(150)
@given(topologies(7), st.data(), st.randoms(use_true_random=False))
def test_if_there_is_a_way_around_what_exists_it_is_found(
    top: Topology, data: st.DataObject, chance: random.Random
) -> None:
    if top.slots == "none":
        return
    known = {each.name: data.draw(NUMBERS) for each in top.nodes}
    # Formed of other versions than those that the nodes have now.
    spots = place(top, {}, {name: chance.choice([9, number]) for name, number in known.items()}).spots
    pins = {name: spot for name, spot in spots.items() if chance.random() < 0.5}
    pins = {name: spot for name, spot in pins.items() if spot.primary is None or spot.primary in pins}
    found = place(top, pins, known)
    assert all(
        (found.spots[name].role, found.spots[name].primary) == (pin.role, pin.primary)
        for name, pin in pins.items()
    )
    _check(top, pins, known, found.spots)


@examples(60)
@given(topologies(8), st.data())
def test_after_every_prefix_of_the_plan_exactly_the_rest_is_planned(
    top: Topology, data: st.DataObject
) -> None:
    """An interrupted run goes on as planned, with the same regard to versions."""
    world = fresh(top)
    for each in top.nodes:
        world[each.name].info["redis_version"] = data.draw(st.sampled_from(["6.2.14", "7.0.15", "7.2.5"]))
    steps = again(top, world).steps
    for done, step in enumerate(steps):
        assert again(top, world).steps == steps[done:]
        world.do(step)
    assert again(top, world) == Plan((), 1)


def _check(
    top: Topology, pins: Mapping[str, Spot], known: Mapping[str, Format], spots: Mapping[str, Spot]
) -> None:
    """What is left open is as even as it can be, and follows what it can follow, if there is such a way."""
    followed = {each.replica_of for each in top.nodes if each.replica_of}
    fixed = {
        each.name: pins[each.name].primary if each.name in pins else each.replica_of
        for each in top.nodes
        if each.name in pins or each.replica_of
    }
    heads = {name: spot.primary for name, spot in spots.items() if spot.primary and name not in fixed}
    heirs = {name for name, spot in spots.items() if spot.role == "primary"}
    given_ = Counter(spots[name].primary for name in fixed if spots[name].primary)
    before = [given_[name] for name in heirs]
    height, _ = level(before, len(heads)) if heads else (0, 0)
    grown = given_ + Counter(heads.values())
    assert all(
        grown[name] in (height, height + 1) or grown[name] == given_[name] > height for name in heirs
    ), "uneven"
    bad = [name for name, head in heads.items() if not reads(known[head], known[name])]
    if not bad:
        return
    chosen = {name for name, spot in pins.items() if spot.role == "primary"}
    named = {n.name for n in top.nodes if spelled_role(n) == "primary" or n.name in followed} - pins.keys()
    open_ = [n.name for n in top.nodes if n.name not in {*pins, *named} and spelled_role(n) is None]
    missing = max(0, wanted_primaries(top) - len(chosen) - len(named))
    for more in combinations(open_, missing):
        primaries = chosen | named | set(more)
        rest = [name for name in spots if name not in primaries and name not in fixed]
        have = Counter(head for name, head in fixed.items() if name not in primaries and head in primaries)
        counts = [have[name] for name in primaries]
        height, _ = level(counts, len(rest)) if rest else (0, 0)
        able = [[p for p in primaries if reads(known[p], known[name])] for name in rest]
        for ways in product(*able):
            total = have + Counter(ways)
            grown = [total[p] for p in primaries if have[p] <= height]
            uneven = any(number not in (height, height + 1) for number in grown)
            assert uneven or any(p in ways for p in primaries if have[p] > height), (
                f"{bad} cannot follow, and could: {dict(zip(rest, ways, strict=True))}"
            )
