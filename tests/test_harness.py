"""The harness itself: with a probe that cannot say no, every other test would be worthless."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness.cli import ROOT, Outcome, clusterboot, environment
from tests.harness.ready import wait_ready, why_not_ready
from tests.harness.resp import Error
from tests.harness.servers import Servers, free_ports

Start = Callable[..., Servers]


def test_a_cluster_made_by_hand_is_ready_and_each_lack_is_named(server_kind: str, servers: Start) -> None:
    # No delay before the first sync of a replica: it is 5 s by default from Redis 7.0 on.
    three = servers(server_kind, 3, node_timeout=1000, extra=["--repl-diskless-sync-delay", "0"])
    assert "lists 1 nodes" in (why_not_ready(three.addresses) or "")
    for index in (1, 2):
        assert three.call(0, "CLUSTER", "MEET", "127.0.0.1", three.ports[index]) == "OK"
    wait_ready(three.addresses, mesh_only=True)
    assert why_not_ready(three.addresses) == "0 of 16384 slots are covered"

    assert three.call(0, "CLUSTER", "ADDSLOTS", *range(8192)) == "OK"
    assert three.call(1, "CLUSTER", "ADDSLOTS", *range(8192, 16384)) == "OK"
    assert three.call(2, "CLUSTER", "REPLICATE", three.call(0, "CLUSTER", "MYID")) == "OK"
    wait_ready(three.addresses)

    three.stop(1)
    assert three.addresses[1] in (why_not_ready(three.addresses, timeout=0.2) or "")
    three.cont(1)
    wait_ready(three.addresses)
    three.kill(2)
    assert three.addresses[2] in (why_not_ready(three.addresses) or "")
    three.restart(2)
    wait_ready(three.addresses)


def test_changing_lists_what_changes_a_cluster_in_order_and_leaves_probes_out(
    server_kind: str, servers: Start
) -> None:
    one = servers(server_kind, 1)
    for command in (
        "CLUSTER NODES",
        "CLUSTER MEET x 0",
        "CLUSTER REPLICATE x",
        "CLUSTER ADDSLOTS x",
        "CLUSTER SET-CONFIG-EPOCH x",
        "CONFIG SET cluster-node-timeout x",
        "cluster set-config-epoch 3",
        "CONFIG GET port",
        "CONFIG SET cluster-node-timeout 900",
        "CLUSTER ADDSLOTS 1 2",
        "CLUSTER RESET HARD",
        "INFO",
    ):
        one.call(0, *command.split())
    assert one.changing(0) == [
        ["CLUSTER", "SET-CONFIG-EPOCH", "3"],
        ["CONFIG", "SET", "cluster-node-timeout", "900"],
        ["CLUSTER", "ADDSLOTS", "1", "2"],
        ["CLUSTER", "RESET", "HARD"],
    ]
    assert len(one.changing(0, probes=True)) == 9
    one.reset_slowlog()
    assert one.changing(0) == []


def test_an_error_reply_is_a_value(any_server: str, servers: Start) -> None:
    reply = servers(any_server, 1).call(0, "CLUSTER", "REPLICATE", "x")
    assert isinstance(reply, Error)
    assert "Unknown node" in reply


def test_a_password_is_needed_and_used(any_server: str, servers: Start) -> None:
    one = servers(any_server, 1, password="s3cret")
    assert one.call(0, "PING") == "PONG"
    assert "NOAUTH" in (why_not_ready(one.addresses) or "")
    assert "0 of 16384" in (why_not_ready(one.addresses, password="s3cret") or "")


def test_a_taken_port_is_an_error_when_the_ports_were_given(any_server: str, servers: Start) -> None:
    ports = free_ports(1)
    servers(any_server, 1, ports=ports)
    with pytest.raises(RuntimeError, match="in use"):
        servers(any_server, 1, ports=ports)


def test_servers_die_with_a_killed_test_run(any_server: str, tmp_path: Path) -> None:
    script = (
        "import sys, time\n"
        "from tests.harness.servers import Servers\n"
        f"with Servers({any_server!r}, 2) as servers:\n"
        "    print(*(p.pid for p in servers.processes), servers.folder, flush=True)\n"
        "    time.sleep(60)\n"
    )
    env = environment()
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=env) as run:
        assert run.stdout is not None
        *pids, folder = run.stdout.readline().split()
        run.send_signal(signal.SIGKILL)
    end = time.monotonic() + 10
    while any(_alive(int(pid)) for pid in pids) or Path(folder).exists():
        assert time.monotonic() < end, "servers outlived the test run that was killed"
        time.sleep(0.02)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_two_documents_on_stdout_are_not_json() -> None:
    with pytest.raises(AssertionError, match="exactly one JSON document"):
        Outcome(("ls",), 0, "{}\n{}\n", "").json()
    assert Outcome(("ls",), 0, '{"a": 1}\n', "").json() == {"a": 1}


@pytest.mark.parametrize(
    "words",
    [("--version",), ("plan", "topologies/local.yaml"), ("validate", "/nope", "-o", "json"), ("nope",)],
)
def test_a_command_that_is_forked_ends_as_one_that_is_started(words: tuple[str, ...]) -> None:
    started = clusterboot(*words, env={"PYTHONPATH": str(ROOT)})
    assert clusterboot(*words, cwd=ROOT) == started
