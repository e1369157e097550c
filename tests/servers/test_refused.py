"""What `up` refuses: exit 3, everything that is wrong in one go, and no node is changed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.harness.servers import Servers
from tests.servers.conftest import Take
from tests.servers.pool import Nodes, problems

START_OVER = "'clusterboot down TOPOLOGY --reset --yes' empties the nodes"
APART = f"give each cluster a topology of its own; if this is left over from another attempt, {START_OVER}"
THIRDS = ((0, 5460), (5461, 10922), (10923, 16383))


def _named(nodes: Nodes, count: int | None = None) -> list[dict[str, Any]]:
    """The nodes by the names a, b, c …, for messages that can be read."""
    return [
        {"name": chr(ord("a") + index), "host": "127.0.0.1", "port": port}
        for index, port in enumerate(nodes.ports[:count])
    ]


def _refused(nodes: Nodes, file: Path) -> list[tuple[str | None, ...]]:
    """Run `up`, which must refuse and change nothing.

    Returns code, node, peer, message and hint of each error.
    """
    before = [nodes.ok(index, "CLUSTER", "NODES").split()[0] for index in range(nodes.count)]
    nodes.forget()
    outcome = nodes.up(file, "-o", "json", exit=3)
    assert nodes.changes() == {}
    assert [nodes.ok(index, "CLUSTER", "NODES").split()[0] for index in range(nodes.count)] == before
    document = outcome.json()
    assert (document["exit"], document["ok"], document["ready"]) == (3, False, False)
    assert document["steps"] == []
    return [
        (found["code"], found["node"], found["peer"], found["message"], found["hint"])
        for found in problems(outcome)
    ]


def test_two_live_clusters_are_not_merged(nodes: Take) -> None:
    six = nodes(6)
    six.join((0, 1, 2), THIRDS)
    six.join((3, 4, 5), THIRDS)
    found = _refused(six, six.file(nodes=_named(six), replicas=1))
    ranges = [f"{low}-{high}" for low, high in THIRDS]
    assert found == [
        *(
            (
                "two-clusters",
                name,
                None,
                f"{name} already owns the slots {ranges[index]}, which this topology does not give it, and "
                "it does not know a: two clusters would be merged.",
                APART,
            )
            for index, name in enumerate("def")
        ),
        (
            "slots-overlap",
            "a",
            "d",
            "a and d do not know each other and both own the slots 0-16383: two clusters would be merged.",
            APART,
        ),
    ]


def test_two_live_clusters_with_keys_are_not_merged_even_where_slots_are_as_planned(any_nodes: Take) -> None:
    two = any_nodes(2)
    halves = ((0, 8191), (8192, 16383))
    for index, half in enumerate(halves):
        two.join((index,), (half,))
    two.configure({"cluster-require-full-coverage": "no", "cluster-node-timeout": "500"})
    two.until(lambda: "cluster_state:ok" in two.ok(1, "CLUSTER", "INFO"), "b serves its half")
    two.ok(1, "SET", "foo", "1")  # slot 12182
    found = _refused(two, two.file(nodes=_named(two)))
    two.configure({"cluster-require-full-coverage": "yes"})
    assert found == [
        (
            "two-clusters-with-keys",
            "b",
            None,
            "b holds 1 key and does not know a, which owns slots too: two clusters would be merged.",
            "give each cluster a topology of its own, or move the data away first",
        )
    ]


def test_one_server_under_two_names_is_refused(nodes: Take) -> None:
    three = nodes(3)
    listed = [*_named(three), {"name": "again", "host": "localhost", "port": three.ports[1]}]
    found = _refused(three, three.file(nodes=listed))
    assert found == [
        (
            "same-server",
            "b",
            "again",
            "b and again are the same server: one process answers at all of these addresses.",
            "list every server once; behind a load balancer use the servers' own addresses",
        )
    ]


def test_a_copied_nodes_conf_is_refused(
    server_kind: str, servers: Callable[..., Servers], tmp_path: Path
) -> None:
    running = servers(server_kind, 3)
    running.kill(1)
    folders = [running.folder / str(port) for port in running.ports]
    shutil.copy(folders[0] / "nodes.conf", folders[1] / "nodes.conf")
    running.restart(1)
    three = Nodes(running, 3, tmp_path)
    assert _refused(three, three.file(nodes=_named(three))) == [
        (
            "same-id",
            "a",
            "b",
            f"a and b have the same node id {three.id(0)}, as after copying nodes.conf or a whole "
            "data folder.",
            "run CLUSTER RESET HARD on b, or remove nodes.conf there and start again",
        )
    ]


def test_a_node_with_keys_and_without_slots_is_refused(nodes: Take) -> None:
    three = nodes(3)
    three.configure({"cluster-node-timeout": "500"})
    three.join((1,), ((0, 16383),))
    three.until(lambda: "cluster_state:ok" in three.ok(1, "CLUSTER", "INFO"), "b serves")
    for key in ("x", "y", "z"):
        three.ok(1, "SET", key, "1")
    # The slots without keys go away first: newer servers drop the keys of a slot together with it.
    slots = {three.ok(1, "CLUSTER", "KEYSLOT", key) for key in ("x", "y", "z")}
    three.ok(1, "CLUSTER", "DELSLOTS", *(slot for slot in range(16384) if slot not in slots))
    three.ok(1, "CLUSTER", "DELSLOTS", *slots)
    assert _refused(three, three.file(nodes=_named(three))) == [
        (
            "keys-without-slots",
            "b",
            None,
            "b holds 3 keys but owns no slots: its keys would be lost or unreachable.",
            "copy the keys elsewhere and empty the node (FLUSHALL), or leave it out of the topology",
        )
    ]


def test_a_stranger_is_refused(nodes: Take) -> None:
    three = nodes(3)
    three.join((0, 1, 2))
    assert _refused(three, three.file(nodes=_named(three, 2))) == [
        (
            "stranger",
            "a",
            three.addresses[2],
            f"a and b know {three.addresses[2]} (id {three.id(2)}), which is not in the topology: it "
            "lists only a part of the cluster, or two clusters would be merged.",
            "add what belongs to this cluster to the topology, or take these nodes out of the other one: "
            "CLUSTER RESET HARD on an empty node, 'redis-cli --cluster del-node' otherwise",
        )
    ]


def test_a_ghost_is_refused_and_told_apart_from_a_stranger(nodes: Take) -> None:
    three = nodes(3)
    three.join((0, 1, 2))
    gone = three.id(2)
    three.ok(2, "CLUSTER", "RESET", "HARD")
    three.until(
        lambda: all("noaddr" in three.ok(index, "CLUSTER", "NODES") for index in (0, 1)), "c is a ghost"
    )
    assert _refused(three, three.file(nodes=_named(three))) == [
        (
            "ghost",
            "a",
            "c",
            f"a and b still know a node that is gone: at no known address (id {gone}); maybe the former "
            "id of c, which is empty and knows no other node.",
            f"run CLUSTER FORGET {gone} on a and b, all within 60 seconds, then run this again",
        )
    ]
    # And the way out that the message names is one.
    for index in (0, 1):
        three.ok(index, "CLUSTER", "FORGET", gone)
    three.ready_up(three.file(nodes=_named(three)))


def test_everything_that_is_wrong_is_told_in_one_go_and_in_words(any_nodes: Take) -> None:
    four = any_nodes(4)
    four.join((0, 1))
    listed = [*_named(four)[1:], {"name": "again", "host": "localhost", "port": four.ports[3]}]
    four.forget()
    outcome = four.up(four.file(nodes=listed), "--quiet", exit=3)
    assert four.changes() == {}
    assert outcome.out == ""
    assert outcome.err.splitlines() == [
        "error: d and again are the same server: one process answers at all of these addresses.",
        "  → list every server once; behind a load balancer use the servers' own addresses",
        f"error: b knows {four.addresses[0]} (id {four.id(0)}), which is not in the topology: it lists "
        "only a part of the cluster, or two clusters would be merged.",
        "  → add what belongs to this cluster to the topology, or take these nodes out of the other one: "
        "CLUSTER RESET HARD on an empty node, 'redis-cli --cluster del-node' otherwise",
    ]


def test_slots_that_the_file_gives_to_somebody_else_are_refused(any_nodes: Take) -> None:
    two = any_nodes(2)
    listed = _named(two)
    two.ready_up(two.file(nodes=listed))
    other = [listed[0] | {"slots": "0-99"}, listed[1] | {"slots": "100-16383"}]
    found = _refused(two, two.file(nodes=other))
    assert [(code, node, peer, message) for code, node, peer, message, _ in found] == [
        ("slots-elsewhere", "a", "b", "a serves the slots 100-8191, which the topology gives to b.")
    ]


def test_a_dry_run_refuses_as_well(any_nodes: Take) -> None:
    three = any_nodes(3)
    three.join((0, 1, 2))
    three.forget()
    outcome = three.up(three.file(nodes=_named(three, 2)), "--dry-run", "-o", "json", exit=3)
    assert [found["code"] for found in problems(outcome)] == ["stranger"]
    assert three.changes() == {}


def test_keys_in_a_slot_that_another_node_would_get_are_refused(nodes: Take) -> None:
    three = nodes(3)
    three.configure({"cluster-node-timeout": "500"})
    three.join((0,), ((0, 16383),))
    three.until(lambda: "cluster_state:ok" in three.ok(0, "CLUSTER", "INFO"), "a serves")
    slot = three.ok(0, "CLUSTER", "KEYSLOT", "foo")
    keys = [f"{{foo}}{number}" for number in range(3)]
    for key in (*keys, "x"):
        three.ok(0, "SET", key, "1")
    three.ok(0, "CLUSTER", "DELSLOTS", str(slot))
    if three.ok(0, "CLUSTER", "COUNTKEYSINSLOT", str(slot)) == 0:
        pytest.skip("this server drops the keys of a slot together with it")
    found = _refused(three, three.file(nodes=_named(three)))
    assert [(code, node) for code, node, *_ in found] == [("keys-elsewhere", "a")]
    assert str(slot) in str(found[0][3])


def test_a_node_that_is_importing_slots_does_not_become_a_replica(nodes: Take) -> None:
    two = nodes(2)
    two.configure({"cluster-node-timeout": "500"})
    two.join((0, 1), ((0, 16383),))
    two.until(lambda: "cluster_state:ok" in two.ok(0, "CLUSTER", "INFO"), "a serves")
    two.ok(1, "CLUSTER", "SETSLOT", "5", "IMPORTING", two.id(0))
    assert _refused(two, two.file(nodes=_named(two), replicas=1)) == [
        (
            "resharding",
            "b",
            "a",
            "b is importing slots, and would become a replica of a: a reshard is under way or was "
            "interrupted.",
            "wait until it is done, or run 'redis-cli --cluster fix'; then run this again",
        )
    ]


@pytest.mark.parametrize("way_out", ["take them from it", "give them back"])
def test_slots_that_a_node_still_takes_for_anothers_are_refused_with_both_ways_out(
    nodes: Take, way_out: str
) -> None:
    three = nodes(3)
    before, after = ("0-5460", "5461-10922", "10923-16383"), ("100-5460", "0-99,5461-10922", "10923-16383")
    names = _named(three)
    first = [node | {"slots": slots} for node, slots in zip(names, before, strict=True)]
    then = [node | {"slots": slots} for node, slots in zip(names, after, strict=True)]
    three.ready_up(three.file(nodes=first))
    three.ok(0, "CLUSTER", "DELSLOTS", *range(100))
    assert _refused(three, three.file(nodes=then)) == [
        (
            "slots-held",
            "b",
            "a",
            "b is to serve the slots 0-99, but lists them as those of a, which no longer serves them "
            "(CLUSTER NODES of both): b would refuse them as busy.",
            "return them with CLUSTER ADDSLOTS on a, or clear them with CLUSTER DELSLOTS on b and "
            "c; then run this again",
        )
    ]
    if way_out == "give them back":
        three.ready_up(three.file(nodes=first))
        return
    for index in (1, 2):
        three.ok(index, "CLUSTER", "DELSLOTS", *range(100))
    three.ready_up(three.file(nodes=then))
