"""The plan: the fewest MEETs that connect all nodes, and the same rest after every prefix of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterboot.core.addressing import meeting_point
from clusterboot.core.adopt import adopt
from clusterboot.core.groups import group
from clusterboot.core.health import Judge
from clusterboot.core.placement import Spot, place
from clusterboot.core.plan import Plan, plan
from clusterboot.core.preflight import refusals
from clusterboot.core.steps import AddSlots, Meet, Replicate, SetEpoch
from clusterboot.slots import ALL
from clusterboot.topology import Announce, Topology
from tests.core.world import Server, World, examples, fresh, node, slots, stranger, topology


def again(top: Topology, world: World) -> Plan:
    """Plan as a second run would; fails when it is refused."""
    views = world.views(each.name for each in top.nodes)
    adopted = adopt(top, views)
    assert (*refusals(top, views), *adopted.refusals) == ()
    return plan(top, adopted.target, views)


def is_ready(top: Topology, world: World) -> bool:
    views = world.views()
    judge = Judge(
        adopt(top, views).target,
        {name: view.id for name, view in views.items()},
        mesh_only=top.slots == "none",
    )
    verdict = judge.verdict(views)
    assert verdict.ready == (verdict.reasons == ())
    return verdict.ready


def test_the_whole_plan_for_fresh_nodes_in_the_order_epochs_slots_meets_replicates() -> None:
    top = topology("a", "b", "c", "d", replicas=1)
    assert plan(top, place(top)) == Plan(
        (
            # Each its own, replicas below all primaries.
            SetEpoch("a", 3),
            SetEpoch("b", 4),
            SetEpoch("c", 1),
            SetEpoch("d", 2),
            AddSlots("a", slots("0-8191")),
            AddSlots("b", slots("8192-16383")),
            Meet("a", "b", "10.0.0.1", 7002),
            Meet("a", "c", "10.0.0.1", 7003),
            Meet("a", "d", "10.0.0.1", 7004),
            Replicate("c", "a"),
            Replicate("d", "b"),
        ),
        groups=4,
    )


@st.composite
def topologies(draw: st.DrawFn, most: int = 12) -> Topology:
    """Valid topologies of up to `most` nodes with every way to spell roles, slots and places."""
    count = draw(st.integers(1, most))
    replicas = draw(st.integers(0, min(3, count - 1)))
    primaries = count // (1 + replicas)
    nodes = [
        node(
            f"n{index}",
            host=f"10.0.0.{draw(st.integers(1, 4))}",
            zone=draw(st.sampled_from([None, "x", "y", "z"])),
            weight=draw(st.sampled_from([1.0, 1.0, 0.3, 2.0, 1e-6])),
        )
        for index in range(count)
    ]
    order = draw(st.permutations(range(count)))
    heads, others = order[:primaries], order[primaries:]
    spelled: dict[int, dict[str, Any]] = {}
    named = heads[: draw(st.integers(0, primaries))]
    cuts = sorted(draw(st.lists(st.integers(0, 16383), min_size=len(named), max_size=len(named))))
    below = 0
    for index, cut in zip(named, cuts, strict=True):
        spelled[index] = {"role": "primary"}
        if len(named) < primaries and draw(st.booleans()):
            # Some primary without explicit slots is left to take the rest.
            spelled[index] |= {"slots": slots(f"{below}-{cut}") if below <= cut else slots("")}
            below = max(below, cut + 1)
    for index in others[: draw(st.integers(0, len(others)))]:
        head = draw(st.sampled_from([None, *named]))
        spelled[index] = {"role": "replica"} if head is None else {"replica_of": f"n{head}"}
    return Topology(
        nodes=tuple(replace(each, **spelled.get(index, {})) for index, each in enumerate(nodes)),
        replicas=replicas,
        strategy=draw(st.sampled_from(["star", "chain"])),
        hub=draw(st.sampled_from([None, *(each.name for each in nodes)])),
        slots=draw(st.sampled_from(["auto", "auto", "auto", "none"])),
    )


@examples(150)
@given(topologies())
def test_after_every_prefix_of_the_plan_exactly_the_rest_is_planned_and_at_the_end_all_is_ready(
    top: Topology,
) -> None:
    steps = plan(top, place(top)).steps
    world = fresh(top)
    for done, step in enumerate(steps):
        assert again(top, world).steps == steps[done:]
        assert not is_ready(top, world)
        world.do(step)
    assert again(top, world) == Plan((), 1)
    assert is_ready(top, world)


@examples(150)
@given(topologies(), st.data())
def test_a_run_that_lost_any_of_its_steps_is_finished_by_the_next_one(
    top: Topology, data: st.DataObject
) -> None:
    """Steps go to all nodes at once: without those for nodes that are away."""
    world = fresh(top)
    away = {each.name for each in top.nodes if data.draw(st.booleans(), label=each.name)}
    for step in plan(top, place(top)).steps:
        known = not isinstance(step, Replicate) or step.primary in world[step.node].knows
        if step.node not in away and known:
            world.do(step)
    rest = again(top, world)
    world.do(*rest.steps)
    assert len(rest.meets) == rest.groups - 1
    assert again(top, world) == Plan((), 1)
    assert is_ready(top, world)


@examples(100)
@given(topologies(), st.integers(1, 4))
def test_a_cluster_grows_and_nothing_that_it_had_is_touched(top: Topology, more: int) -> None:
    world = fresh(top)
    world.do(*plan(top, place(top)).steps)
    before = {name: (server.slots, server.primary) for name, server in world.servers.items()}
    added = [node(f"n{len(top.nodes) + index}") for index in range(more)]
    grown = Topology((*top.nodes, *added), replicas=top.replicas, strategy=top.strategy, slots=top.slots)
    for each in added:
        world.add(Server(each.name, each.host, each.port))
    rest = again(grown, world)
    names = {each.name for each in added}
    assert len(rest.meets) == more
    assert all(step.node in names for step in rest.steps if not isinstance(step, Meet))
    world.do(*rest.steps)
    assert is_ready(grown, world)
    assert {name: (world[name].slots, world[name].primary) for name in before} == before


@st.composite
def acquaintances(draw: st.DrawFn) -> tuple[Topology, World, list[list[str]]]:
    """Nodes that know each other in groups, besides one-sided knowledge, handshakes and strangers."""
    names = [f"n{index}" for index in range(draw(st.integers(1, 14)))]
    top = topology(
        *names,
        strategy=draw(st.sampled_from(["star", "chain"])),
        hub=draw(st.sampled_from([None, *names])),
        slots="none",
    )
    world = fresh(top)
    label = {name: draw(st.integers(0, 5)) for name in names}
    groups = [[n for n in names if label[n] == each] for each in dict.fromkeys(label.values())]
    for members in groups:
        world.join(*members)
    for name, other in draw(st.lists(st.tuples(st.sampled_from(names), st.sampled_from(names)), max_size=8)):
        if label[name] != label[other] and name not in world[other].knows:
            world[name].knows.add(other)
    for name in draw(st.lists(st.sampled_from(names), max_size=4, unique=True)):
        world[name].lines = (stranger(1, flags=("handshake",)), stranger(2))
    return top, world, groups


@examples(200)
@given(acquaintances())
def test_one_meet_fewer_than_groups_connects_all_nodes_in_one_direction(
    case: tuple[Topology, World, list[list[str]]],
) -> None:
    top, world, groups = case
    views = world.views()
    assert group(views) == groups
    found = plan(top, place(top), views)
    assert found.groups == len(groups)
    assert len(found.steps) == len(found.meets) == len(groups) - 1
    pairs = {(meet.node, meet.peer) for meet in found.meets}
    assert len(pairs | {pair[::-1] for pair in pairs}) == 2 * len(pairs)
    place_of = {name: index for index, members in enumerate(groups) for name in members}
    if top.strategy == "chain":
        assert [(place_of[meet.node], place_of[meet.peer]) for meet in found.meets] == [
            (index, index + 1) for index in range(len(groups) - 1)
        ]
    elif found.meets:
        (hub,) = {meet.node for meet in found.meets}
        largest = max(map(len, groups))
        assert len(groups[place_of[hub]]) == largest
        wanted = top.hub or top.nodes[0].name
        if len(groups[place_of[wanted]]) == largest:
            assert hub == wanted
    world.do(*found.meets)
    assert len(group(world.views())) == 1


@examples(200)
@given(acquaintances())
def test_after_any_of_the_meets_only_the_others_are_missing(
    case: tuple[Topology, World, list[list[str]]],
) -> None:
    top, world, groups = case
    for missing in range(len(groups) - 1, -1, -1):
        found = plan(top, place(top), world.views())
        assert len(found.meets) == missing == found.groups - 1
        if found.meets:
            world.do(found.meets[0])


def test_the_hub_is_the_wanted_one_where_it_is_in_the_largest_group_else_the_first_of_that() -> None:
    top = topology("a", "b", "c", "d", "e", hub="d", slots="none")
    world = fresh(top)
    world.join("b", "c")
    assert [(m.node, m.peer) for m in plan(top, place(top), world.views()).meets] == [
        *(("b", "a"), ("b", "d"), ("b", "e"))
    ]
    world.join("b", "c", "d")
    assert [(m.node, m.peer) for m in plan(top, place(top), world.views()).meets] == [("d", "a"), ("d", "e")]


def test_nodes_that_list_each_other_at_old_addresses_only_are_met_again() -> None:
    top = topology("a", "b", "c", slots="none")
    world = fresh(top)
    world.join("a", "b", "c")
    for name in world.servers:
        world[name].cut = set("abc") - {name}
    assert [(m.node, m.peer) for m in plan(top, place(top), world.views()).meets] == [("a", "b"), ("a", "c")]
    assert group(world.views(), connected=False) == [["a", "b", "c"]]
    world["b"].cut = {"a"}
    assert group(world.views()) == [["a"], ["b", "c"]], "one side that is connected is enough"


def test_a_primary_gets_an_epoch_only_while_it_knows_no_other_has_none_and_gets_slots() -> None:
    top = topology("a", "b", "c", "d", "e")
    world = fresh(top)
    world["a"].epoch = 3
    world.join("b", "d")
    world["e"].slots = place(top).spots["e"].slots
    epochs = [step for step in again(top, world).steps if isinstance(step, SetEpoch)]
    assert epochs == [SetEpoch("c", 4)], "3 is taken"


def test_a_node_that_is_no_replica_yet_and_a_replica_of_another_primary_replicate() -> None:
    top = topology(*"abcd", replicas=1)
    world = fresh(top)
    world["a"].slots, world["b"].slots = slots("0-8191"), slots("8192-16383")
    world.join(*"abcd")
    world["c"].primary = "b"
    assert again(top, world).steps == (Replicate("d", "a"),), "c is kept where it is, d fills the gap"


MEETING = [
    # node of the topology, what it says of itself, what it announces, expected host, port, bus port
    ({}, {}, {}, ("10.0.0.1", 7001, None)),
    ({"bus_port": 17001}, {}, {}, ("10.0.0.1", 7001, None)),
    ({"bus_port": 9001}, {}, {}, ("10.0.0.1", 7001, 9001)),
    ({}, {"bus_port": 9002}, {}, ("10.0.0.1", 7001, 9002)),
    ({"bus_port": 9001}, {"bus_port": 9002}, {}, ("10.0.0.1", 7001, 9001)),
    ({}, {"port": 30001, "bus_port": 40001}, {}, ("10.0.0.1", 30001, None)),
    ({}, {"port": 0, "bus_port": 0}, {}, ("10.0.0.1", 7001, None)),
    ({}, {}, {"cluster-announce-ip": "203.0.113.7"}, ("203.0.113.7", 7001, None)),
    (
        {"announce": Announce("198.51.100.1")},
        {},
        {"cluster-announce-ip": "203.0.113.7"},
        ("198.51.100.1", 7001, None),
    ),
    ({"announce": Announce("198.51.100.1", 30001, 40002)}, {}, {}, ("198.51.100.1", 30001, 40002)),
    ({"announce": Announce("198.51.100.1", 30001)}, {"bus_port": 17001}, {}, ("198.51.100.1", 30001, 17001)),
]


@pytest.mark.parametrize(("given_node", "says", "config", "expected"), MEETING)
def test_where_a_node_is_met(
    given_node: dict[str, Any],
    says: dict[str, int],
    config: dict[str, str],
    expected: tuple[str, int, int | None],
) -> None:
    view = World(Server("a")).view("a")
    view = replace(view, peers=(replace(view.me, **says),), config=config)
    assert meeting_point(node("a", **given_node), view) == expected


@pytest.mark.parametrize(
    ("dialled", "last", "expected"),
    [
        ("127.0.0.1", "10.0.0.1", "10.0.0.1"),  # on this host, and known to the others by its real address
        ("127.0.0.2", "127.0.0.1", "127.0.0.2"),  # started again at another one: the last is left over
        ("::1", "127.0.0.1", "::1"),
        ("10.0.0.2", "10.0.0.1", "10.0.0.2"),
    ],
)
def test_where_a_node_is_met_that_has_had_another_address(dialled: str, last: str, expected: str) -> None:
    world = World(Server("a", ip=last), Server("b"))
    world.join("a", "b")
    view = replace(world.view("a"), ip=dialled, config={"cluster-announce-ip": ""})
    assert meeting_point(node("a", host=dialled), view)[0] == expected


def test_without_views_a_node_is_met_where_the_file_says() -> None:
    assert meeting_point(node("a", host="redis-0.svc", bus_port=9001), None) == ("redis-0.svc", 7001, 9001)


def test_two_thousand_nodes_form_and_are_planned_again() -> None:
    top = topology(*(f"n{index}" for index in range(2000)), replicas=1)
    found = plan(top, place(top))
    assert len(found.meets) == 1999
    assert len(found.steps) == 2000 + 1000 + 1999 + 1000
    assert sum(len(step.slots) for step in found.steps if isinstance(step, AddSlots)) == len(ALL)


def test_strangers_neither_connect_nor_separate_nodes() -> None:
    world = fresh(topology("a", "b"))
    world["a"].knows = {"b"}
    world["b"].lines = (stranger(1),)
    assert group(world.views()) == [["a"], ["b"]]
    world.join("a", "b")
    world["b"].lines = (stranger(1, flags=("master", "fail")),)
    world["a"].cut = {"b"}
    assert group(world.views()) == [["a", "b"]]


def test_a_primary_behind_one_without_slots_gets_its_epoch() -> None:
    top = topology("a", "b", "c")
    spots = {"a": Spot("primary"), "b": Spot("primary", None, ALL), "c": Spot("replica", "b", ALL)}
    steps = plan(top, replace(place(top), spots=spots)).steps
    assert [(step.node, step.epoch) for step in steps if isinstance(step, SetEpoch)] == [("b", 2), ("c", 1)]


def test_nodes_that_are_connected_by_others_alone_are_one_group() -> None:
    world = fresh(topology("a", "b", "c", "d"))
    for one, other in (("a", "b"), ("a", "c"), ("b", "d")):
        world[one].knows.add(other)
        world[other].knows.add(one)
    assert group(world.views()) == [["a", "b", "c", "d"]]
