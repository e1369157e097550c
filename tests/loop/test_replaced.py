"""A node that comes back empty: what is said of it, and that its hint, taken literally, ends in Ready."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from tests.conftest import ONE_KIND
from tests.harness.cli import clusterboot
from tests.harness.ready import why_not_ready
from tests.harness.servers import Servers
from tests.loop.test_nodes import Start, running, timers, wait, write

A, B, C, D = range(4)
QUICK = ("--repl-diskless-sync-delay", "0")


def replace(nodes: Servers, index: int) -> str:
    """Let a node lose its disk and come back; returns the id that it had."""
    old = str(nodes.call(index, "CLUSTER", "MYID"))
    nodes.kill(index)
    shutil.rmtree(nodes.folder / str(nodes.ports[index]))
    nodes.restart(index)
    return old


def obey(nodes: Servers, hint: str) -> list[tuple[str, str]]:
    """Run the commands of a hint, each as it stands there; returns what was run and where."""
    done = []
    for command, where in re.findall(r"run (CLUSTER [A-Z]+ \w+) on ((?:\w, )*\w(?: and \w)?)\b", hint):
        for name in re.findall(r"\b\w\b", where):
            assert nodes.call("abcd".index(name), *command.split()) == "OK", (command, name)
            done.append((command, name))
    return done


@ONE_KIND
def test_a_primary_that_lost_its_disk_and_has_a_replica(
    servers: Start, server_kind: str, tmp_path: Path
) -> None:
    nodes = servers(server_kind, 4, extra=QUICK)
    file = write(tmp_path, nodes, replicas=1)
    assert clusterboot("up", file).exit == 0
    old = replace(nodes, B)
    # With two primaries nobody is elected, on Valkey neither, which notices at once that b is gone.
    wait(lambda: all("noaddr" in nodes.call(i, "CLUSTER", "NODES") for i in (A, C, D)), "all miss b")
    for command, problems in (("status", "reasons"), ("up", "errors")):
        outcome = clusterboot(command, file, "-o", "json")
        ghost = outcome.json()[problems][0]
        assert (ghost["code"], ghost["node"], ghost["peer"]) == ("ghost", "a", "b"), outcome
        assert ghost["message"] == (
            f"a, c and d still know a node that is gone: at no known address (id {old}); maybe the "
            "former id of b, which is empty and knows no other node."
        )
        # Not the passwords of its replica, and not `up`, which would only refuse.
        rest = outcome.json()[problems][1:]
        assert not [each for each in rest if "masterauth" in each["hint"] or each["hint"].startswith("run ")]
    forget = [(f"CLUSTER FORGET {old}", name) for name in "acd"]
    assert obey(nodes, ghost["hint"]) == [("CLUSTER FAILOVER TAKEOVER", "d"), *forget]
    assert clusterboot("up", file).exit == 0
    assert why_not_ready(nodes.addresses) is None


@ONE_KIND
def test_a_primary_that_is_replaced_in_the_middle_of_a_run(
    servers: Start, server_kind: str, tmp_path: Path
) -> None:
    # The first sync waits five seconds, so that the run is not over before b is replaced.
    nodes = servers(server_kind, 4, node_timeout=1000, extra=("--repl-diskless-sync", "yes"))
    file = write(tmp_path, nodes, replicas=1)
    with running(file, "--no-boost", timeout=30) as end:
        wait(lambda: f"slave {nodes.call(B, 'CLUSTER', 'MYID')}" in _myself(nodes, D), "d replicates b")
        wait(lambda: why_not_ready(nodes.addresses, mesh_only=True) is None, "all know each other")
        old = replace(nodes, B)
        outcome = end()
    new = nodes.call(B, "CLUSTER", "MYID")
    assert outcome.exit == 5, outcome
    (error,) = outcome.json()["errors"]
    assert (error["code"], error["node"]) == ("node-replaced", "b")
    assert error["message"] == (
        f"b was replaced during this run: {nodes.addresses[B]} answers with another node id now ({new}, "
        f"before {old})."
    )
    assert [timers(nodes, index)["cluster-replica-no-failover"] for index in (A, C, D)] == ["no"] * 3
    done = obey(nodes, error["hint"])
    assert done[-3:] == [(f"CLUSTER FORGET {old}", name) for name in "acd"]
    assert clusterboot("up", file).exit == 0
    assert why_not_ready(nodes.addresses) is None


def _myself(nodes: Servers, index: int) -> str:
    lines = nodes.call(index, "CLUSTER", "NODES").splitlines()
    return next(line for line in lines if "myself" in line)
