"""Nodes that join a serving cluster, and the extra MEETs that tell the others about them."""

from __future__ import annotations

from dataclasses import replace

from clusterboot.core.extra_meets import MAX_MEETS_PER_ROUND, newcomer_meets, newcomers, pause
from clusterboot.core.health import Judge
from clusterboot.core.placement import Spot, place
from clusterboot.core.plan import plan
from tests.core.world import World, fresh, slots, topology


def grown(count: int) -> tuple[World, list[str]]:
    """A Ready cluster of three, and more nodes that know no other."""
    names = [f"n{index}" for index in range(count)]
    small = topology(*names[:3])
    world = fresh(topology(*names))
    world.do(*plan(small, place(small)).steps)
    return world, names


def test_nodes_that_know_no_other_or_fewer_than_the_serving_ones_are_newcomers() -> None:
    world, names = grown(5)
    assert newcomers(world.views()) == {"n3", "n4"}
    world["n4"].knows.add("n0")
    assert newcomers(world.views()) == {"n3", "n4"}, "cut off in the middle"
    world["n4"].knows.update(names)
    assert newcomers(world.views()) == {"n3"}
    world["n0"].knows.add("n4")
    assert newcomers(world.views()) == {"n3"}, "a serving node that has not heard of the newcomer is none"
    served = topology("n0", "n1", "n2", "n5", replicas=1)
    world = fresh(topology("n0", "n1", "n2", "n5", "n6"))
    world.do(*plan(served, place(served)).steps)
    assert newcomers(world.views()) == {"n6"}, "no replica is one for having no slots"
    assert newcomers(fresh(topology("a", "b")).views()) == frozenset(), "no node serves: no node joins"


def test_a_newcomer_meets_nodes_that_miss_it_or_have_it_wrong_and_nodes_that_it_misses() -> None:
    world, names = grown(4)
    top = topology(*names)
    world.join("n0", "n3")
    views = world.views()
    judge = Judge(place(top), {name: view.id for name, view in views.items()}, mesh_only=True)
    nodes = {each.name: each for each in top.nodes}
    meets = newcomer_meets(nodes, ["n3"], judge.verdict(views), views)
    assert [(meet.node, meet.peer, meet.port) for meet in meets] == [("n3", "n1", 7001), ("n3", "n2", 7002)]
    world.join(*names)
    views = world.views()
    assert newcomer_meets(nodes, ["n3"], judge.verdict(views), views) == ()


def test_a_newcomer_to_a_large_cluster_sends_a_batch_at_a_time() -> None:
    world, names = grown(60)
    top = topology(*names)
    views = world.views()
    judge = Judge(place(top), {name: view.id for name, view in views.items()}, mesh_only=True)
    meets = newcomer_meets({each.name: each for each in top.nodes}, ["n59"], judge.verdict(views), views)
    assert len(meets) == MAX_MEETS_PER_ROUND
    assert "n59" not in {meet.peer for meet in meets}


def test_one_that_is_to_become_a_replica_meets_only_its_primary_until_it_is_one() -> None:
    world, names = grown(6)
    top = topology(*names)
    world.join("n0", "n5")
    views = world.views()
    judge = Judge(place(top), {name: view.id for name, view in views.items()}, mesh_only=True)
    nodes = {each.name: each for each in top.nodes}
    meets = newcomer_meets(nodes, ["n5"], judge.verdict(views), views, {"n5": "n2"})
    assert [(meet.node, meet.peer) for meet in meets] == [("n5", "n2")]


def test_extra_meets_of_a_pair_become_rarer_where_they_do_not_help() -> None:
    assert [pause(0.5, count) for count in range(12)] == [*[0.5] * 5, 1, 2, 4, 8, 16, 16, 16]


def test_a_node_that_only_the_newcomer_has_wrong_sends_the_meet_since_its_receiver_learns() -> None:
    world, names = grown(4)
    top = topology(*names)
    world.join(*names)
    world["n3"].knows.discard("n1")
    views = world.views()
    judge = Judge(place(top), {name: view.id for name, view in views.items()}, mesh_only=True)
    nodes = {each.name: each for each in top.nodes}
    verdict = judge.verdict(views)
    assert [(meet.node, meet.peer) for meet in newcomer_meets(nodes, ["n3"], verdict, views)] == [
        ("n1", "n3")
    ]
    assert newcomer_meets(nodes, ["n3"], verdict, views, resting={("n1", "n3")}) == ()


def test_pairs_that_rest_leave_the_batch_to_others() -> None:
    world, names = grown(40)
    top = topology(*names)
    views = world.views()
    judge = Judge(place(top), {name: view.id for name, view in views.items()}, mesh_only=True)
    nodes = {each.name: each for each in top.nodes}
    verdict = judge.verdict(views)
    first = {(meet.node, meet.peer) for meet in newcomer_meets(nodes, ["n39"], verdict, views)}
    second = {
        (meet.node, meet.peer) for meet in newcomer_meets(nodes, ["n39"], verdict, views, resting=first)
    }
    assert len(first) == len(second) == MAX_MEETS_PER_ROUND
    assert not first & second


def test_there_is_no_meet_about_a_role_that_the_node_itself_does_not_have() -> None:
    """After a failover it is the plan that is stale: MEETs would cut links and change nothing."""
    world, names = grown(4)
    top = topology(*names)
    world.join(*names)
    views = world.views()
    target = place(top)
    taken_over = {**target.spots, "n3": Spot("replica", "n0"), "n1": Spot("replica", "n2")}
    judge = Judge(replace(target, spots=taken_over), {name: view.id for name, view in views.items()})
    verdict = judge.verdict(views)
    assert "n3" in verdict.nodes["n0"].stale
    nodes = {each.name: each for each in top.nodes}
    assert newcomer_meets(nodes, ["n3"], verdict, views) == ()


def test_newcomers_are_new_to_a_cluster_that_serves() -> None:
    world = fresh(topology("a", "b", "c"))
    world["a"].slots = slots("0-5")
    assert newcomers(world.views()) == frozenset(), "half-built: a owns slots and serves nothing"
    world["a"].slots = slots("0-16383")
    assert newcomers(world.views()) == {"b", "c"}
    world.join("a", "b")
    assert newcomers(world.views()) == {"c"}


def test_every_newcomer_meets_the_others_where_they_say_they_are() -> None:
    world, names = grown(4)
    top = topology(*names)
    views = world.views()
    views["n1"] = replace(views["n1"], config={"cluster-announce-ip": "192.0.2.1"})
    judge = Judge(place(top), {name: view.id for name, view in views.items()}, mesh_only=True)
    nodes = {each.name: each for each in top.nodes}
    meets = newcomer_meets(nodes, ["n2", "n3"], judge.verdict(views), views)
    assert {meet.node for meet in meets} == {"n2", "n3"}
    assert {meet.host for meet in meets if meet.peer == "n1"} == {"192.0.2.1"}
