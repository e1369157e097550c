"""Mixed versions on real servers: newer nodes replicate older ones, and what cannot work is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.harness.cli import clusterboot
from tests.harness.ready import why_not_ready
from tests.servers.pool import Nodes, Pool, problems

# The older one first.
PAIRS = [("redis62", "redis70"), ("redis70", "valkey91"), ("redis62", "valkey91")]
Pair = tuple[Nodes, Nodes]


@pytest.fixture
def pair(pool: Pool, tmp_path: Path, require: Callable[[str], str]) -> Callable[[tuple[str, str]], Pair]:
    """Two fresh nodes of each of two kinds."""
    return lambda kinds: (
        pool.take(require(kinds[0]), 2, tmp_path),
        pool.take(require(kinds[1]), 2, tmp_path),
    )


def topology(folder: Path, nodes: list[Any], **keys: object) -> Path:
    path = folder / "mixed.yaml"
    path.write_text(json.dumps({"version": 1, "nodes": nodes, **keys}))
    return path


def spots(document: dict[str, Any]) -> dict[str, tuple[str, str | None]]:
    return {node["name"]: (node["role"], node["primary"]) for node in document["nodes"]}


@pytest.mark.parametrize("kinds", PAIRS, ids="+".join)
def test_nodes_of_two_versions_form_a_cluster_in_whatever_order_they_are_listed(
    kinds: tuple[str, str], pair: Callable[[tuple[str, str]], Pair], tmp_path: Path
) -> None:
    for newer_first in (False, True) if kinds == PAIRS[0] else (True,):
        old, new = pair(kinds)
        groups = (new.addresses, old.addresses) if newer_first else (old.addresses, new.addresses)
        file = topology(tmp_path, [*groups[0], *groups[1]], replicas=1)
        dry = clusterboot("up", file, "--dry-run", "-o", "json").json()
        outcome = new.up(file, "-o", "json")
        assert why_not_ready([*old.addresses, *new.addresses]) is None
        found = spots(outcome.json())
        assert {name for name, (role, _) in found.items() if role == "primary"} == set(old.addresses)
        assert sorted(head or "" for head, _ in (found[name][::-1] for name in new.addresses)) == sorted(
            old.addresses
        )
        assert {
            (step["node"], step["primary"]) for step in dry["plan"]["steps"] if step["kind"] == "replicate"
        } == {(name, found[name][1]) for name in new.addresses}
        assert {each["code"] for each in problems(outcome, "warnings")} >= {"failover-not-followed"}
        assert clusterboot("status", file).exit == 0


@pytest.mark.parametrize("kinds", PAIRS[:2], ids="+".join)
def test_what_cannot_replicate_is_refused_at_once_with_both_versions(
    kinds: tuple[str, str], pair: Callable[[tuple[str, str]], Pair], tmp_path: Path
) -> None:
    old, new = pair(kinds)
    (primary, other), (replica, _) = new.addresses, old.addresses
    nodes: list[Any] = [primary, other]
    for port, head in zip(old.ports, (primary, other), strict=True):
        nodes.append({"host": "127.0.0.1", "port": port, "replica_of": head})
    outcome = new.up(topology(tmp_path, nodes), "-o", "json", exit=3)
    assert (old.changes(), new.changes()) == ({}, {})
    (found,) = problems(outcome)
    assert (found["code"], found["node"], found["peer"]) == ("versions-cannot-replicate", replica, primary)
    versions = [
        row["version"] for row in clusterboot("status", tmp_path / "mixed.yaml", "-o", "json").json()["nodes"]
    ]
    assert all(version in found["message"] for version in (versions[0], versions[2]))


def test_roles_that_somebody_else_has_given_are_the_reason_and_no_password(
    pair: Callable[[tuple[str, str]], Pair], tmp_path: Path
) -> None:
    old, new = pair(PAIRS[0])
    primary, replica = new.addresses[0], old.addresses[0]
    new.ok(0, "CLUSTER", "ADDSLOTSRANGE", 0, 16383)
    new.ok(0, "CLUSTER", "MEET", "127.0.0.1", old.ports[0])
    new.until(lambda: old.call(0, "CLUSTER", "REPLICATE", new.id(0)) == "OK", "it replicates the newer one")
    new.until(lambda: why_not_ready([primary, replica], mesh_only=True) is None, "they know each other")
    file = topology(tmp_path, [primary, replica], replicas=1)
    old.forget()
    new.forget()
    status = clusterboot("status", file, "-o", "json")
    assert status.exit == 4
    (reason,) = problems(status, "reasons")
    assert reason["code"] == "versions-cannot-replicate"
    assert "redis 6.2" in reason["message"]
    assert "redis 7.0" in reason["message"]
    (refused,) = problems(new.up(file, "-o", "json", exit=3))
    assert (refused["code"], refused["node"], refused["peer"]) == (
        "versions-cannot-replicate",
        replica,
        primary,
    )
    assert (old.changes(), new.changes()) == ({}, {})


def test_an_older_node_that_follows_after_a_failover_is_not_refused(
    pair: Callable[[tuple[str, str]], Pair], tmp_path: Path
) -> None:
    """A partial sync needs no RDB file, so it works until somebody needs a full one."""
    old, new = pair(PAIRS[0])
    addresses = [old.addresses[0], new.addresses[0]]
    file = topology(tmp_path, addresses, replicas=1)
    new.up(file)
    new.until(lambda: new.call(0, "CLUSTER", "FAILOVER") == "OK", "a failover begins")
    new.until(lambda: "role:slave" in old.ok(0, "INFO", "replication"), "the newer one has taken over")
    new.until(lambda: why_not_ready(addresses) is None, "the older one follows")
    outcome = new.up(file, "-o", "json")
    assert outcome.json()["steps"] == []
