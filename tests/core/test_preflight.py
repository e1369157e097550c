"""What must not be: facts in, exact problems out (cases/preflight.txt)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from clusterboot.core.adopt import adopt
from clusterboot.core.preflight import no_way_in, refusals, warnings
from clusterboot.core.views import View
from clusterboot.errors import Exit
from clusterboot.topology import Topology
from tests.core.problems import sections, shown
from tests.core.world import World, fresh, node, slots, stranger, topology

THREE = topology("a", "b", "c")
EIGHT = topology(*"abcdefgh")
VERSIONS = ("versions-cannot-replicate", "failover-not-followed")
Facts = Callable[[World], None]
CASES: dict[str, tuple[Topology, Facts]] = {}


def case(top: Topology) -> Callable[[Facts], Facts]:
    """Add a case: what a world looks like when it is looked at for `top`."""

    def add(facts: Facts) -> Facts:
        CASES[facts.__name__.replace("_", " ")] = (top, facts)
        return facts

    return add


def tell(world: World, names: str, **line: Any) -> None:
    """Let each of `names` list one more node."""
    for name in names:
        world[name].lines = (*world[name].lines, stranger(len(world[name].lines) + 1, **line))


@case(THREE)
def fresh_nodes(world: World) -> None:
    pass


@case(THREE)
def a_handshake_is_no_stranger(world: World) -> None:
    tell(world, "ab", flags=("handshake",))


@case(THREE)
def a_stranger(world: World) -> None:
    tell(world, "ac")


@case(EIGHT)
def many_strangers_known_to_many_and_one_known_to_one(world: World) -> None:
    for port in range(6379, 6386):
        tell(world, "abcdefgh", port=port)
    tell(world, "b", ip="2001:db8::1")


@case(THREE)
def a_stranger_that_one_node_finds_failed_and_another_does_not(world: World) -> None:
    tell(world, "a", flags=("master", "fail"))
    tell(world, "b")


@case(THREE)
def a_failed_stranger_with_slots_is_no_ghost(world: World) -> None:
    tell(world, "ab", flags=("master", "fail"), slots=slots("0-5460"))


@case(THREE)
def a_suspected_stranger_is_no_ghost(world: World) -> None:
    tell(world, "b", flags=("master", "fail?"))


@case(EIGHT)
def a_ghost_without_address_is_forgotten_by_all_who_list_it(world: World) -> None:
    tell(world, "abcdefgh", flags=("master", "noaddr"), ip="")


@case(THREE)
def a_failed_node_without_slots_is_a_ghost(world: World) -> None:
    tell(world, "abc", flags=("slave", "fail"))


@case(THREE)
def a_ghost_whose_address_another_node_has_now(world: World) -> None:
    tell(world, "ab", flags=("master", "fail"), ip="10.0.0.1", port=7003)


@case(THREE)
def a_node_that_has_just_come_back_empty(world: World) -> None:
    line = {"ip": "10.0.0.1", "port": 7003, "connected": False, "slots": slots("0-5460")}
    world.join("a", "b")
    tell(world, "ab", **line)


@case(THREE)
def a_living_node_of_another_network_with_the_address_of_one_of_us(world: World) -> None:
    tell(world, "ab", ip="10.0.0.1", port=7003)


@case(THREE)
def a_loopback_address_is_one_of_the_tellers_own_host(world: World) -> None:
    world["c"].ip = "127.0.0.1"
    tell(world, "ab", ip="127.0.0.1", port=7003, connected=False)


@case(THREE)
def a_ghost_without_address_beside_one_node_that_knows_no_other(world: World) -> None:
    world.join("a", "b")
    tell(world, "ab", flags=("master", "noaddr"), ip="")


@case(THREE)
def a_ghost_with_a_replica_among_us(world: World) -> None:
    tell(world, "bc", flags=("master", "noaddr"), ip="", slots=slots("0-5460"))
    world["c"].flags = frozenset({"slave"})


@case(THREE)
def one_server_listed_twice(world: World) -> None:
    world["b"].id = world["a"].id
    world["b"].info["run_id"] = "run-a"


@case(THREE)
def one_server_listed_three_times(world: World) -> None:
    for name in "bc":
        world[name].id = world["a"].id
        world[name].info["run_id"] = "run-a"


@case(THREE)
def a_copied_nodes_conf(world: World) -> None:
    world["c"].id = world["a"].id


@case(THREE)
def one_id_without_run_ids(world: World) -> None:
    world["c"].id = world["a"].id
    world["c"].info["run_id"] = world["a"].info["run_id"] = ""


@case(topology("a", "b", "c", "d"))
def a_copied_nodes_conf_and_a_server_listed_twice(world: World) -> None:
    for name in "bc":
        world[name].id = world["a"].id
    world["b"].info["run_id"] = "run-a"


@case(topology(node("a", bus_port=9001), node("b", bus_port=17002), "c"))
def a_bus_port_of_its_own_on_redis_3(world: World) -> None:
    for name in "abc":
        world[name].info["redis_version"] = "3.2.13"


@case(topology("a", "b", "c", "d"))
def servers_of_different_kinds_and_versions(world: World) -> None:
    world["b"].info["redis_version"] = "6.2.14"
    world["c"].info["valkey_version"] = "9.1.2"
    world["d"].info["redis_version"] = ""


@pytest.mark.parametrize("name", CASES)
def test_what_must_not_be(name: str) -> None:
    top, facts = CASES[name]
    world = fresh(top)
    facts(world)
    views = world.views()
    if name == "a ghost with a replica among us":
        ghost = world["c"].lines[0].id
        peers = (replace(views["c"].me, primary=ghost), *views["c"].peers[1:])
        views["c"] = replace(views["c"], peers=peers)
    found = (*refusals(top, views), *warnings(views))
    assert shown(found) == sections("preflight.txt").get(name)
    adopt(top, views)  # whatever is wrong, status still wants a target


def test_a_node_that_is_away_is_no_stranger() -> None:
    world = fresh(THREE)
    tell(world, "ab")
    views = world.views("ab")
    assert [problem.code for problem in refusals(THREE, views)] == ["stranger"]
    assert refusals(THREE, views, {stranger(1).id}) == ()


@pytest.mark.parametrize(
    ("name", "top", "old"),
    [
        ("an older replica by the file", topology("a", node("b", replica_of="a")), "b"),
        (
            "older replicas by the file",
            topology(
                *(node(name, role="primary") for name in "abcdefg"),
                *(node(f"x{i}", role="replica") for i in range(7)),
            ),
            [f"x{i}" for i in range(7)],
        ),
        ("older nodes are primaries where nothing is spelled out", topology(*"abcd", replicas=1), "cd"),
    ],
)
def test_versions_that_cannot_replicate(name: str, top: Topology, old: str) -> None:
    world = fresh(top)
    for each in old:
        world[each].info["redis_version"] = "6.2.14"
    adopted = adopt(top, world.views())
    found = (*no_way_in(adopted.target, world.views()), *adopted.target.warnings)
    assert shown(each for each in found if each.code in VERSIONS) == sections("preflight.txt")[name]


def test_neither_of_two_lines_reads_the_other_and_one_reads_it_for_a_while() -> None:
    top = topology("a", node("b", replica_of="a"))
    world = fresh(top)
    found = []
    for one, other in (
        ("redis 8.0.6", "valkey 9.1.2"),
        ("valkey 9.1.2", "redis 8.0.6"),
        ("valkey 9.1.2", "redis 7.0.15"),
    ):
        for name, server in (("a", one), ("b", other)):
            kind, _, version = server.partition(" ")
            world[name].info = {"redis_version": version} | (
                {"valkey_version": version} if kind == "valkey" else {}
            )
        found += no_way_in(adopt(top, world.views()).target, world.views())
    assert [each.message for each in found] == [
        "b cannot replicate a: valkey 9.1.2 does not read the data format of redis 8.0.6.",
        "b cannot replicate a: redis 8.0.6 reads what valkey 9.1.2 sends only until a hash field has a "
        "time to live.",
        "b cannot replicate a: redis 7.0.15 does not read the data format of valkey 9.1.2.",
    ]


@pytest.mark.parametrize(
    ("info", "refused"),
    [
        ({"master_link_status": "up"}, False),
        ({"master_link_status": "down", "master_link_down_since_seconds": "7"}, False),
        ({"master_link_status": "down", "master_link_down_since_seconds": "-1"}, True),
    ],
)
def test_an_older_replica_that_was_in_sync_goes_on(info: dict[str, str], *, refused: bool) -> None:
    """With a partial sync it may go on for ever; only one that never was in sync surely cannot be."""
    top = topology(*"abcd", replicas=1)
    world = fresh(top)
    world.join(*"abcd")
    for head, old, text in (("a", "c", "0-8191"), ("b", "d", "8192-16383")):
        world[head].slots, world[old].primary = slots(text), head
        world[old].info = {"redis_version": "6.2.14", **info}
    adopted = adopt(top, world.views())
    found = [each.code for each in no_way_in(adopted.target, world.views())]
    assert (adopted.refusals, found) == ((), ["versions-cannot-replicate"] if refused else [])
    assert not any(each.code in ("failed-over", *VERSIONS) for each in adopted.target.warnings)


def config(view: View, **settings: str) -> View:
    return replace(view, config={name.replace("_", "-"): value for name, value in settings.items()})


def test_a_replica_without_a_password_for_its_primary() -> None:
    top = topology("a", "b", replicas=1)
    views = fresh(top).views()
    target = adopt(top, views).target
    views = {"a": config(views["a"], requirepass="set"), "b": config(views["b"], masterauth="")}
    assert shown(no_way_in(target, views)) == sections("preflight.txt")["no masterauth"]
    views["b"] = config(views["b"], masterauth="set")
    assert no_way_in(target, views) == ()
    views["b"] = config(views["b"])
    assert no_way_in(target, views) == (), "unknown where CONFIG is refused"


def test_what_is_only_unfortunate_is_warned_of() -> None:
    views = fresh(THREE).views()
    assert not [*warnings(views)]
    hidden = {name: replace(view, info={}) for name, view in views.items() if name != "c"}
    moving = {
        name: replace(view, peers=(replace(view.me, migrating=((1, "x"),)), *view.peers[1:]))
        for name, view in views.items()
        if name != "c"
    }
    newer = {"b": replace(views["b"], info={"redis_version": "8.0.6"})}
    for found, code, told in (
        (hidden, "info-refused", "a and b do not answer INFO: "),
        ({"a": hidden["a"]}, "info-refused", "a does not answer INFO: "),
        (moving, "slots-open", "a and b have slots that are being "),
        ({"a": moving["a"]}, "slots-open", "a has slots that are being "),
        (newer, "mixed-versions", "the nodes run different major versions: redis 7 on c, redis 8 on b."),
    ):
        (warning,) = warnings({**views, **found})
        assert (warning.code, warning.exit) == (code, Exit.DONE)
        assert warning.message.startswith(told)


def test_the_replica_that_is_too_old_is_found_behind_one_that_is_not() -> None:
    top = topology("a", node("b", replica_of="a"), "c", node("d", replica_of="c"))
    world = fresh(top)
    world["d"].info["redis_version"] = "6.2.14"
    (found,) = no_way_in(adopt(top, world.views()).target, world.views())
    assert (found.code, found.node, found.peer) == ("versions-cannot-replicate", "d", "c")


def test_a_ghost_is_told_by_the_best_of_its_lines_and_by_the_address_that_a_node_announces() -> None:
    world = fresh(THREE)
    gone = stranger(1, flags=("master", "fail"), ip="192.0.2.7", port=7001)
    world["a"].lines = (replace(gone, ip="", port=0),)
    world["b"].lines = (gone,)
    views = world.views()
    views["c"] = replace(views["c"], peers=(replace(views["c"].me, ip="192.0.2.7", port=7001),))
    (ghost,) = refusals(THREE, views)
    assert (ghost.code, ghost.peer) == ("ghost", "c")
    assert "192.0.2.7:7001" in ghost.message


def test_two_strangers_at_one_address_are_told() -> None:
    world = fresh(THREE)
    world["a"].lines = (stranger(2), stranger(1))
    (found,) = refusals(THREE, world.views())
    assert found.code == "stranger"


@pytest.mark.parametrize(("version", "refused"), [("3.2.13", True), ("4.0.0", False), ("", False)])
def test_since_redis_4_a_bus_port_may_be_any(version: str, *, refused: bool) -> None:
    top = topology(node("a", bus_port=9001), "b")
    world = fresh(top)
    world["a"].info["redis_version"] = version
    codes = [each.code for each in refusals(top, world.views())]
    assert ("bus-port-too-old" in codes) == refused


def test_after_a_failover_one_primary_cannot_replicate() -> None:
    top = topology("a", node("b", replica_of="a"))
    world = fresh(top)
    world["a"].info["redis_version"] = "6.2.14"
    found = [each for each in adopt(top, world.views()).target.warnings if each.code == VERSIONS[1]]
    assert [each.message.partition(":")[0] for each in found] == ["after a failover a cannot replicate b"]
