"""Nodes that join thirty which serve: the plan first, then extra MEETs, and no timer touched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.conftest import ONE_KIND
from tests.harness.cli import clusterboot
from tests.harness.servers import Servers
from tests.servers.pool import TIMERS, Nodes

COUNT = 30
# A first sync would begin five seconds later with the default, and nothing here is about that.
SETTINGS = {**TIMERS, "repl-diskless-sync-delay": "0"}


def _thirty(start: Callable[..., Servers], kind: str, folder: Path, *, node_timeout: int = 15000) -> Nodes:
    """Two fresh nodes beside a Ready cluster of thirty, fifteen of them replicas."""
    servers = start(kind, COUNT + 2, node_timeout=node_timeout, extra=("--repl-diskless-sync-delay", "0"))
    nodes = Nodes(servers, COUNT + 2, folder)
    _first(nodes, COUNT).ready_up(_file(nodes, COUNT))
    nodes.forget()
    return nodes


def _first(nodes: Nodes, count: int) -> Nodes:
    return Nodes(nodes.servers, count, nodes.folder)


def _file(nodes: Nodes, count: int, **keys: object) -> Path:
    """The first thirty with one replica each; the 31st replicates the first, the 32nd is a primary."""
    listed: list[dict[str, Any]] = [
        {"name": f"n{index}", "host": "127.0.0.1", "port": port}
        for index, port in enumerate(nodes.ports[:count])
    ]
    for index, node in enumerate(listed[:COUNT]):
        node |= {"role": "primary"} if index < COUNT // 2 else {"replica_of": f"n{index - COUNT // 2}"}
    for node in listed[COUNT : COUNT + 1]:
        node |= {"replica_of": "n0"}
    for node in listed[COUNT + 1 :]:
        node |= {"role": "primary", "slots": "none"}
    return nodes.file(f"{count}.yaml", nodes=listed, **keys)


@ONE_KIND
def test_a_replica_and_then_a_primary_join_thirty_that_serve(
    server_kind: str, servers: Callable[..., Servers], tmp_path: Path
) -> None:
    nodes = _thirty(servers, server_kind, tmp_path)
    for count, kinds in ((COUNT + 1, ["meet", "replicate"]), (COUNT + 2, ["meet"])):
        grown = _first(nodes, count)
        document = grown.ready_up(_file(nodes, count), "-o", "json").json()
        steps = document["steps"]
        assert [step["kind"] for step in steps if not step["extra"]] == kinds
        assert not steps[0]["extra"], "the printed plan goes first"
        extra = [step for step in steps if step["extra"]]
        assert document["extra_meets"] == len(extra)
        # Nothing but the newcomer's own links is made anew.
        assert {step["kind"] for step in extra} == {"meet"}
        assert all(f"n{count - 1}" in (step["node"], step["peer"]) for step in extra)
        assert len(grown.sent("CLUSTER", "MEET")) == 1 + len(extra)
        assert document["boost"]["used"] is False
        assert nodes.sent("CONFIG") == []
        assert nodes.all_timers() == [SETTINGS] * (COUNT + 2)
        nodes.forget()


def test_extra_meets_switched_off_leave_a_newcomer_to_gossip(
    any_server: str, servers: Callable[..., Servers], tmp_path: Path
) -> None:
    nodes = _thirty(servers, any_server, tmp_path, node_timeout=3000)  # gossip takes its time otherwise
    grown = _first(nodes, COUNT + 1)
    file = _file(nodes, COUNT + 1, plan={"extra_meets": False})
    document = clusterboot("-o", "json", "up", file, "--timeout", "60").json()
    assert document["exit"] == 0
    assert [step["kind"] for step in document["steps"]] == ["meet", "replicate"]
    assert document["extra_meets"] == 0
    assert len(grown.sent("CLUSTER", "MEET")) == 1
