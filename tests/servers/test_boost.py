"""Borrowed timers: back after success, after failure, after a signal and after a SIGKILL."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.harness.cli import ROOT, Outcome, launch
from tests.harness.servers import Servers
from tests.servers.conftest import Take
from tests.servers.pool import TIMERS, Nodes, freshen, problems, read_until

# Unlike any default, so that putting back is told apart from setting defaults.
OLD = {
    "cluster-node-timeout": "12345",
    "repl-diskless-sync-delay": "3",
    "repl-diskless-load": "disabled",
    "cluster-replica-no-failover": "no",
}


def _lowered(nodes: Nodes) -> list[dict[str, str]]:
    """The timers of all nodes while they are borrowed."""
    return [
        {
            "cluster-node-timeout": "537",
            "repl-diskless-sync-delay": "0",
            "repl-diskless-load": "on-empty-db" if nodes.kind == "valkey91" else "disabled",
            "cluster-replica-no-failover": "yes",
        }
    ] * nodes.count


def _borrowed(nodes: Nodes) -> int:
    """How many changing commands it takes to borrow the timers of all nodes."""
    return sum(OLD[name] != now for timers in _lowered(nodes) for name, now in timers.items())


def _dying(nodes: Nodes, file: Path, k: int) -> None:
    """Run `up` until it is killed at its k-th changing command."""
    died = subprocess.run(
        [sys.executable, "-m", "tests.servers.dying", str(k), "answered", "up", str(file)],
        capture_output=True,
        timeout=60,
        cwd=ROOT,
    )
    assert died.returncode == -signal.SIGKILL, died


def _signalled(nodes: Nodes, file: Path, k: int, name: str) -> int:
    """Run `up` with a signal at its k-th changing command; timers must be back. Returns the exit status."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.servers.dying", str(k), name, "up", str(file), "-o", "json"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
    )
    outcome = Outcome((f"{name} at {k}",), ended.returncode, ended.stdout, ended.stderr)
    assert nodes.all_timers() == [OLD] * nodes.count, outcome
    assert outcome.json()["exit"] == outcome.exit, outcome
    return outcome.exit


def _configured(nodes: Nodes) -> None:
    nodes.configure(OLD)
    nodes.forget()


def test_timers_are_lowered_on_all_nodes_and_put_back(nodes: Take) -> None:
    six = nodes(6)
    _configured(six)
    outcome = six.ready_up(six.file(replicas=1), "-o", "json")
    assert six.all_timers() == [OLD] * 6
    assert outcome.json()["boost"] == {
        "used": True,
        "settings": {name: now for name, now in _lowered(six)[0].items() if now != OLD[name]},
        "nodes": 6,
        "restored": 6,
        "reason": None,
    }
    for index in range(6):
        sets = [c[2:] for c in six.changes()[index] if c[:2] == ["CONFIG", "SET"]]
        names = [name for name, _ in sets]
        # Elections go off before the timeout is low, and on again after it is back.
        assert names[0] == names[-1] == "cluster-replica-no-failover"
        assert ["cluster-node-timeout", "537"] in sets
        assert sets[-1] == ["cluster-replica-no-failover", "no"]


def test_a_node_with_a_lower_timeout_of_its_own_keeps_it(any_nodes: Take) -> None:
    two = any_nodes(2)
    two.configure({"cluster-node-timeout": "300"})
    two.forget()
    two.ready_up(two.file())
    assert [two.timers(index)["cluster-node-timeout"] for index in (0, 1)] == ["300", "300"]
    sets = {(c[2], c[3]) for c in two.sent("CONFIG", "SET")}
    assert ("cluster-node-timeout", "537") not in sets


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("moment", ["borrow", "meet", "mesh"])
def test_a_signal_ends_up_within_a_second_with_the_timers_back(
    any_nodes: Take, number: signal.Signals, status: int, moment: str
) -> None:
    six = any_nodes(6)
    _configured(six)
    # A replica that is never in sync keeps the run from ending before the signal comes.
    file = six.file(replicas=1)
    ended = _interrupted(file, number, moment)
    assert ended.exit == status, ended
    assert six.all_timers() == [OLD] * 6, ended
    assert f"stopped by {number.name}; what was borrowed has been put back" in ended.err
    assert "goes on from here" in ended.err
    assert "Traceback" not in ended.err
    six.ready_up(file)
    assert six.all_timers() == [OLD] * 6


