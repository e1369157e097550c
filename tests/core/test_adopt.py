"""Going on from what is there: facts in, exact problems and exact target out (cases/adopt.txt)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from clusterboot.core.adopt import adopt, needs_recheck
from clusterboot.core.plan import plan
from clusterboot.core.steps import AddSlots, Meet, MoveSlots, Replicate, SetEpoch
from clusterboot.errors import Exit, Problem
from clusterboot.slots import NONE
from clusterboot.topology import Topology
from tests.core.problems import sections, shown
from tests.core.test_placement import told
from tests.core.world import World, fresh, node, slots, stranger, topology


def hosts(top: Topology) -> Topology:
    """Every node on a host of its own: then there is nothing to warn of."""
    apart = (replace(each, host=f"10.0.0.{index}") for index, each in enumerate(top.nodes, 1))
    return replace(top, nodes=tuple(apart))


THREE = hosts(topology("a", "b", "c"))
SIX = hosts(topology(*"abcdef", replicas=1))
SPELLED = hosts(
    topology(
        node("a", role="primary"),
        node("b", role="primary"),
        node("c", role="primary"),
        *(node("d", replica_of="a"), node("e", replica_of="b"), node("f", replica_of="c")),
    )
)
Facts = Callable[[World], None]
CASES: dict[str, tuple[Topology, Facts]] = {}


def case(top: Topology) -> Callable[[Facts], Facts]:
    """Add a case: what a world looks like before it is adopted for `top`."""

    def add(facts: Facts) -> Facts:
        CASES[facts.__name__.replace("_", " ")] = (top, facts)
        return facts

    return add


def serve(world: World, **what: str) -> None:
    for name, text in what.items():
        world[name].slots = slots(text)


def follow(world: World, **what: str | None) -> None:
    for name, primary in what.items():
        world[name].primary = primary


def formed(world: World) -> None:
    """The Ready cluster that SIX and SPELLED give on fresh nodes."""
    serve(world, a="0-5460", b="5461-10922", c="10923-16383")
    follow(world, d="a", e="b", f="c")
    world.join(*"abcdef")


@case(THREE)
def fresh_nodes(world: World) -> None:
    pass


@case(SIX)
def a_ready_cluster_with_keys_on_replicas_too(world: World) -> None:
    formed(world)
    for server in world.servers.values():
        server.keys = 10


@case(THREE)
def ours_half_built_in_two_groups_goes_on(world: World) -> None:
    serve(world, a="0-5460", c="10923-16383")


@case(THREE)
def ours_half_built_with_parts_of_shares_goes_on(world: World) -> None:
    serve(world, a="0-99", b="5461-5500")


@case(THREE)
def slots_that_this_topology_gives_to_another_in_two_groups(world: World) -> None:
    serve(world, a="100-5460", b="0-99")


@case(THREE)
def two_groups_that_overlap(world: World) -> None:
    serve(world, a="0-5460", b="0-10922")


@case(THREE)
def two_groups_one_of_them_with_data(world: World) -> None:
    serve(world, a="0-5460", c="10923-16383")
    world["a"].keys = 7


@case(hosts(topology(*"abcdefgh")))
def many_groups_are_not_all_listed(world: World) -> None:
    serve(world, **{name: str(2048 * index) for index, name in enumerate("abcdefgh")})
    world["h"].keys = 1


@case(THREE)
def a_newcomer_joins_a_group_that_has_all_slots_and_data(world: World) -> None:
    serve(world, a="0-8191", b="8192-16383")
    world["a"].keys = 1000
    world.join("a", "b")


@case(THREE)
def a_whole_cluster_with_data_that_lost_every_connection_is_still_one(world: World) -> None:
    serve(world, a="0-5460", b="5461-10922", c="10923-16383")
    world.join("a", "b", "c")
    for name in "abc":
        world[name].keys = 5
        world[name].cut = set("abc") - {name}


@case(THREE)
def keys_on_a_primary_without_slots(world: World) -> None:
    world["b"].keys = 3


@case(hosts(topology(*"abcd", replicas=1)))
def more_primaries_than_the_file_comes_to(world: World) -> None:
    serve(world, a="0-4095", b="4096-8191", c="8192-12287", d="12288-16383")
    world.join(*"abcd")


@case(hosts(topology(*"abcdef", replicas=1)))
def fewer_primaries_than_the_file_comes_to(world: World) -> None:
    serve(world, a="0-8191", b="8192-16383")
    follow(world, c="a", d="b", e="a", f="b")
    world.join(*"abcdef")


@case(hosts(topology("a", "b", "c", node("d", replica_of="a"))))
def a_replica_by_the_file_serves(world: World) -> None:
    serve(world, a="0-4095", b="4096-8191", c="8192-12287", d="12288-16383")
    world.join(*"abcd")


@case(hosts(topology(node("a", slots=slots("0-99")), "b", "c")))
def explicit_slots_are_elsewhere(world: World) -> None:
    serve(world, a="0-49,100-200", b="50-99,201-8191", c="8192-16383")
    world.join("a", "b", "c")


@case(hosts(topology(node("a", slots=NONE), "b", "c")))
def slots_on_a_node_that_is_to_have_none(world: World) -> None:
    serve(world, a="0-5", b="6-8191", c="8192-16383")
    world.join("a", "b", "c")


@case(hosts(topology(node("a", slots=NONE), "b", "c", node("d", replica_of="a"), node("e", replica_of="b"))))
def a_node_without_slots_that_has_a_replica(world: World) -> None:
    serve(world, b="0-8191", c="8192-16383")
    follow(world, d="a", e="b")
    world.join(*"abcde")


@case(hosts(topology(node("a", slots=slots("0-5460")), *"bcdef", replicas=1)))
def explicit_slots_follow_a_failover(world: World) -> None:
    formed(world)
    serve(world, a="", d="0-5460")
    follow(world, a="d", d=None)  # type: ignore[arg-type]


@case(SPELLED)
def a_failover_of_roles_that_are_spelled_out(world: World) -> None:
    explicit_slots_follow_a_failover(world)


@case(SIX)
def a_failover_of_roles_that_were_placed(world: World) -> None:
    explicit_slots_follow_a_failover(world)


@case(SPELLED)
def a_replica_that_moved(world: World) -> None:
    formed(world)
    follow(world, d="b")


@case(SPELLED)
def an_old_primary_that_comes_back_empty(world: World) -> None:
    serve(world, d="0-5460", b="5461-10922", c="10923-16383")
    follow(world, e="b", f="c")
    world.join(*"bcdef")


@case(SIX)
def a_replica_that_knows_no_primary(world: World) -> None:
    formed(world)
    world["d"].primary, world["d"].flags = None, frozenset({"slave"})


@case(SIX)
def replicas_of_each_other(world: World) -> None:
    formed(world)
    follow(world, d="e", e="d", f="e")


@case(hosts(topology(*"abc", slots="none")))
def a_mesh_only_takes_slots_and_keys_as_they_are(world: World) -> None:
    serve(world, a="0-5", b="9")
    world["c"].keys = 3


@case(hosts(topology(*"ab", slots="none")))
def a_mesh_only_refuses_an_overlap(world: World) -> None:
    serve(world, a="0-5", b="5-9")


@pytest.mark.parametrize("name", CASES)
def test_what_forbids_going_on_and_what_is_kept(name: str) -> None:
    top, facts = CASES[name]
    world = fresh(top)
    facts(world)
    adopted = adopt(top, world.views())
    assert shown((*adopted.refusals, *adopted.target.warnings)) == sections("adopt.txt").get(name)


def test_a_replica_of_a_replica_is_sent_to_the_primary_of_both() -> None:
    world = fresh(SIX)
    formed(world)
    follow(world, e="d", f="e")
    adopted = adopt(SIX, world.views())
    assert adopted.refusals == ()
    assert told(adopted.target)[3:] == ["d > a", "e > a", "f > a"]
    assert plan(SIX, adopted.target, world.views()).steps == (Replicate("e", "a"), Replicate("f", "a"))


def test_a_primary_without_slots_that_has_a_replica_stays_one_and_gets_its_share() -> None:
    world = fresh(SIX)
    formed(world)
    serve(world, a="")
    adopted = adopt(SIX, world.views())
    assert adopted.refusals == ()
    assert plan(SIX, adopted.target, world.views()).steps == (AddSlots("a", slots("0-5460")),)


def test_an_old_primary_that_comes_back_empty_replicates_the_node_that_took_over() -> None:
    world = fresh(SPELLED)
    an_old_primary_that_comes_back_empty(world)
    assert plan(SPELLED, adopt(SPELLED, world.views()).target, world.views()).steps == (
        Meet("b", "a", "10.0.0.1", 7001),
        Replicate("a", "d"),
    )


def test_a_primary_that_was_reset_half_way_gets_its_epoch_and_slots_again() -> None:
    world = fresh(THREE)
    serve(world, b="5461-10922", c="10923-16383")
    world["b"].epoch, world["c"].epoch = 2, 3
    steps = plan(THREE, adopt(THREE, world.views()).target, world.views()).steps
    assert steps[:2] == (SetEpoch("a", 1), AddSlots("a", slots("0-5460")))


def test_a_replica_of_a_stranger_that_it_lists_is_left_to_preflight() -> None:
    world = fresh(THREE)
    world["c"].lines, world["c"].flags = (stranger(1),), frozenset({"slave"})
    views = world.views()
    mine = replace(views["c"].me, primary=stranger(1).id)
    views["c"] = replace(views["c"], peers=(mine, stranger(1)))
    assert adopt(THREE, views).refusals == ()
    views["c"] = replace(views["c"], peers=(mine,))
    assert [problem.code for problem in adopt(THREE, views).refusals] == ["replica-without-primary"]


def test_a_node_that_is_importing_its_first_slots_is_not_made_a_replica() -> None:
    """It may hold keys already, which are not lost while it is importing."""
    world = fresh(SPELLED)
    formed(world)
    follow(world, d=None)
    views = world.views()
    me = replace(views["d"].me, importing=((1, "x"),))
    views["d"] = replace(views["d"], peers=(me, *views["d"].peers[1:]), databases={0: 3})
    refusals = adopt(SPELLED, views).refusals
    assert [(each.code, each.node, each.peer) for each in refusals] == [("resharding", "d", "a")]


def test_slots_that_others_take_for_their_old_owners_are_refused_unless_they_are_on_their_way() -> None:
    world = fresh(THREE)
    serve(world, b="5461-10922", c="10923-16383")
    world.join(*"abc")
    views = world.views()
    old = replace(views["b"].me, slots=slots("0-10922"), flags=frozenset({"master"}))
    views["a"] = replace(views["a"], peers=(views["a"].me, world.peer("c", "a"), old))
    (held,) = adopt(THREE, views).refusals
    assert (held.code, held.node, held.peer) == ("slots-held", "a", "b")
    assert held.hint is not None
    assert held.hint.endswith("CLUSTER DELSLOTS on a; then run this again")
    me = replace(views["c"].me, importing=((1, "x"),))
    views["c"] = replace(views["c"], peers=(me, *views["c"].peers[1:]))
    assert adopt(THREE, views).refusals == ()


def test_of_three_clusters_the_two_that_own_a_slot_both_are_named_by_the_nodes_that_do() -> None:
    top = topology(*"abcd", slots="none")
    world = fresh(top)
    serve(world, a="0-5", b="6-9", c="9-12", d="100")
    world.join("a", "b")
    refusals = adopt(top, world.views()).refusals
    assert [(each.code, each.node, each.peer) for each in refusals] == [("slots-overlap", "b", "c")]


def test_up_to_five_other_clusters_are_named() -> None:
    for names, others in (("abcdef", "b, c, d, e and f:"), ("abcdefg", "b, c, d, e, f and 1 more:")):
        top = topology(*names)
        world = fresh(top)
        for index, name in enumerate(names):
            world[name].slots = slots(f"{16383 - index}")
        (first, *_) = adopt(top, world.views()).refusals
        assert (first.code, first.node) == ("two-clusters", "a")
        assert f"does not know {others} two clusters" in first.message


def test_only_slots_that_are_held_need_a_second_look() -> None:
    one, other = Problem("slots-held", "m", exit=Exit.REFUSED), Problem("two-clusters", "m")
    assert needs_recheck([one, other]) == {one}


def old(world: World, *names: str) -> None:
    for name in names:
        world[name].info["redis_version"] = "6.2.14"


def test_a_half_built_cluster_of_mixed_versions_is_one_by_the_placement_of_mixed_versions() -> None:
    top = hosts(topology(*"abcd", replicas=1))
    world = fresh(top)
    old(world, "c", "d")
    serve(world, c="0-8191", d="8192-16383")
    assert adopt(top, world.views()).refusals == ()


def test_what_a_mixed_cluster_has_otherwise_is_told_by_the_placement_that_is_nearer() -> None:
    """By the roles of the file alone two have failed over, by those of mixed versions one."""
    top = hosts(topology(*"abcdef", replicas=1))
    world = fresh(top)
    old(world, "d", "e", "f")
    serve(world, d="0-5460", e="5461-10922", c="10923-16383")
    follow(world, a="d", b="e", f="c")
    world.join(*"abcdef")
    told_of = [each.node for each in adopt(top, world.views()).target.warnings if each.code == "failed-over"]
    assert len(told_of) == 1


def test_slots_that_another_node_is_to_have_are_kept_with_a_warning_and_moved_on_demand() -> None:
    top = hosts(
        topology(*(node(n, slots=slots(s)) for n, s in (("a", "0-9"), ("b", "10-19"), ("c", "20-16383"))))
    )
    world = fresh(top)
    serve(world, a="10-19", b="0-9", c="20-16383")
    world.join(*"abc")
    adopted = adopt(top, world.views())
    assert (adopted.refusals, adopted.stages) == ((), ())
    assert [each.code for each in adopted.target.warnings] == ["shares-differ"]
    assert adopted.target.spots["a"].slots == slots("10-19")
    [moves] = adopt(top, world.views(), rebalance=True).stages
    assert moves == (MoveSlots("a", "b", slots("10-19")), MoveSlots("b", "a", slots("0-9")))


def test_a_failover_is_no_replica_too_many() -> None:
    """As many serve as the file has primaries, of which there are more than replicas."""
    spelled = (node(name, role="primary") for name in "abc")
    top = hosts(topology(*spelled, node("d", replica_of="a")))
    world = fresh(top)
    serve(world, d="0-5460", b="5461-10922", c="10923-16383")
    follow(world, a="d")
    world.join(*"abcd")
    assert adopt(top, world.views()).refusals == ()
