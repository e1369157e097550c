"""Which members the entries under `retire` mean, however the others list them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clusterboot.core.leaving import Leaver, Leaving, find, to_ask
from clusterboot.core.views import Peer
from clusterboot.slots import ALL, NONE, Slots, split
from clusterboot.topology import Retire, Topology
from tests.core.world import Server, World, node, stranger, topology


def running() -> World:
    """The members a, b and c, which stay, and x, which leaves."""
    world = World()
    for index, (name, part) in enumerate(zip("abcx", split(ALL, [1.0] * 4), strict=True), 1):
        world.add(Server(name, port=7000 + index, slots=part))
    world.join(*world.servers)
    return world


def gone(**keys: object) -> World:
    """The members a, b and c, which list x alike; x does not answer."""
    world = running()
    line = replace(world.peer("x", "a"), **{"flags": frozenset({"master", "fail"}), **keys})
    for name in "abc":
        world[name].knows.discard("x")
        world[name].lines = (line,)
    return world


def found(
    world: World, entry: Retire, answering: str = "", addresses: dict[str, str] | None = None
) -> Leaving:
    """Look as a run does; `answering` is the server at the address of the entry."""
    top = topology(*(replace(node(name), port=world[name].port) for name in "abc"), retire=(entry,))
    answers = {entry.name: world.view(answering)} if answering else {}
    return find(top, world.views("abc"), answers, addresses or {})


def at(host: str = "10.0.0.1", node_id: str | None = None) -> Retire:
    return Retire("old", node_id, replace(node("old"), host=host, port=7004))


def codes(leaving: Leaving) -> list[str]:
    return [problem.code for problem in leaving.refusals]


def test_a_member_that_answers_is_alive_and_asked_at_its_address() -> None:
    world = running()
    (leaver,) = found(world, at(), "x").leavers
    assert (leaver.name, leaver.id, leaver.alive) == ("old", world["x"].id, True)
    assert leaver.node is not None
    assert (leaver.node.name, leaver.node.host, leaver.node.port) == ("old", "10.0.0.1", 7004)


def test_a_member_that_is_known_by_its_id_is_asked_where_the_others_list_it() -> None:
    world = running()
    entry = Retire("old", world["x"].id)
    (asked,) = to_ask(Topology((node("a"),), retire=(entry,)), world.views("abc"))
    assert (asked.name, asked.host, asked.port) == ("old", "10.0.0.1", 7004)
    (leaver,) = found(world, entry, "x").leavers
    assert leaver.alive
    assert leaver.node == asked


def test_an_id_that_no_member_is_connected_to_is_not_asked() -> None:
    world = gone(connected=False)
    entry = Retire("old", world["x"].id)
    assert list(to_ask(Topology((node("a"),), retire=(entry,)), world.views("abc"))) == []


@pytest.mark.parametrize("entry", ["address", "id", "both"])
def test_a_node_that_stays_cannot_be_retired(entry: str) -> None:
    world = running()
    node_id = world["b"].id if entry != "address" else None
    retired = Retire("old", node_id, node("old", port=7002) if entry != "id" else None)
    leaving = found(world, retired, "b")
    assert (codes(leaving), leaving.leavers) == (["retire-listed"], ())
    if entry != "address":
        # Also where the address of the entry does not answer.
        assert codes(found(world, retired)) == ["retire-listed"]


@pytest.mark.parametrize(
    ("host", "addresses"),
    [("10.0.0.1", {}), ("x.example", {"old": "10.0.0.1"})],
)
def test_a_dead_member_is_found_by_its_address_or_host_name(host: str, addresses: dict[str, str]) -> None:
    world = gone(slots=NONE)
    leaving = found(world, at(host), addresses=addresses)
    assert leaving == Leaving((Leaver("old", world["x"].id, None, alive=False),), ())


def test_nothing_is_listed_at_the_address_of_a_member_that_has_left() -> None:
    world = gone(slots=NONE, ip="", port=0, flags=frozenset({"master", "noaddr"}))
    assert found(world, at()) == Leaving()
    assert [each.id for each in found(world, Retire("old", world["x"].id)).leavers] == [world["x"].id]


@pytest.mark.parametrize("flags", [{"master"}, {"master", "fail?"}])
def test_a_member_that_may_be_alive_is_not_forgotten(flags: set[str]) -> None:
    assert codes(found(gone(slots=NONE, flags=frozenset(flags)), at())) == ["retire-not-answering"]


def test_one_member_that_does_not_find_it_failing_is_enough() -> None:
    world = gone(slots=NONE)
    world["b"].lines = (replace(world["b"].lines[0], flags=frozenset({"master", "fail?"})),)
    leaving = found(world, at())
    assert codes(leaving) == ["retire-not-answering"]
    assert leaving.refusals[0].node == "b"


def test_slots_of_a_dead_member_are_named_as_lost() -> None:
    leaving = found(gone(slots=Slots.parse("100-199")), at())
    assert codes(leaving) == ["slots-lost"]
    assert "100-199" in leaving.refusals[0].message


def test_a_forgotten_member_that_still_serves_takes_part_until_it_is_drained() -> None:
    world = running()
    for name in "abc":
        world[name].knows.discard("x")
    (leaver,) = found(world, at(), "x").leavers
    assert leaver.alive
    world["x"].slots = NONE
    (leaver,) = found(world, at(), "x").leavers
    assert not leaver.alive
    assert leaver.node is not None
    world["x"].knows = set()
    assert found(world, at(), "x") == Leaving()


def test_a_member_without_slots_that_some_have_forgotten_is_only_forgotten() -> None:
    world = running()
    world["x"].slots = NONE
    world["a"].knows.discard("x")
    (leaver,) = found(world, at(), "x").leavers
    assert not leaver.alive
    # A newcomer that knows nobody yet has forgotten nobody.
    world["a"].knows = set()
    (leaver,) = found(world, at(), "x").leavers
    assert leaver.alive


def test_what_answers_at_the_address_of_a_lost_member_is_another_node() -> None:
    world = gone(slots=NONE)
    world.add(Server("y", port=7004))
    leaving = found(world, at(), "y")
    assert leaving == Leaving((Leaver("old", world["x"].id, None, alive=False),), ())
    # The id says which one is meant.
    leaving = found(world, at(node_id=world["x"].id), "y")
    assert [each.id for each in leaving.leavers] == [world["x"].id]


def test_every_id_that_is_listed_at_an_address_leaves() -> None:
    world = gone(slots=NONE)
    second: Peer = stranger(5, flags=("master", "fail"), ip="10.0.0.1", port=7004)
    world["c"].lines += (second,)
    leaving = found(world, at())
    assert [(each.name, each.id) for each in leaving.leavers] == [
        ("old", world["x"].id),
        (second.id, second.id),
    ]


def test_a_handshake_at_the_address_is_no_member() -> None:
    assert found(gone(slots=NONE, flags=frozenset({"handshake"})), at()) == Leaving()
