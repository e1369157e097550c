"""`down --reset --yes`: live nodes are reset to standalone, without slots, or nothing happens at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.harness.cli import Outcome, clusterboot
from tests.harness.servers import Servers
from tests.servers.conftest import Take
from tests.servers.pool import TIMERS, Nodes, problems


def _down(file: Path, *flags: str, exit: int = 0) -> Outcome:  # noqa: A002
    outcome = clusterboot("down", file, "--reset", "--yes", *flags)
    assert outcome.exit == exit, outcome
    return outcome


def _single(nodes: Nodes) -> None:
    """Each node knows only itself, owns no slots, is a primary and has its own timers."""
    for index in range(nodes.count):
        (line,) = nodes.ok(index, "CLUSTER", "NODES").splitlines()
        fields = line.split()
        # Redis 6.2 tells for a moment longer that its elections were off.
        assert set(fields[2].split(",")) - {"nofailover"} == {"myself", "master"}, line
        assert (fields[3], fields[6]) == ("-", "0"), line
        assert len(fields) == 8, line
        assert nodes.ok(index, "DBSIZE") == 0
    assert nodes.all_timers() == [TIMERS] * nodes.count


def test_after_a_reset_the_nodes_are_single_for_good_and_up_works_again(nodes: Take) -> None:
    six = nodes(6)
    file = six.file(replicas=1)
    six.ready_up(file)
    ids = [six.id(index) for index in range(6)]
    outcome = _down(file, "-o", "json")
    document = outcome.json()
    assert document["reset"] == six.addresses
    assert (document["stopped"], document["gone"], document["left"]) == ([], [], [])
    _single(six)
    assert not set(ids) & {six.id(index) for index in range(6)}
    six.forget()
    six.ready_up(file)
    assert len(six.sent("CLUSTER", "MEET")) == 5


def test_keys_are_deleted_only_with_flush(any_nodes: Take) -> None:
    three = any_nodes(3)
    file = three.file()
    three.ready_up(file)
    three.ok(2, "SET", "foo", "1")  # slot 12182
    three.forget()
    refused = _down(file, "-o", "json", exit=3)
    assert three.changes() == {}
    assert three.why_not_ready() is None
    assert refused.named() == [("has-keys", three.addresses[2], None)]
    _down(file, "--flush")
    _single(three)


def test_keys_of_a_replica_count_as_well(any_nodes: Take) -> None:
    two = any_nodes(2)
    file = two.file(replicas=1)
    two.ready_up(file)
    two.ok(0, "SET", "foo", "1")
    two.until(lambda: two.ok(1, "DBSIZE") == 1, "the replica has the key")
    two.forget()
    assert [p["node"] for p in problems(_down(file, "-o", "json", exit=3))] == two.addresses
    assert two.changes() == {}
    _down(file, "--flush")
    _single(two)


def test_nothing_is_reset_while_a_node_is_away(
    any_server: str, servers: Callable[..., Servers], tmp_path: Path
) -> None:
    three = Nodes(servers(any_server, 3), 3, tmp_path)
    file = three.file()
    three.ready_up(file)
    three.forget()
    three.servers.kill(1)
    assert _down(file, "-o", "json", exit=5).named() == [("connection-refused", three.addresses[1], None)]
    assert three.servers.changing(0) == three.servers.changing(2) == []


def test_nothing_is_reset_where_the_nodes_know_strangers(any_nodes: Take) -> None:
    three = any_nodes(3)
    three.join((0, 1, 2))
    three.forget()
    (problem,) = problems(_down(three.file(nodes=three.addresses[:2]), "-o", "json", exit=3))
    assert (problem["code"], problem["node"]) == ("stranger", three.addresses[0])
    assert three.changes() == {}


def test_a_half_built_cluster_is_reset_as_well(nodes: Take) -> None:
    three = nodes(3)
    three.join((0, 1), ((0, 99), (100, 199)))
    _down(three.file())
    _single(three)


def test_reset_wants_yes_and_flush_wants_reset(any_nodes: Take) -> None:
    two = any_nodes(2)
    cases: dict[tuple[str, ...], str] = {
        ("--reset",): "--reset permanently removes every node of the topology from its cluster.",
        ("--flush",): "--flush needs --reset.",
    }
    for flags, message in cases.items():
        outcome = clusterboot("down", two.file(), *flags, "-o", "json")
        assert outcome.exit == 2, outcome
        assert [p["message"] for p in problems(outcome)] == [message]
    assert two.changes() == {}


def test_without_reset_live_nodes_are_left_alone(any_nodes: Take) -> None:
    two = any_nodes(2)
    document: dict[str, Any] = clusterboot("down", two.file(), "-o", "json").json()
    assert document["left"] == two.addresses
    assert (document["exit"], document["reset"]) == (0, [])
    assert two.changes() == {}
