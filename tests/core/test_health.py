"""The verdict: each reason by itself, and agreement with the definition spelled out the slow way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterboot.core.health import Judge
from clusterboot.core.placement import Placement, place
from clusterboot.core.plan import plan
from clusterboot.core.steps import AddSlots, Replicate
from clusterboot.core.views import View
from clusterboot.errors import Exit, Problem
from tests.core.problems import shown
from tests.core.world import World, examples, fresh, slots, stranger, topology

TOP = topology(*"abcdef", replicas=1)
TARGET = place(TOP)
EVERYBODY = "abcdef"


def ready() -> World:
    world = fresh(TOP)
    world.do(*plan(TOP, TARGET).steps)
    return world


def judge(views: Mapping[str, View], *, mesh_only: bool = False) -> Judge:
    return Judge(TARGET, {name: view.id for name, view in views.items()}, mesh_only=mesh_only)


def test_a_ready_cluster() -> None:
    views = ready().views()
    verdict = judge(views).verdict(views)
    assert (verdict.ready, verdict.mesh, verdict.reasons) == (True, True, ())
    assert (verdict.links, verdict.total, verdict.complete, len(verdict.covered)) == (30, 30, 6, 16384)


def line(view: View, teller_lists: str, **what: Any) -> View:
    """The view with one line changed, told by the port of the node that it is about."""
    port = 7001 + "abcdef".index(teller_lists)
    peers = tuple(replace(peer, **what) if peer.port == port else peer for peer in view.peers)
    return replace(view, peers=peers)


def without(view: View, name: str) -> View:
    return replace(view, peers=tuple(peer for peer in view.peers if peer.port != 7001 + "abcdef".index(name)))


Change = Callable[[dict[str, View]], None]
REASONS: list[tuple[str, Change, str]] = [
    (
        "one misses one",
        lambda v: v.update(a=without(v["a"], "b")),
        "not ready not-seen of a and b: a does not see b.",
    ),
    (
        "one misses many",
        lambda v: v.update(a=replace(v["a"], peers=v["a"].peers[:1])),
        "not ready not-seen of a: a does not see b, c, d, e and f.",
    ),
    (
        "a link is down",
        lambda v: v.update(a=line(v["a"], "b", connected=False)),
        "not ready not-seen of a and b",
    ),
    *(
        (
            f"a node is {flag}",
            lambda v, flag=flag: v.update(c=line(v["c"], "b", flags=frozenset({"master", flag}))),  # type: ignore[misc]
            "not ready not-seen of c and b",
        )
        for flag in ("fail", "fail?", "noaddr", "handshake")
    ),
    (
        "a handshake with a random id",
        lambda v: v.update(b=replace(v["b"], peers=(*v["b"].peers, stranger(1, flags=("handshake",))))),
        "not ready handshake of b: b still has an unfinished handshake.",
    ),
    (
        "a handshake while a node is missing is most likely with that one",
        lambda v: v.update(
            b=replace(
                without(v["b"], "a"), peers=(*without(v["b"], "a").peers, stranger(1, flags=("handshake",)))
            )
        ),
        "not ready not-seen of b and a",
    ),
    (
        "strangers",
        lambda v: v.update(b=replace(v["b"], peers=(*v["b"].peers, stranger(2), stranger(1)))),
        f"not ready stranger of b: b lists {0xF001:040x} and {0xF002:040x}, which is not the id of any "
        "node of the topology.",
    ),
    (
        "another role",
        lambda v: v.update(e=line(v["e"], "d", flags=frozenset({"master"}), primary=None)),
        "not ready roles-disagree of e and d: e has other roles or slots than planned for d.",
    ),
    (
        "another primary",
        lambda v: v.update(e=line(v["e"], "d", primary=v["b"].id)),
        "not ready roles-disagree of e and d: e has other roles or slots than planned for d.",
    ),
    (
        "other slots",
        lambda v: v.update(e=line(v["e"], "a", slots=slots("0-5459"))),
        "not ready roles-disagree of e and a: e has other roles or slots than planned for a.",
    ),
    (
        "slots that no node serves",
        lambda v: v.update(a=line(v["a"], "a", slots=slots("0-5459"))),
        "not ready slots-missing: no node serves the slot 5460 (1 of 16384).\n"
        "  → run 'clusterboot up': it does what is missing",
    ),
    (
        "slots of another",
        lambda v: v.update(b=line(v["b"], "b", slots=slots("5460-10922"))),
        "not ready roles-disagree of b: b has other roles or slots than planned for itself.",
    ),
    (
        "cluster_state",
        lambda v: v.update(f=replace(v["f"], cluster={"cluster_state": "fail"})),
        "not ready state-fail of f: f says cluster_state:fail.",
    ),
    (
        "a replica out of sync",
        lambda v: v.update(f=replace(v["f"], info={"role": "slave", "master_link_status": "down"})),
        "not ready replica-out-of-sync of f and c: f is not in sync with its primary: its link is down.",
    ),
    (
        "a replica that is syncing",
        lambda v: v.update(
            f=replace(
                v["f"],
                info={"role": "slave", "master_link_status": "down", "master_sync_in_progress": "1"},
            )
        ),
        "not ready replica-out-of-sync of f and c: f is not in sync with its primary: its link is down, a "
        "sync is in progress.",
    ),
]


@pytest.mark.parametrize(("change", "expected"), [r[1:] for r in REASONS], ids=[r[0] for r in REASONS])
def test_every_reason_why_not(change: Change, expected: str) -> None:
    views = ready().views()
    ours = judge(views)
    change(views)
    verdict = ours.verdict(views)
    assert not verdict.ready
    told = shown(verdict.reasons)
    # Without the sentences where another row has them.
    assert expected in (told, "\n".join(line.partition(":")[0] for line in told.splitlines()))
    assert all(reason.exit is Exit.NOT_READY for reason in verdict.reasons)


def halfway(*undone: str) -> World:
    """A mesh in which every step of the plan is done but the REPLICATE, or the slots, of these nodes."""
    world = fresh(TOP)
    world.join(*EVERYBODY)
    steps = plan(TOP, TARGET).steps
    world.do(*(each for each in steps if isinstance(each, AddSlots | Replicate) and each.node not in undone))
    return world


UP = "\n  → run 'clusterboot up': it does what is missing"


def test_a_mesh_without_slots_and_replicas_has_two_reasons() -> None:
    views = halfway(*EVERYBODY).views()
    assert shown(judge(views).verdict(views).reasons) == (
        f"not ready slots-missing: no node serves the slots 0-16383 (16384 of 16384).{UP}\n"
        "not ready replicas-missing of d: 3 nodes are not replicas of their primaries yet: "
        f"d of a, e of b and f of c.{UP}"
    )


def test_what_all_nodes_say_of_a_node_that_lags_behind_is_told_once() -> None:
    views = halfway("e").views()
    assert shown(judge(views).verdict(views).reasons) == (
        f"not ready replicas-missing of e and b: e is not a replica of b yet.{UP}"
    )


def test_a_replica_of_another_primary_is_to_become_one_of_its_own() -> None:
    world = halfway("e")
    world["e"].primary = "a"
    views = world.views()
    assert "e is not a replica of b yet" in shown(judge(views).verdict(views).reasons)


def test_nodes_with_other_news_of_a_node_that_lags_behind_are_told_too() -> None:
    views = halfway("e").views()
    views["a"] = line(views["a"], "e", flags=frozenset({"slave"}), primary=views["c"].id)
    views["d"] = line(views["d"], "b", slots=slots("5461-10000"))
    views["f"] = replace(views["f"], cluster={"cluster_state": "fail"})
    assert [reason.message for reason in judge(views).verdict(views).reasons] == [
        "a has other roles or slots than planned for e.",
        "d has other roles or slots than planned for b.",
        "e is not a replica of b yet.",
        "f says cluster_state:fail.",
    ]


def test_a_replica_that_does_not_see_its_primary_lacks_that_first() -> None:
    views = halfway("e").views()
    views["e"] = without(views["e"], "b")
    assert [reason.code for reason in judge(views).verdict(views).reasons] == ["not-seen"]


def test_a_mesh_is_not_held_up_by_roles_slots_states_or_sync() -> None:
    views = fresh(TOP).views()
    assert not judge(views, mesh_only=True).verdict(views).mesh
    world = fresh(TOP)
    world.join(*EVERYBODY)
    views = world.views()
    verdict = judge(views, mesh_only=True).verdict(views)
    assert (verdict.ready, verdict.mesh, verdict.reasons) == (True, True, ())
    full = judge(views).verdict(views)
    assert (full.ready, full.mesh) == (False, True)


def test_a_node_that_is_away_is_a_reason_and_neither_mesh_nor_ready() -> None:
    views = ready().views()
    ours = judge(views)
    gone = Problem("not-answering", "f does not answer.", node="f", exit=Exit.NODE)
    verdict = ours.verdict({name: views[name] for name in "abcde"}, {"f": gone})
    assert (verdict.ready, verdict.mesh, verdict.reasons) == (False, False, (gone,))
    # An old view of it changes nothing.
    assert not ours.verdict(views, {"f": gone}).ready


def naive(target: Placement, ids: dict[str, str], views: dict[str, View]) -> bool:
    """Ready, word by word as in the definition."""
    planned = {
        ids[name]: (spot.role == "replica", ids[spot.primary] if spot.primary else None, spot.slots)
        for name, spot in target.spots.items()
    }
    for view in views.values():
        if sorted(peer.id for peer in view.peers) != sorted(ids.values()):
            return False
        for peer in view.peers:
            if not peer.connected or peer.flags & {"handshake", "noaddr", "fail", "fail?"}:
                return False
            replica, primary, served = planned[peer.id]
            if peer.replica is not replica or peer.slots != served or (replica and peer.primary != primary):
                return False
        if view.cluster.get("cluster_state") != "ok":
            return False
        if view.info["role"] != "master" and view.info.get("master_link_status") != "up":
            return False
    return True


@st.composite
def changes(draw: st.DrawFn) -> dict[str, View]:
    """Views of a Ready cluster with a few things changed, some of which change nothing."""
    views = ready().views()
    for _ in range(draw(st.integers(0, 3))):
        name, about = draw(st.sampled_from(EVERYBODY)), draw(st.sampled_from(EVERYBODY))
        view = views[name]
        match draw(st.integers(0, 8)):
            case 0 if about != name:
                views[name] = without(view, about)
            case 1:
                flag = draw(st.sampled_from(["handshake", "fail", "fail?", "noaddr", "nofailover"]))
                peers = tuple(
                    replace(p, flags=p.flags | {flag}) if p.port == 7001 + EVERYBODY.index(about) else p
                    for p in view.peers
                )
                views[name] = replace(view, peers=peers)
            case 2 if about != name:
                views[name] = line(view, about, connected=draw(st.booleans()))
            case 3:
                views[name] = line(view, about, slots=draw(st.sampled_from([slots(""), slots("0-5460")])))
            case 4:
                views[name] = line(view, about, primary=draw(st.sampled_from([None, views["a"].id])))
            case 5:
                flags = ("handshake",) if draw(st.booleans()) else ("master",)
                views[name] = replace(view, peers=(*view.peers, stranger(1, flags=flags)))
            case 6:
                views[name] = replace(view, cluster={"cluster_state": draw(st.sampled_from(["ok", "fail"]))})
            case 7:
                views[name] = replace(
                    view, info={**view.info, "role": draw(st.sampled_from(["master", "slave"]))}
                )
            case _:
                views[name] = replace(view, peers=view.peers[::-1])
    return views


@examples(400)
@given(st.lists(changes(), min_size=1, max_size=3))
def test_the_verdict_is_the_definition_whatever_was_looked_at_before(looks: list[dict[str, View]]) -> None:
    ids = {name: view.id for name, view in looks[0].items()}
    ours = Judge(TARGET, ids)
    for views in looks:
        verdict = ours.verdict(views)
        assert verdict.ready == naive(TARGET, ids, views)
        assert verdict.ready == (not verdict.reasons)
        assert verdict.mesh == all(health.meshed for health in verdict.nodes.values())


def test_links_are_counted_and_handshakes_too() -> None:
    top = topology("a", "b", "c")
    world = fresh(top)
    judge = Judge(place(top), {name: view.id for name, view in world.views().items()}, mesh_only=True)
    verdict = judge.verdict(world.views())
    assert (verdict.links, verdict.total) == (0, 6)
    assert not [each for each in verdict.reasons if "slot" in each.code]
    world.join("a", "b")
    world["a"].lines = (stranger(1, flags=("handshake",)), stranger(2, flags=("handshake",)))
    verdict = judge.verdict(world.views())
    assert verdict.links == 2
    assert verdict.nodes["a"].handshakes == 2