@pytest.mark.parametrize(
    ("name", "status", "k"), [("SIGINT", 130, 5), ("SIGTERM", 143, 12), ("SIGINT", 130, 20)]
)
def test_a_signal_in_the_middle_of_the_commands_puts_the_timers_back(
    any_nodes: Take, name: str, status: int, k: int
) -> None:
    three = any_nodes(3)
    _configured(three)
    file = three.file()
    assert _signalled(three, file, k, name) == status
    three.ready_up(file)
    assert three.all_timers() == [OLD] * 3


@pytest.mark.soak
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_at_every_single_command_puts_the_timers_back(nodes: Take, name: str) -> None:
    three = nodes(3)
    file = three.file()
    status, k = -1, 0
    while status != 0:
        k += 1
        freshen(three.addresses)
        _configured(three)
        status = _signalled(three, file, k, name)
        three.ready_up(file)
        assert three.all_timers() == [OLD] * 3, f"{name} at {k}"
    assert k > 24, f"a run with only {k} changing commands"


def test_a_signal_during_a_reset_puts_the_timers_back(any_nodes: Take) -> None:
    three = any_nodes(3)
    _configured(three)
    file = three.file()
    three.ready_up(file)
    with launch("down", file, "--reset", "--yes") as process:
        read_until(process, process.stderr, "down")
        # The timers are lowered while it waits for every handshake to expire.
        three.until(lambda: three.all_timers() == _lowered(three), "the timers are borrowed")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert process.returncode == 130
    assert three.all_timers() == [OLD] * 3


def _interrupted(file: Path, number: signal.Signals, moment: str) -> Outcome:
    """Send a signal as soon as the run tells that a phase has begun."""
    titles = {"borrow": "borrow timers", "meet": "meet:", "mesh": "  mesh"}
    with launch("up", file) as process:
        told = read_until(process, process.stderr, titles[moment])
        process.send_signal(number)
        began = time.monotonic()
        out, err = process.communicate(timeout=20)
        # Long: a shared machine may stall; that it takes under a second is seen where nothing else runs.
        assert time.monotonic() - began < 5
    return Outcome(("up",), process.returncode, out, told + err)


def test_timers_are_back_after_a_run_that_failed(
    any_nodes: Take, free_ports: Callable[[int], list[int]]
) -> None:
    three = any_nodes(3)
    _configured(three)
    # It announces a bus port at which nobody listens: it is never met.
    three.ok(2, "CONFIG", "SET", "cluster-announce-bus-port", str(free_ports(1)[0]))
    outcome = three.up(three.file(), "--timeout", "2", "-o", "json", exit=4)
    assert three.all_timers() == [OLD] * 3, outcome
    document = outcome.json()
    assert (document["boost"]["used"], document["boost"]["nodes"], document["boost"]["restored"]) == (
        True,
        3,
        3,
    )
    assert document["errors"][0]["code"] == "out-of-time"


def test_a_run_that_is_killed_is_put_right_from_its_record(any_nodes: Take) -> None:
    three = any_nodes(3)
    _configured(three)
    file = three.file()
    _dying(three, file, _borrowed(three) + 1)
    assert three.all_timers() == _lowered(three)
    outcome = three.ready_up(file, "-o", "json")
    assert three.all_timers() == [OLD] * 3
    assert [found["code"] for found in problems(outcome, "warnings")] == []


def test_without_a_record_timers_are_set_to_the_defaults_with_a_warning(
    any_nodes: Take, tmp_path: Path
) -> None:
    three = any_nodes(3)
    _configured(three)
    file = three.file()
    _dying(three, file, _borrowed(three) + 1)
    elsewhere = {"CLUSTERBOOT_STATE": str(tmp_path / "other")}
    status = problems(_status(file, env=elsewhere), "warnings")
    assert [found["code"] for found in status] == ["lowered-timers-found"]
    outcome = three.ready_up(file, "-o", "json", env=elsewhere)
    assert three.all_timers() == [TIMERS] * 3
    warnings = problems(outcome, "warnings")
    assert [found["code"] for found in warnings] == ["lowered-timers-found"] * 3
    first = min(three.addresses)
    assert warnings[0]["message"] == (
        f"{first} still has the timers that an interrupted run lowered, and no record says what they were: "
        "they are set to the servers' defaults (cluster-node-timeout 15000)."
    )


