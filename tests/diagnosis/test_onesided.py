"""The MEETs for pairs of which only one node lists the other."""

from __future__ import annotations

from dataclasses import replace

from clusterboot.core.extra_meets import one_sided_meets
from clusterboot.core.steps import Meet
from clusterboot.core.views import Views
from clusterboot.diagnosis.bus import BusView
from tests.core.world import World, fresh, topology

NAMES = ("a", "b", "c", "d")


def mesh() -> World:
    world = fresh(topology(*NAMES))
    world.join(*NAMES)
    return world


def meets(views: Views) -> tuple[Meet, ...]:
    top = topology(*NAMES)
    return one_sided_meets(top, views, BusView(top, views).unlisted())


def pairs(world: World) -> list[tuple[str, str]]:
    return [(meet.node, meet.peer) for meet in meets(world.views())]


def test_a_mesh_needs_none() -> None:
    assert pairs(mesh()) == []


def test_a_node_that_is_not_listed_meets_the_one_that_does_not_list_it() -> None:
    world = mesh()
    world["a"].knows.discard("d")
    assert pairs(world) == [("d", "a")]


def test_it_is_met_where_it_says_that_it_is() -> None:
    world = mesh()
    world["a"].knows.discard("d")
    views = world.views()
    views["a"] = replace(views["a"], config={"cluster-announce-ip": "192.0.2.1"})
    assert [meet.host for meet in meets(views)] == ["192.0.2.1"]


def test_a_node_that_misses_several_is_met_by_one_of_them() -> None:
    world = mesh()
    world["a"].knows -= {"b", "c", "d"}
    world["b"].knows -= {"c"}
    assert pairs(world) == [("b", "a"), ("c", "b")]


def test_a_pair_that_does_not_know_each_other_at_all_is_left_to_gossip() -> None:
    world = mesh()
    world["a"].knows.discard("d")
    world["d"].knows.discard("a")
    assert pairs(world) == []
