"""Nodes that stop, die, restart or are replaced, wrong passwords, TLS on one side: each named in full."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.harness.cli import Outcome, clusterboot, launch
from tests.harness.ready import why_not_ready
from tests.harness.servers import Servers

Start = Callable[..., Servers]
AGAIN = "then run the same command again: it goes on from here"
OLD = {
    "cluster-node-timeout": "15000",
    "repl-diskless-sync-delay": "5",
    "repl-diskless-load": "disabled",
    "cluster-replica-no-failover": "no",
    "cluster-migration-barrier": "1",
}


def write(path: Path, servers: Servers, **keys: object) -> Path:
    """Write a topology of `servers` named a, b, c … and return its path."""
    nodes = [
        {"name": "abcdefgh"[i], "host": servers.host, "port": port} for i, port in enumerate(servers.ports)
    ]
    file = path / "t.yaml"
    file.write_text(servers.topology(nodes=nodes, **keys))
    return file


def told(outcome: Outcome) -> list[tuple[str, str | None, str]]:
    """Code, node and message of every error."""
    return [(found["code"], found["node"], found["message"]) for found in outcome.json()["errors"]]


def wait(condition: Callable[[], object], what: str, deadline: float = 20.0) -> None:
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, f"not within {deadline:g} s: {what}"
        time.sleep(0.01)


def has(servers: Servers, index: int, *words: str) -> bool:
    """Whether node `index` got a changing command that starts with `words`."""
    return any(tuple(command[: len(words)]) == words for command in servers.changing(index))


def timers(servers: Servers, index: int) -> dict[str, str]:
    return {name: servers.call(index, "CONFIG", "GET", name)[1] for name in OLD}


@contextmanager
def running(file: Path, *flags: str, timeout: float) -> Iterator[Callable[[], Outcome]]:
    """Start `up` and give what waits for its end; it must come within two seconds after `timeout`."""
    process = launch("up", file, "-o", "json", "--timeout", str(timeout), *flags)

    def end() -> Outcome:
        out, err = process.communicate(timeout=timeout + 2 + 10)
        return Outcome(("up",), process.returncode, out, err)

    try:
        yield end
    finally:
        process.kill()
        process.communicate()


def test_a_stopped_process_takes_connections_and_does_not_answer(
    servers: Start, any_server: str, tmp_path: Path
) -> None:
    with_one_stopped = servers(any_server, 3)
    with_one_stopped.stop(1)
    outcome = clusterboot("up", write(tmp_path, with_one_stopped), "-o", "json", "--timeout", "2", timeout=14)
    assert outcome.exit == 5
    # How much of the two seconds is left depends on how long the start took.
    ((code, node, message),) = told(outcome)
    assert (code, node) == ("not-answering", "b")
    assert re.fullmatch(r"b takes connections but did not answer within 1\.\d s\.", message)
    assert outcome.json()["errors"][0]["hint"] == (
        "check whether the process is stopped, stuck or overloaded"
    )
    assert not with_one_stopped.changing(0)


def test_a_stopped_process_behind_a_password_is_not_taken_for_a_firewall(
    servers: Start, any_server: str, tmp_path: Path
) -> None:
    nodes = servers(any_server, 2, password="secret")
    nodes.stop(1)
    file = write(tmp_path, nodes, auth={"password": "secret"})
    file.chmod(0o600)
    outcome = clusterboot("up", file, "-o", "json", "--timeout", "2", timeout=14)
    ((code, node, message),) = told(outcome)
    assert (code, node) == ("not-answering", "b")
    # How long depends on how long the start took.
    assert message.startswith("b takes connections but did not answer within ")


def test_a_node_that_restarts_in_the_middle_is_waited_for(
    servers: Start, any_server: str, tmp_path: Path
) -> None:
    nodes = servers(any_server, 3)
    with running(write(tmp_path, nodes), timeout=60) as end:
        wait(lambda: has(nodes, 0, "CLUSTER", "MEET"), "the nodes meet")
        nodes.restart(1)
        outcome = end()
    assert outcome.exit == 0, outcome
    assert why_not_ready(nodes.addresses) is None
    assert [timers(nodes, index) for index in range(3)] == [OLD] * 3


def test_a_node_that_dies_in_the_middle_is_named_at_the_deadline(
    servers: Start, any_server: str, tmp_path: Path
) -> None:
    nodes = servers(any_server, 3)
    file = write(tmp_path, nodes)
    with running(file, timeout=4) as end:
        wait(lambda: has(nodes, 1, "CLUSTER", "ADDSLOTSRANGE"), "b has its slots")
        nodes.kill(1)
        outcome = end()
    assert outcome.exit == 5, outcome
    assert told(outcome)[:2] == [
        ("out-of-time", None, "not Ready within 4 s."),
        ("connection-refused", "b", f"b cannot be reached: nothing listens at {nodes.addresses[1]}."),
    ]
    # Not told where b was seen to serve them before it died, and the last look was not a whole one.
    lacking = ("slots-missing", None, "no node serves the slots 5461-10922 (5462 of 16384).")
    assert told(outcome)[2:] in ([lacking], []), outcome
    nodes.restart(1)
    assert clusterboot("up", file).exit == 0
    assert why_not_ready(nodes.addresses) is None
    assert [timers(nodes, index) for index in range(3)] == [OLD] * 3


def test_a_replica_with_a_wrong_masterauth_is_named_with_what_its_primary_counted(
    servers: Start, any_server: str, tmp_path: Path
) -> None:
    nodes = servers(any_server, 2, password="right", extra=["--masterauth", "wrong"])
    file = write(tmp_path, nodes, replicas=1, auth={"password": "right"})
    file.chmod(0o600)
    outcome = clusterboot("up", file, "-o", "json", "--timeout", "5", timeout=20)
    assert outcome.exit == 4, outcome
    assert ("out-of-time", None, "not Ready within 5 s.") in told(outcome)
    (error,) = [found for found in outcome.json()["errors"] if found["code"] == "replica-turned-away"]
    assert (error["node"], error["peer"]) == ("b", "a")
    assert error["message"].startswith(
        f"b is not in sync with a: its link to {nodes.addresses[0]} is down (INFO replication), and a has "
        "refused logins with WRONGPASS"
    ), outcome
    assert error["message"].endswith(
        "(INFO errorstats): most likely masterauth or masteruser of b is not what a wants."
    )
    assert error["hint"] == f"set masterauth and masteruser on b; {AGAIN}"


def test_a_replica_that_waits_for_its_primary_to_begin_a_sync_lacks_nothing(
    servers: Start, any_server: str, tmp_path: Path
) -> None:
    slow = ["--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "30"]
    nodes = servers(any_server, 2, extra=slow)
    file = write(tmp_path, nodes, replicas=1)
    outcome = clusterboot("up", file, "-o", "json", "--no-boost", "--timeout", "3", timeout=20)
    assert outcome.exit == 4, outcome
    assert told(outcome)[1:] == [
        (
            "replica-waits",
            "b",
            "b is not in sync with a yet: a begins a sync 30 s after it is asked for one "
            "(repl-diskless-sync-delay), and b waits for that (state=wait_bgsave in INFO replication of a).",
        )
    ]
    assert outcome.json()["errors"][1]["hint"] == (
        "wait for it: --timeout gives it longer; with CONFIG SET repl-diskless-sync-delay 0 on a it begins "
        "at once; if it goes on, look at the log of b"
    )


def test_tls_on_one_side_of_the_bus_only_is_said(servers: Start, tmp_path: Path) -> None:
    from tests.harness.servers import Missing, binary

    try:
        binary("redis70")
    except Missing as reason:
        pytest.skip(str(reason))
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"]
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")]
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl here to make a certificate with")
    subprocess.run([*make, *files], check=True, capture_output=True)
    secure = ["--tls-cluster", "yes", "--tls-cert-file", f"{tmp_path}/cert.pem"]
    secure += ["--tls-key-file", f"{tmp_path}/key.pem", "--tls-ca-cert-file", f"{tmp_path}/cert.pem"]
    nodes = servers("redis70", 3, extra=lambda index: secure if index == 1 else [])
    outcome = clusterboot(
        "up", write(tmp_path, nodes), "-o", "json", "--timeout", "4", "--no-boost", timeout=20
    )
    assert outcome.exit == 4, outcome
    assert told(outcome) == [
        ("out-of-time", None, "not Ready within 4 s."),
        (
            "bus-tls-differs",
            "b",
            "b speaks TLS on the cluster bus and a does not, so their handshake never completes (CONFIG GET "
            "tls-cluster of both).",
        ),
    ]


def test_slots_that_nobody_serves_are_named_with_the_state_that_follows(
    servers: Start, any_server: str, tmp_path: Path
) -> None:
    nodes = servers(any_server, 3)
    file = write(tmp_path, nodes)
    assert clusterboot("up", file).exit == 0
    for index in range(3):
        assert nodes.call(index, "CLUSTER", "DELSLOTS", 6000, 6001) == "OK"
    outcome = clusterboot("status", file, "-o", "json")
    assert outcome.exit == 4
    reasons: list[dict[str, Any]] = outcome.json()["reasons"]
    assert ("slots-missing", None, "no node serves the slots 6000-6001 (2 of 16384).") in [
        (reason["code"], reason["node"], reason["message"]) for reason in reasons
    ], outcome


def test_nodes_that_have_never_met_are_said_to_be_so(servers: Start, any_server: str, tmp_path: Path) -> None:
    nodes = servers(any_server, 3)
    nodes.call(0, "CLUSTER", "MEET", "127.0.0.1", nodes.ports[1])
    wait(lambda: why_not_ready(nodes.addresses[:2], mesh_only=True) is None, "a and b know each other")
    outcome = clusterboot("status", write(tmp_path, nodes), "-o", "json")
    assert outcome.exit == 4
    (reason,) = [found for found in outcome.json()["reasons"] if found["code"] == "not-met"]
    assert reason["message"] == "the nodes are 2 groups that do not know each other: a and b | c."
    assert reason["hint"] == "run 'clusterboot up': it lets them meet"


def test_a_node_that_is_stopped_in_the_middle_is_named_although_the_last_look_had_no_end(
    servers: Start, any_server: str, tmp_path: Path
) -> None:
    nodes = servers(any_server, 3)
    with running(write(tmp_path, nodes), timeout=3) as end:
        wait(lambda: has(nodes, 1, "CLUSTER", "ADDSLOTSRANGE"), "b has its slots")
        nodes.stop(1)
        outcome = end()
    assert outcome.exit == 5, outcome
    assert told(outcome)[:2] == [
        ("out-of-time", None, "not Ready within 3 s."),
        (
            "not-answering",
            "b",
            "b answered earlier in this run but did not at its end.",
        ),
    ]
    assert outcome.json()["seconds"] <= 3 + 2
