"""Facts in, exact problems out: what a set of views and the evidence come to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from clusterboot.core.health import Judge
from clusterboot.core.placement import place
from clusterboot.core.verdict import Verdict
from clusterboot.core.views import View, parse_nodes
from clusterboot.diagnosis.blocked import Evidence
from clusterboot.diagnosis.bus import BusView
from clusterboot.diagnosis.diagnose import diagnose
from clusterboot.diagnosis.unsynced import unsynced
from clusterboot.errors import Exit, Problem
from clusterboot.slots import NONE
from clusterboot.topology import Topology, load

NAMES = "abcdefghijkl"


def topology(count: int) -> Topology:
    nodes = "".join(f"  - {{name: {NAMES[i]}, host: 10.0.0.{i + 1}, port: 6379}}\n" for i in range(count))
    return load(f"version: 1\nslots: none\nnodes:\n{nodes}", "t.yaml")


def line(name: str, flags: str, link: str = "connected", *, shaking: bool = False) -> str:
    index = NAMES.index(name)
    node_id = f"{index + 1 + 1000 * shaking:040x}"
    return f"{node_id} 10.0.0.{index + 1}:6379@16379 {flags} - 0 0 0 {link}\n"


def views(count: int, **lists: Mapping[str, str]) -> dict[str, View]:
    """Views of `count` nodes; `a={"b": "fail?"}` is what a lists of b. Whatever is not given is seen.

    "" is not listed at all, "handshake" a handshake with its address, "down" a link that is down.
    """
    found = {}
    for name in NAMES[:count]:
        text = line(name, "myself,master")
        for other in NAMES[:count].replace(name, ""):
            what = lists.get(name, {}).get(other, "master")
            if what == "handshake":
                text += line(other, "handshake", shaking=True)
            elif what == "down":
                text += line(other, "master", "disconnected")
            elif what:
                text += line(other, what if what == "master" else f"master,{what}")
        view = View(name, f"10.0.0.{NAMES.index(name) + 1}", parse_nodes(text), {"role": "master"})
        found[name] = view
    return found


def told(
    found: Mapping[str, View], evidence: Evidence | None = None, met: Iterable[tuple[str, str]] = ()
) -> list[tuple[str, str]]:
    top = topology(len(found))
    judge = Judge(place(top), {name: view.id for name, view in found.items()}, mesh_only=True)
    problems = diagnose(BusView(top, found, met), judge.verdict(found), evidence or Evidence())
    assert all(problem.exit is Exit.NOT_READY for problem in problems)
    return [(problem.code, problem.message) for problem in problems]


def misses_all(name: str, count: int, what: str = "") -> dict[str, str]:
    return dict.fromkeys(NAMES[:count].replace(name, ""), what)


def test_a_mesh_has_nothing_to_be_told_about() -> None:
    assert told(views(4)) == []


def test_two_halves_are_one_split_and_not_eight_pairs() -> None:
    left, right = dict.fromkeys("cd", "fail?"), dict.fromkeys("ab", "fail?")
    assert told(views(4, a=left, b=left, c=right, d=right)) == [
        (
            "bus-split",
            "the nodes are split on the cluster bus: a and b see each other; c and d see each other; nothing "
            "passes between them (CLUSTER NODES of all).",
        )
    ]


def test_one_node_that_all_others_miss_and_that_misses_all_is_cut_off() -> None:
    found = views(4, b=misses_all("b", 4, "fail?"), a={"b": "fail"}, c={"b": "fail"}, d={"b": "fail"})
    assert told(found, Evidence(ports={("10.0.0.2", 16379): "silent"})) == [
        (
            "bus-cut-off",
            "b is cut off from all other nodes on the cluster bus, in both directions: a, c and d list it as "
            "fail (CLUSTER NODES), and b sees no other node; from here it does not answer either: most "
            "likely a firewall drops the packets.",
        )
    ]


def test_more_than_five_blocked_ways_become_five_and_a_rest() -> None:
    # i misses a, j misses b, …: each way has a target and a teller of its own.
    lists = {teller: {target: "fail?"} for teller, target in zip("ghijkl", "abcdef", strict=True)}
    problems = told(views(12, **lists))
    assert len(problems) == 6
    assert problems[0] == (
        "bus-unreachable",
        "g cannot reach a on its bus port 10.0.0.1:16379: g lists it as fail? (CLUSTER NODES).",
    )
    assert problems[5] == (
        "bus-unreachable",
        "1 more connection between nodes is blocked on the cluster bus: l to f (10.0.0.6:16379).",
    )


def test_several_nodes_that_the_same_others_miss_alike_are_one_problem() -> None:
    found = views(4, a={"c": "fail?", "d": "fail?"}, b={"c": "fail?", "d": "fail?"})
    assert told(found) == [
        (
            "bus-unreachable",
            "no other node can reach c and d on their bus ports 10.0.0.3:16379 and 10.0.0.4:16379: a "
            "and b list "
            "them as fail? (CLUSTER NODES).",
        )
    ]


def test_knowledge_on_one_side_only_is_a_way_back_that_is_blocked() -> None:
    found = views(2, b=misses_all("b", 2))
    assert told(found, Evidence(ports={("10.0.0.1", 16379): "refused"})) == [
        (
            "bus-unreachable",
            "b cannot reach a on its bus port 10.0.0.1:16379: it lists b, but b does not list it "
            "(CLUSTER NODES "
            "of both); from here it refuses connections too: most likely nothing listens there, or a "
            "firewall "
            "rejects them.",
        )
    ]


def test_a_handshake_that_is_not_listed_is_told_from_what_was_sent() -> None:
    alone = {name: misses_all(name, 2) for name in "ab"}
    assert told(views(2, **alone), met=[("a", "b")]) == [
        (
            "bus-unreachable",
            "a cannot reach b on its bus port 10.0.0.2:16379: a was told to meet it and does not list it "
            "(CLUSTER NODES).",
        )
    ]


def test_a_connection_that_stands_without_an_answer_is_no_firewall() -> None:
    found = views(2, a={"b": "handshake"}, b=misses_all("b", 2))
    assert told(found, Evidence(links={"a": {("10.0.0.2", 16379): True}})) == [
        (
            "handshake-stuck",
            "a and b never finish their handshake on the cluster bus, 10.0.0.2:16379: a gets a "
            "connection to it "
            "but no answer (CLUSTER LINKS): most likely something else answers there.",
        )
    ]


def test_nodes_that_never_met_are_groups_and_not_blocked() -> None:
    alone = {name: misses_all(name, 7) for name in NAMES[:7]}
    assert told(views(7, **alone)) == [
        ("not-met", "the nodes are 7 groups that do not know each other: a | b | c | d | e | and 2 more.")
    ]


def test_a_gap_that_has_closed_by_now_is_not_told() -> None:
    found = views(3, a={"b": "down"})
    assert [code for code, _ in told(found, Evidence(closed={("a", "b")}))] == ["not-seen"]


def test_tls_on_one_side_is_told_before_what_a_firewall_might_do() -> None:
    found = views(2, a={"b": "handshake"}, b=misses_all("b", 2))
    assert told(found, Evidence(tls={"a": False, "b": True})) == [
        (
            "bus-tls-differs",
            "b speaks TLS on the cluster bus and a does not, so their handshake never completes (CONFIG GET "
            "tls-cluster of both).",
        )
    ]


@pytest.mark.parametrize("count", [2, 3, 5, 12])
def test_whatever_all_nodes_miss_of_each_other_a_few_sentences_say_it(count: int) -> None:
    for what in ("", "handshake", "fail?", "fail", "down"):
        lists = {name: misses_all(name, count, what) for name in NAMES[:count]}
        problems = told(views(count, **lists))
        assert 1 <= len(problems) <= 6, problems


def test_nodes_that_were_started_again_elsewhere_are_a_matter_of_up() -> None:
    found = views(3, **{name: misses_all(name, 3, "fail?") for name in "abc"})
    quiet = {"cluster-announce-ip": "", "cluster-announce-port": "0"}
    now = {name: replace(view, ip=f"10.0.1.{view.ip[-1]}", config=quiet) for name, view in found.items()}
    # The topology still has the old addresses: only the one that answered counts.
    assert told(now) == [
        (
            "node-moved",
            "a, b and c cannot be reached at 10.0.0.1:16379, 10.0.0.2:16379 and 10.0.0.3:16379, which the "
            "other nodes still have for them: they are at 10.0.1.1:6379, 10.0.1.2:6379 and 10.0.1.3:6379 "
            "now; b, c and a list them as fail? (CLUSTER NODES).",
        )
    ]
    # Where a MEET at the new address has not helped, the old one is not just left over.
    again = told(now, met=[("a", "b")])
    assert [code for code, _ in again] == ["announced-unreachable"] * 3
    assert "at 10.0.0.1:16379, the address that the others have for it; clusterboot" in again[0][1]
    announcing = {
        name: replace(view, config={"cluster-announce-ip": found[name].ip}) for name, view in now.items()
    }
    assert "at 10.0.0.1:16379, the address that it announces; clusterboot" in told(announcing)[0][1]


def test_a_node_that_does_not_answer_explains_what_the_others_miss() -> None:
    found = views(3, a={"b": "fail?"}, c={"b": "fail?"})
    top = topology(3)
    judge = Judge(place(top), {name: view.id for name, view in found.items()}, mesh_only=True)
    gone = Problem("connection-refused", "b cannot be reached.", node="b", exit=Exit.NODE)
    del found["b"]
    assert diagnose(BusView(top, found), judge.verdict(found, {"b": gone}), Evidence()) == (gone,)


B_SEEN = "10.0.0.2", 16379
TOLD = "told to forget a node (INFO commandstats): most likely b, which is then refused for 60 s"
NEWS = "or gossip about it is still under way."


@pytest.mark.parametrize(
    ("lists", "evidence", "message"),
    [
        (
            {"a": {"b": ""}},
            Evidence(forgot={"a"}, ports={B_SEEN: "open"}),
            "a does not list b, which sees it (CLUSTER NODES of both); from here its bus port 10.0.0.2:16379 "
            f"takes connections; a was {TOLD}, {NEWS}",
        ),
        (
            {"a": {"b": ""}, "c": {"b": ""}},
            Evidence(forgot={"a", "c", "d"}),
            f"a and c do not list b, which sees them (CLUSTER NODES of both); a and c were {TOLD}, {NEWS}",
        ),
        (
            {},
            Evidence(forgot={"c"}, dropped={("a", "b"), ("c", "b")}),
            f"a and c list b and drop it again (CLUSTER NODES); c was {TOLD}.",
        ),
        (  # a handshake that has ended by the time of CLUSTER LINKS
            {"a": {"b": "handshake"}},
            Evidence(forgot={"a"}, links={"a": {}}),
            f"a does not list b, which sees it (CLUSTER NODES of both); a was {TOLD}, {NEWS}",
        ),
    ],
)
def test_a_node_that_was_told_to_forget_another_is_no_firewall(
    lists: Mapping[str, Mapping[str, str]], evidence: Evidence, message: str
) -> None:
    assert told(views(4, **lists), evidence) == [("forgotten", message)]


def test_a_handshake_of_a_refused_node_is_no_reason_of_its_own() -> None:
    """It is met and dropped again about once a second."""
    found = views(4)
    found["b"] = replace(
        found["b"],
        peers=(*found["b"].peers, replace(found["b"].peers[-1], id="f" * 40, flags=frozenset({"handshake"}))),
    )
    assert [code for code, _ in told(found)] == ["handshake"]
    dropped = Evidence(forgot={"a"}, dropped={("a", "b")})
    assert [code for code, _ in told(found, dropped)] == ["forgotten"]


@pytest.mark.parametrize(
    ("what", "evidence"),
    [
        ("", Evidence(forgot={"c"})),  # before 7.2 Redis does not pass on which nodes it was told to forget
        ("", Evidence(forgot={"a"}, ports={B_SEEN: "silent"})),
        ("", Evidence(forgot={"a"}, closed={("a", "b")})),
        ("handshake", Evidence(forgot={"a"}, links={"a": {B_SEEN: False}})),
        ("fail?", Evidence(forgot={"a"})),
        ("", Evidence()),
    ],
)
def test_a_node_is_not_said_to_be_forgotten_where_that_is_not_likely(what: str, evidence: Evidence) -> None:
    assert [code for code, _ in told(views(4, a={"b": what}), evidence)] in (
        ["not-seen"],
        ["bus-unreachable"],
    )


def test_nodes_that_have_met_by_now_are_no_groups_that_do_not_know_each_other() -> None:
    alone = {name: misses_all(name, 2) for name in "ab"}
    found = told(views(2, **alone), Evidence(closed={("a", "b"), ("b", "a")}), met=[("a", "b")])
    assert [code for code, _ in found] == ["not-seen", "not-seen"]


@pytest.mark.parametrize(
    ("evidence", "code", "words"),
    [
        ({}, "replica-out-of-sync", "its link to 10.0.0.1:6379 is down"),
        ({"sync_delay": {"a": 5}}, "replica-waits", "a begins a sync 5 s after it is asked for one"),
        (
            {"sync_delay": {"a": 0}},
            "replica-waits",
            "a has not begun its sync, as while another save is under",
        ),
        ({"syncs": {"a": 1}}, "replica-waits", "waits for that (state=wait_bgsave in INFO replication of a)"),
        ({"syncs": {"a": 2}}, "replica-out-of-sync", "full syncs start again and again and do not end (INFO"),
        ({"unsaved": {"a"}}, "replica-out-of-sync", "a cannot save its data"),
        ({"denied": {"a": ("WRONGPASS",)}}, "replica-waits", "waits for that"),
    ],
)
def test_what_keeps_a_replica_out_of_sync(evidence: dict[str, Any], code: str, words: str) -> None:
    info = {"role": "slave", "master_host": "10.0.0.1", "master_port": "6379", "master_link_status": "down"}
    b = replace(views(2)["b"], info=info)
    line = {"connected_slaves": "1", "slave0": "ip=10.0.0.2,port=6379,state=wait_bgsave,offset=0,lag=0"}
    reason = Problem("replica-out-of-sync", "b is not in sync.", node="b", peer="a", exit=Exit.NOT_READY)
    verdict = Verdict(False, True, {}, 2, 2, NONE, (reason,))
    known = Evidence(**evidence, replication={"a": line} if evidence else {})
    (found,) = unsynced({"b": b}, verdict, known)
    assert (found.code, found.node, found.peer) == (code, "b", "a")
    assert words in found.message
