"""Less time than forming a cluster takes: the end comes in time, and what it says is true."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from clusterboot import bootstrap
from clusterboot.commands.connect import connected
from clusterboot.errors import NodeFailed
from clusterboot.topology import load
from clusterboot.wire import client
from tests.harness.cli import Outcome, clusterboot
from tests.harness.servers import Servers

Start = Callable[..., Servers]
TIMEOUTS = (0.1, 0.3, 0.5, 1)
# On a busy machine less is not enough to find out more about a node than that it is slow.
ENOUGH = (0.3, 1)


@pytest.fixture
def nodes(servers: Start, any_server: str) -> Servers:
    return servers(any_server, 6)


def run(command: str, nodes: Servers, folder: Path, timeout: float) -> Outcome:
    file = folder / "t.yaml"
    listed = [{"name": "abcdef"[i], "host": "127.0.0.1", "port": port} for i, port in enumerate(nodes.ports)]
    file.write_text(nodes.topology(nodes=listed, replicas=1))
    outcome = clusterboot(command, file, "-o", "json", "--timeout", str(timeout), timeout=timeout + 2 + 10)
    assert outcome.json().get("seconds", 0) <= timeout + 2
    return outcome


def test_nodes_that_only_need_more_time_are_not_behind_a_firewall(nodes: Servers, tmp_path: Path) -> None:
    for timeout in TIMEOUTS:
        ended = run("up", nodes, tmp_path, timeout)
        if ended.exit:
            assert ended.exit == 4, ended
            first, *rest = ended.json()["errors"]
            assert first["message"] == f"not Ready within {timeout:g} s."
            assert first["hint"] == (
                "run the same command again: it goes on from here; --timeout gives it longer"
            )
        else:
            rest = []
        # A cluster that is being formed, as anybody else finds it.
        looked = run("status", nodes, tmp_path, timeout)
        told = {reason["code"] for reason in (*rest, *looked.json()["reasons"])}
        assert not {code for code in told if code.startswith("bus-") or code == "handshake-stuck"}, (
            ended,
            looked,
        )


def error_of(name: str, outcome: Outcome) -> dict[str, str]:
    """The error of one node; on a busy machine a healthy one may be too slow for so short a time as well."""
    (found,) = [error for error in outcome.json()["errors"] if error["node"] == name]
    return {key: found[key] for key in ("code", "message", "hint")}


@pytest.mark.parametrize("timeout", ENOUGH)
def test_a_stopped_node_is_named_within_any_time(nodes: Servers, tmp_path: Path, timeout: float) -> None:
    nodes.stop(1)
    found = error_of("b", run("up", nodes, tmp_path, timeout))
    assert re.fullmatch(r"b takes connections but did not answer within 0\.\d s\.", found.pop("message"))
    assert found == {
        "code": "not-answering",
        "hint": "check whether the process is stopped, stuck or overloaded; or allow more time with "
        "--timeout",
    }


@pytest.mark.parametrize("timeout", ENOUGH)
def test_a_dead_node_is_named_within_any_time(nodes: Servers, tmp_path: Path, timeout: float) -> None:
    nodes.kill(2)
    assert error_of("c", run("up", nodes, tmp_path, timeout)) == {
        "code": "connection-refused",
        "message": f"c cannot be reached: nothing listens at {nodes.addresses[2]}.",
        "hint": "start the server, or let 'up --spawn' start it, or fix its host and port in the topology",
    }


TOPOLOGY = load("version: 1\nnodes: [a.example.test:6379, b.example.test:6379]\n", "t.yaml")
NO_PASSWORDS = {node.name: (None, None) for node in TOPOLOGY.nodes}


def test_a_start_that_takes_all_the_time_says_nothing_wrong_about_nodes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No name server answers here: clusterboot does not know yet whether a node takes connections."""

    async def resolve(host: str, port: int) -> tuple[str, ...]:
        await asyncio.Event().wait()
        raise AssertionError

    async def up() -> None:
        async with connected(TOPOLOGY, NO_PASSWORDS, 0.1) as fleet:
            asked = bootstrap.Request(TOPOLOGY, fleet, lambda event: None, timeout=2.0, spent=5.0)
            await bootstrap.up(asked)

    monkeypatch.setattr(client, "resolve", resolve)
    with pytest.raises(NodeFailed) as ended:
        asyncio.run(up())
    assert [problem.code for problem in ended.value.problems] == ["name-not-resolved"] * 2


def test_the_time_for_connecting_runs_while_redis_py_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(ModuleType):
        def __getattr__(self, name: str) -> object:
            if name == "Fleet":
                time.sleep(0.2)
            return getattr(client, name)

    monkeypatch.setitem(sys.modules, client.__name__, Slow(client.__name__))
    deadlines: list[float | None] = []
    fleet = client.Fleet

    def made(*given: object) -> client.Fleet:
        deadlines.append(given[2])  # type: ignore[arg-type]
        return fleet(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(client, "Fleet", made)

    async def connect() -> None:
        until = asyncio.get_running_loop().time() + 1.0
        async with connected(TOPOLOGY, {}, 1.0):
            assert deadlines[0] is not None
            assert deadlines[0] < until

    asyncio.run(connect())