def _status(file: Path, **options: Any) -> Outcome:
    from tests.harness.cli import clusterboot

    return clusterboot("status", file, "-o", "json", **options)


def test_timers_that_a_killed_run_left_low_are_raised_first_where_the_cluster_has_keys_by_now(
    nodes: Take,
) -> None:
    six = nodes(6)
    _configured(six)
    file = six.file(replicas=1)
    _dying(six, file, _borrowed(six) + 6 + 3 + 5)  # all but replicas
    six.until(lambda: "OK" in [six.call(index, "SET", "key", "1") for index in range(6)], "one takes a key")
    assert six.all_timers() == _lowered(six)
    six.forget()
    document = six.ready_up(file, "-o", "json").json()
    assert document["boost"]["reason"].endswith("already serves")
    assert six.all_timers() == [OLD] * 6
    replicas = [commands for commands in six.changes().values() if any(c[1] == "REPLICATE" for c in commands)]
    assert len(replicas) == 3
    for commands in replicas:
        told = [command[1] for command in commands].index("REPLICATE")
        assert ["CONFIG", "SET", "cluster-node-timeout", "12345"] in commands[:told]
        # Elections are allowed again last.
        assert commands[-1] == ["CONFIG", "SET", "cluster-replica-no-failover", "no"]


def test_timers_of_a_ready_cluster_that_a_killed_run_left_low_are_put_back(any_nodes: Take) -> None:
    three = any_nodes(3)
    _configured(three)
    file = three.file()
    _dying(three, file, _borrowed(three) + 3 + 3 + 2 + 1)  # all was done, and one setting given back
    three.until(lambda: three.why_not_ready() is None, "the cluster is Ready")
    assert three.all_timers() != [OLD] * 3
    three.forget()
    outcome = three.ready_up(file)
    assert three.all_timers() == [OLD] * 3
    assert three.sent("CLUSTER") == []
    assert "Already Ready" in outcome.out


def test_where_config_is_renamed_away_up_goes_on_without_a_boost_and_says_so(
    server_kind: str, servers: Any, tmp_path: Path
) -> None:
    found: Servers = servers(server_kind, 2, node_timeout=1500, extra=["--rename-command", "CONFIG", ""])
    two = Nodes(found, 2, tmp_path)
    document = two.ready_up(two.file(), "-o", "json").json()
    assert document["boost"]["used"] is False
    assert document["boost"]["reason"] == f"CONFIG GET is refused by {two.addresses[0]}"
    assert two.sent("CONFIG") == []


def test_where_one_node_refuses_config_set_the_others_are_put_back(any_nodes: Take) -> None:
    two = any_nodes(2)
    two.configure({"cluster-node-timeout": "2345"})
    two.ok(1, "ACL", "SETUSER", "ops", "on", ">pw", "+@all", "-config|set")
    listed: list[dict[str, Any]] = [
        {"host": "127.0.0.1", "port": two.ports[0]},
        {"host": "127.0.0.1", "port": two.ports[1], "auth": {"username": "ops", "password": "pw"}},
    ]
    document = two.ready_up(two.file(nodes=listed), "-o", "json").json()
    assert document["boost"]["reason"].startswith(f"{two.addresses[1]} refused CONFIG SET ")
    assert two.all_timers() == [TIMERS | {"cluster-node-timeout": "2345"}] * 2
    assert document["boost"]["restored"] == document["boost"]["nodes"]


def test_the_dry_run_tells_whether_there_would_be_a_boost(any_nodes: Take) -> None:
    three = any_nodes(3)
    assert three.up(three.file(), "--dry-run", "-o", "json").json()["boost"]["used"] is True
    told = three.up(three.file(), "--dry-run", "--no-boost", "-o", "json").json()["boost"]
    assert (told["used"], told["reason"]) == (False, "switched off")


def test_a_record_of_servers_that_are_no_more_is_not_believed(any_nodes: Take) -> None:
    three = any_nodes(3)
    _configured(three)
    file = three.file()
    _dying(three, file, 4)
    # As other servers at the same addresses: what was written down of the first is not theirs.
    others = {**OLD, "cluster-node-timeout": "8000"}
    three.configure(others)
    _dying(three, file, 9)
    assert three.all_timers() != [others] * 3
    three.ready_up(file)
    assert three.all_timers() == [others] * 3
