"""`status` and `up --dry-run`: what they say about clusters in every state, and that they change nothing."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness.cli import Outcome, clusterboot, launch
from tests.harness.servers import Servers, binary
from tests.servers.conftest import Take
from tests.servers.pool import Nodes, problems, read_until


def _status(file: Path, *flags: str, exit: int = 0) -> Outcome:  # noqa: A002
    outcome = clusterboot("status", file, *flags)
    assert outcome.exit == exit, outcome
    return outcome


def test_a_cluster_that_redis_cli_made_is_ready(nodes: Take) -> None:
    six = nodes(6)
    six.configure({"cluster-node-timeout": "1000", "repl-diskless-sync-delay": "0"})
    cli = Path(binary(six.kind)).with_name("redis-cli")
    if not cli.exists():
        cli = Path(binary(six.kind)).with_name("valkey-cli")
    if not cli.exists():
        pytest.skip("there is no redis-cli beside this server")
    made = subprocess.run(
        [str(cli), "--cluster", "create", *six.addresses, "--cluster-replicas", "1", "--cluster-yes"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert made.returncode == 0, made
    six.until(lambda: six.why_not_ready() is None, "redis-cli's cluster is Ready", 60)
    six.forget()
    file = six.file(replicas=1)
    document = _status(file, "-o", "json").json()
    assert (document["ready"], document["mesh"], document["reasons"]) == (True, True, [])
    assert sorted(row["role"] for row in document["nodes"]) == ["primary"] * 3 + ["replica"] * 3
    assert "Already Ready" in six.ready_up(file).out
    assert six.changes() == {}


def test_fresh_nodes_are_not_ready_and_every_reason_is_given(nodes: Take) -> None:
    three = nodes(3)
    file = three.file()
    document = _status(file, "-o", "json", exit=4).json()
    a, b, c = three.addresses
    assert [reason["code"] for reason in document["reasons"]] == ["not-met", "slots-missing"]
    assert [row["unseen"] for row in document["nodes"]] == [[b, c], [a, c], [a, b]]
    assert [row["unseen_by"] for row in document["nodes"]] == [[b, c], [a, c], [a, b]]
    assert "✗ Not Ready" in _status(file, exit=4).out
    assert three.changes() == {}


def test_a_half_built_cluster_is_not_ready_and_says_what_is_missing(nodes: Take) -> None:
    three = nodes(3)
    three.join((0, 1), ((0, 5460), (5461, 10922)))
    three.forget()
    document = _status(three.file(), "-o", "json", exit=4).json()
    assert [(reason["code"], reason["node"]) for reason in document["reasons"]] == [
        ("not-met", three.addresses[0]),
        ("slots-missing", None),
    ]
    assert "10923-16383" in document["reasons"][1]["message"]
    assert [row["slots"] for row in document["nodes"]] == ["0-5460", "5461-10922", ""]
    assert document["mesh"] is False
    assert three.changes() == {}


def test_a_mesh_without_slots_and_replicas_says_only_that(any_nodes: Take) -> None:
    four = any_nodes(4)
    file = four.file(replicas=1)
    four.up(file, "--meet-only")
    document = _status(file, "-o", "json", exit=4).json()
    assert [reason["code"] for reason in document["reasons"]] == ["slots-missing", "replicas-missing"]
    four.ready_up(file)


def test_a_node_that_is_down_is_named_with_exit_5(
    any_server: str, servers: Callable[..., Servers], tmp_path: Path
) -> None:
    three = Nodes(servers(any_server, 3), 3, tmp_path)
    file = three.file()
    three.ready_up(file)
    three.forget()
    three.servers.kill(1)
    document = _status(file, "-o", "json", exit=5).json()
    name = three.addresses[1]
    assert document["exit"] == 5
    away = [reason for reason in document["reasons"] if reason["code"] == "connection-refused"]
    assert [reason["node"] for reason in away] == [name]
    assert [row["state"] == "away" for row in document["nodes"]] == [False, True, False]
    assert away[0]["message"] in _status(file, exit=5).out
    assert three.servers.changing(0) == three.servers.changing(2) == []


def test_a_mesh_is_what_slots_none_asks_for(any_nodes: Take) -> None:
    three = any_nodes(3)
    three.join((0, 1, 2))
    document = _status(three.file(slots="none"), "-o", "json").json()
    assert (document["ready"], document["mesh"], document["reasons"]) == (False, True, [])
    assert "● A full mesh: 3 nodes" in _status(three.file(slots="none")).out


def test_a_primary_whose_replica_went_to_another_one_is_warned_about(any_nodes: Take) -> None:
    six = any_nodes(6)
    file = six.file(replicas=1)
    six.ready_up(file)
    # So that all of them hear of a new role soon, and syncs begin at once.
    six.configure({"cluster-node-timeout": "1000", "repl-diskless-sync-delay": "0"})
    a, d = six.addresses[0], six.addresses[3]
    six.ok(3, "CLUSTER", "REPLICATE", six.id(1))
    six.until(lambda: six.why_not_ready() is None, "all know that d has another primary")
    for outcome in (_status(file, "-o", "json"), six.up(file, "-o", "json")):
        assert outcome.named("warnings") == [("replicas-fewer", a, d)]
        # The test follows the hint below.
        assert f"'clusterboot up --rebalance' moves {d} there" in problems(outcome, "warnings")[0]["hint"]
    six.ready_up(file, "--rebalance")
    assert problems(_status(file, "-o", "json"), "warnings") == []


def test_what_up_would_refuse_is_a_reason(any_nodes: Take) -> None:
    three = any_nodes(3)
    three.join((0, 1, 2))
    outcome = _status(three.file(nodes=three.addresses[:2]), "-o", "json", exit=4)
    assert problems(outcome, "reasons")[0]["code"] == "stranger"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_watch_goes_on_until_a_signal_and_ends_cleanly(
    any_nodes: Take, number: signal.Signals, status: int
) -> None:
    two = any_nodes(2)
    file = two.file()
    two.ready_up(file)
    two.forget()
    with launch("status", file, "--watch") as process:
        read_until(process, process.stdout, "Ready: 2 nodes")
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert process.returncode == status, err
    assert "Traceback" not in out + err
    # Ctrl-C is the way out.
    assert (err == "") == (number == signal.SIGINT)
    assert two.changes() == {}


def test_watch_ends_when_nobody_reads_any_more(any_nodes: Take) -> None:
    two = any_nodes(2)
    file = two.file()
    two.ready_up(file)
    with launch("status", file, "--watch") as process:
        read_until(process, process.stdout, "Ready: 2 nodes")
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(timeout=20) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_each_look_of_watch_is_bounded(any_nodes: Take) -> None:
    two = any_nodes(2)
    file = two.file()
    two.ready_up(file)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        nodes = [*two.addresses, f"127.0.0.1:{mute.getsockname()[1]}@1"]
        with launch("status", two.file(nodes=nodes), "--watch", "--timeout", "0.5") as process:
            read_until(process, process.stdout, "did not answer within 0.", seconds=10)
            # A second look would end like the first: it goes on.
            mute.settimeout(10)
            for _ in range(3):
                mute.accept()[0].close()
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=20)
    assert process.returncode == 130


def test_watch_is_text_only(any_nodes: Take) -> None:
    outcome = _status(any_nodes(2).file(), "--watch", "-o", "json", exit=2)
    assert outcome.named() == [("usage", None, None)]
    outcome = _status(any_nodes(2).file(), "--watch", "--quiet", exit=2)
    assert outcome.err.startswith("error: --watch ")


def test_a_dry_run_prints_the_missing_steps_and_changes_nothing(nodes: Take) -> None:
    three = nodes(3)
    three.join((0, 1), ((0, 5460), (5461, 10922)))
    three.forget()
    file = three.file()
    document = three.up(file, "--dry-run", "-o", "json").json()
    # Those that know each other already have their epochs from one another.
    assert [(step["kind"], step["node"]) for step in document["plan"]["steps"]] == [
        ("epoch", three.addresses[2]),
        ("slots", three.addresses[2]),
        ("meet", three.addresses[0]),
    ]
    assert (document["dry_run"], document["steps"], document["plan"]["groups"]) == (True, [], 2)
    text = three.up(file, "--dry-run")
    assert text.out.startswith("3 steps missing, nothing was changed: ")
    assert f"1 MEET\n    {three.addresses[0]} ─▶ {three.addresses[2]}\n" in text.out
    assert all(not three.servers.changing(index, probes=True) for index in range(3))


def test_a_dry_run_on_a_ready_cluster_says_so(any_nodes: Take) -> None:
    three = any_nodes(3)
    three.ready_up(three.file())
    three.forget()
    assert "● Already Ready: " in three.up(three.file(), "--dry-run").out
    assert three.changes() == {}
