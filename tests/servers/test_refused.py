"""What `up` refuses: exit 3, all problems at once, and no node is changed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.harness.servers import Servers
from tests.servers.conftest import Take
from tests.servers.pool import Nodes, problems

THIRDS = ((0, 5460), (5461, 10922), (10923, 16383))


def _named(nodes: Nodes, count: int | None = None) -> list[dict[str, Any]]:
    """The nodes by the names a, b, c …"""
    return [
        {"name": chr(ord("a") + index), "host": "127.0.0.1", "port": port}
        for index, port in enumerate(nodes.ports[:count])
    ]


def _refused(nodes: Nodes, file: Path) -> list[tuple[str, str | None, str | None]]:
    """Run `up`, which must refuse and change nothing; return code, node and peer of each error."""
    before = [nodes.ok(index, "CLUSTER", "NODES").split()[0] for index in range(nodes.count)]
    nodes.forget()
    outcome = nodes.up(file, "-o", "json", exit=3)
    assert nodes.changes() == {}
    assert [nodes.ok(index, "CLUSTER", "NODES").split()[0] for index in range(nodes.count)] == before
    document = outcome.json()
    assert (document["exit"], document["ok"], document["ready"]) == (3, False, False)
    assert document["steps"] == []
    return outcome.named()


def test_two_live_clusters_are_not_merged(any_nodes: Take) -> None:
    six = any_nodes(6)
    six.join((0, 1, 2), THIRDS)
    six.join((3, 4, 5), THIRDS)
    assert _refused(six, six.file(nodes=_named(six), replicas=1)) == [
        *(("two-clusters", name, None) for name in "def"),
        ("slots-overlap", "a", "d"),
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
    assert found == [("two-clusters-with-keys", "b", None)]


def test_one_server_under_two_names_is_refused(any_nodes: Take) -> None:
    three = any_nodes(3)
    listed = [*_named(three), {"name": "again", "host": "localhost", "port": three.ports[1]}]
    assert _refused(three, three.file(nodes=listed)) == [("same-server", "b", "again")]


def test_a_copied_nodes_conf_is_refused(
    server_kind: str, servers: Callable[..., Servers], tmp_path: Path
) -> None:
    running = servers(server_kind, 3)
    running.kill(1)
    folders = [running.folder / str(port) for port in running.ports]
    shutil.copy(folders[0] / "nodes.conf", folders[1] / "nodes.conf")
    running.restart(1)
    three = Nodes(running, 3, tmp_path)
    assert _refused(three, three.file(nodes=_named(three))) == [("same-id", "a", "b")]


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
    assert _refused(three, three.file(nodes=_named(three))) == [("keys-without-slots", "b", None)]


def test_a_stranger_is_refused(any_nodes: Take) -> None:
    three = any_nodes(3)
    three.join((0, 1, 2))
    assert _refused(three, three.file(nodes=_named(three, 2))) == [("stranger", "a", three.addresses[2])]


def test_a_ghost_is_refused_and_told_apart_from_a_stranger(nodes: Take) -> None:
    three = nodes(3)
    three.join((0, 1, 2))
    gone = three.id(2)
    three.ok(2, "CLUSTER", "RESET", "HARD")
    three.until(
        lambda: all("noaddr" in three.ok(index, "CLUSTER", "NODES") for index in (0, 1)), "c is a ghost"
    )
    assert _refused(three, three.file(nodes=_named(three))) == [("ghost", "a", "c")]
    # And the way out that the message names is one.
    for index in (0, 1):
        three.ok(index, "CLUSTER", "FORGET", gone)
    three.ready_up(three.file(nodes=_named(three)))


def test_everything_that_is_wrong_is_told_in_one_go_as_text(any_nodes: Take) -> None:
    four = any_nodes(4)
    four.join((0, 1))
    listed = [*_named(four)[1:], {"name": "again", "host": "localhost", "port": four.ports[3]}]
    four.forget()
    outcome = four.up(four.file(nodes=listed), "--quiet", exit=3)
    assert four.changes() == {}
    assert outcome.out == ""
    lines = outcome.err.splitlines()
    assert [line.split()[0] for line in lines] == ["error:", "→", "error:", "→"]
    assert "d and again" in lines[0]
    assert f"{four.addresses[0]} (id {four.id(0)})" in lines[2]


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
    ((code, node, _),) = _refused(three, three.file(nodes=_named(three)))
    assert (code, node) == ("keys-elsewhere", "a")


def test_a_node_that_is_importing_slots_does_not_become_a_replica(nodes: Take) -> None:
    two = nodes(2)
    two.configure({"cluster-node-timeout": "500"})
    two.join((0, 1), ((0, 16383),))
    two.until(lambda: "cluster_state:ok" in two.ok(0, "CLUSTER", "INFO"), "a serves")
    two.ok(1, "CLUSTER", "SETSLOT", "5", "IMPORTING", two.id(0))
    assert _refused(two, two.file(nodes=_named(two), replicas=1)) == [("resharding", "b", "a")]


def test_slots_that_a_node_still_takes_for_anothers_are_refused_until_it_takes_them_back(
    any_nodes: Take,
) -> None:
    three = any_nodes(3)
    before, _ = _slots_held(three)
    three.ready_up(before)


def test_slots_that_a_node_still_takes_for_anothers_are_refused_until_the_others_drop_them(
    nodes: Take,
) -> None:
    three = nodes(3)
    _, after = _slots_held(three)
    for index in (1, 2):
        three.ok(index, "CLUSTER", "DELSLOTS", *range(100))
    three.ready_up(after)


def _slots_held(three: Nodes) -> tuple[Path, Path]:
    """Let a drop 100 slots that b takes for those of a, and is to serve.

    Returns the topologies before and after the change.
    """
    slots = ("0-5460", "5461-10922", "10923-16383"), ("100-5460", "0-99,5461-10922", "10923-16383")
    before, after = (
        three.file(name, nodes=[node | {"slots": own} for node, own in zip(_named(three), each, strict=True)])
        for name, each in zip(("before.yaml", "after.yaml"), slots, strict=True)
    )
    three.ready_up(before)
    three.ok(0, "CLUSTER", "DELSLOTS", *range(100))
    assert _refused(three, after) == [("slots-held", "b", "a")]
    return before, after
