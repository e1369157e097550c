"""Addresses: what nodes announce against what the file says, loopback among others, and nodes that moved."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from clusterboot.core.addressing import contradictions, meeting_point
from clusterboot.core.extra_meets import MAX_MEETS_PER_ROUND, moved_meets
from clusterboot.core.preflight import out_of_reach
from clusterboot.core.steps import Meet
from clusterboot.core.views import View
from clusterboot.errors import Exit
from clusterboot.topology import Announce, Topology
from tests.core.world import World, fresh, node, topology


def known(view: View, **config: str) -> View:
    """The view with settings that CONFIG GET gave."""
    return replace(view, config={name.replace("_", "-"): value for name, value in config.items()})


def announcing(announce: Announce, **config: Any) -> list[tuple[str, str, str | None]]:
    """What is wrong with a node that announces `config` where the file says `announce`."""
    top = topology(node("a", announce=announce), "b")
    views = fresh(top).views()
    views["a"] = known(views["a"], **config)
    found = list(contradictions(top, views))
    assert all((each.node, each.exit) == ("a", Exit.REFUSED) for each in found)
    return [(each.code, each.message, each.hint) for each in found]


IP = {"cluster_announce_ip": "192.0.2.1"}


@pytest.mark.parametrize(
    ("announce", "config"),
    [
        (Announce("192.0.2.1", None, None), IP),
        (Announce("2001:db8::1", None, None), {"cluster_announce_ip": "2001:db8:0::1"}),
        (Announce("192.0.2.1", 7001, 17001), IP),  # its own ports
        (Announce("192.0.2.1", 9001, None), {**IP, "cluster_announce_port": "9001"}),
        (Announce("192.0.2.1", None, 9002), {**IP, "cluster_announce_bus_port": "9002"}),
        (Announce("10.0.0.1", None, None), {"cluster_announce_ip": ""}),  # where its packets come from
        (Announce("192.0.2.1", None, None), {}),  # unknown
        (
            Announce("192.0.2.1", 9001, None),
            {**IP, "tls_cluster": "yes", "cluster_announce_port": "5", "cluster_announce_tls_port": "9001"},
        ),
    ],
)
def test_what_a_node_announces_and_the_file_says_too(announce: Announce, config: dict[str, str]) -> None:
    assert announcing(announce, **config) == []


def test_what_a_node_announces_otherwise_is_refused_with_the_commands_that_correct_it() -> None:
    ((code, message, hint),) = announcing(Announce("192.0.2.2", 9001, 9002), **IP)
    assert code == "announce-contradiction"
    assert message == (
        "a announces 192.0.2.1 as cluster-announce-ip, 7001 as cluster-announce-port, 17001 as "
        "cluster-announce-bus-port, the topology says 192.0.2.2, 9001, 9002: what the node announces wins."
    )
    assert hint is not None
    assert hint.startswith(
        "on a: CONFIG SET cluster-announce-ip 192.0.2.2; CONFIG SET cluster-announce-port 9001; "
        "CONFIG SET cluster-announce-bus-port 9002 (and"
    )


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"cluster_announce_ip": ""}, "nothing as cluster-announce-ip"),
        ({**IP, "cluster_announce_ip": "no address"}, "no address as cluster-announce-ip"),
        ({"tls_cluster": "yes", "cluster_announce_tls_port": "5"}, "5 as cluster-announce-port"),
    ],
)
def test_what_it_announces_instead_is_told(config: dict[str, str], said: str) -> None:
    ((_, message, _),) = announcing(Announce("192.0.2.1", 7001, None), **config)
    assert message.startswith(f"a announces {said}, the topology says ")


def test_the_bus_port_of_the_node_itself_is_announced_where_announce_has_none() -> None:
    top = topology(node("a", bus_port=9000, announce=Announce("192.0.2.1", None, None)))
    views = fresh(top).views()
    (found,) = contradictions(top, {"a": known(views["a"], **IP)})
    assert found.message.startswith("a announces 17001 as cluster-announce-bus-port, the topology says 9000:")
    assert list(contradictions(top, {})) == []


def test_a_node_with_unknown_ports_contradicts_nothing() -> None:
    top = topology(node("a", announce=Announce("192.0.2.1", 9001, 9002)))
    (view,) = fresh(top).views().values()
    view = replace(known(view, **IP), peers=(replace(view.me, port=0, bus_port=0),))
    assert list(contradictions(top, {"a": view})) == []


def test_a_node_at_loopback_among_others_is_not_met_there() -> None:
    top = topology(node("a", host="127.0.0.1"), node("b", host="::1"), node("c"))
    views = fresh(top).views()
    views = {name: replace(view, peers=(replace(view.me, ip=""),)) for name, view in views.items()}
    meets = [Meet("c", "a", "127.0.0.1", 7001), Meet("a", "c", "10.0.0.1", 7003)]
    (found,) = out_of_reach(top, meets, views)
    assert (found.code, found.node, found.peer) == ("loopback-among-others", "a", "c")
    assert found.message == (
        "a would be met at 127.0.0.1, which only its own host reaches; c is at 10.0.0.1."
    )
    assert found.exit is Exit.REFUSED
    same = topology(node("a", host="127.0.0.1"), node("b", host="::1"))
    assert out_of_reach(same, meets[:1], views) == ()
    views["b"] = known(views["b"], cluster_announce_ip="192.0.2.2")
    (found,) = out_of_reach(same, meets[:1], views)
    assert (found.node, found.peer) == ("a", "b"), "known to others by another address than it is dialled at"


def test_where_a_node_is_met() -> None:
    a = node("a", host="127.0.0.1")
    view = fresh(topology(node("a"))).view("a")
    assert meeting_point(a, None) == ("127.0.0.1", 7001, None)
    assert meeting_point(a, replace(view, ip="127.0.0.1")) == ("10.0.0.1", 7001, None)
    silent = known(view, cluster_announce_ip="")
    assert meeting_point(a, replace(silent, ip="192.0.2.9")) == ("192.0.2.9", 7001, None)
    assert meeting_point(a, known(view, cluster_announce_ip="192.0.2.7")) == ("192.0.2.7", 7001, None)
    said = replace(a, announce=Announce("192.0.2.8", 9001, 9002))
    assert meeting_point(said, view) == ("192.0.2.8", 9001, 9002)


def restarted(names: str, at: dict[str, int]) -> tuple[Topology, World]:
    """Nodes that know each other; those in `at` restarted at these ports, unknown to the others."""
    top = topology(*(node(name, port=at.get(name, 7000 + i)) for i, name in enumerate(names)))
    world = World(
        *fresh(topology(*(node(name, port=7000 + i) for i, name in enumerate(names)))).servers.values()
    )
    world.join(*names)
    for name in at:
        for other in names:
            if other != name:
                world[name].cut.add(other)
                world[other].cut.add(name)
    return top, world


def pairs(top: Topology, world: World, at: dict[str, int]) -> list[tuple[str, str, int]]:
    views = world.views()
    for name, port in at.items():
        me = replace(views[name].me, port=port)
        views[name] = replace(views[name], peers=(me, *views[name].peers[1:]))
    return [(meet.node, meet.peer, meet.port) for meet in moved_meets({n.name: n for n in top.nodes}, views)]


def test_a_pair_with_an_old_address_gets_one_meet_at_the_new_one() -> None:
    at = {"b": 8001, "c": 8002}
    top, world = restarted("abc", at)
    expected = [("a", "b", 8001), ("a", "c", 8002), ("b", "c", 8002)]
    assert pairs(top, world, at) == expected
    assert pairs(topology(*"abc"), world, at) == expected, "what a node says wins over where it is dialled"


def test_a_pair_of_which_one_reaches_the_other_needs_none() -> None:
    at = {"b": 8001}
    top, world = restarted("abc", at)
    world["b"].cut.discard("a")
    assert pairs(top, world, at) == [("c", "b", 8001)]
    world["c"].cut.clear()
    assert pairs(top, world, at) == []


def test_a_link_that_is_only_down_needs_none() -> None:
    top, world = restarted("ab", {})
    world["a"].cut, world["b"].cut = {"b"}, {"a"}
    assert pairs(top, world, {}) == []


def test_one_node_sends_a_batch_at_most() -> None:
    names = "abcdefghijklmnopqrstuvwxyz"
    at = {name: 8000 + i for i, name in enumerate(names) if name != "a"}
    top, world = restarted(names, at)
    found = pairs(top, world, at)
    assert [each for each in found if each[0] == "a"] == [
        ("a", name, 8000 + i) for i, name in enumerate(names) if 0 < i <= MAX_MEETS_PER_ROUND
    ]
    senders = [each[0] for each in found]
    assert max(senders.count(name) for name in names) == MAX_MEETS_PER_ROUND
    assert len({frozenset(each[:2]) for each in found}) == len(found)


@pytest.mark.parametrize(
    ("info", "way_out"),
    [
        ({"redis_version": "6.2.14"}, ": before Redis 7.0 the bus port is always port + 10000, here 17002"),
        ({"redis_version": "7.0.15"}, ", or set cluster-port 9000 in its configuration file and restart it"),
        ({"redis_version": ""}, ", or set cluster-port 9000 in its configuration file and restart it"),
        (
            {"redis_version": "6.2.14", "valkey_version": "8.0.1"},
            ", or set cluster-port 9000 in its configuration file and restart it",
        ),
    ],
)
def test_another_bus_port_than_the_file_says(info: dict[str, str], way_out: str) -> None:
    top = topology("a", node("b", bus_port=9000))
    world = fresh(top)
    world["b"].info |= info
    (found,) = contradictions(top, {"b": world.view("b")})  # a is away
    assert (found.code, found.node, found.exit) == ("bus-port-contradiction", "b", Exit.REFUSED)
    assert found.message == "b has its cluster bus at port 17002, the topology says 9000."
    assert found.hint == f"take bus_port out of the topology{way_out}"
