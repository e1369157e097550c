"""Lowered settings: restored after success, failure, a signal and a SIGKILL, by the next run if need be."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from clusterboot.disk.topology_file import read
from clusterboot.loop.restore import Restoring
from clusterboot.wire.client import Fleet
from tests.conftest import ONE_KIND
from tests.harness.cli import ROOT, Outcome, clusterboot, launch
from tests.harness.ready import why_not_ready
from tests.harness.servers import Servers
from tests.servers.conftest import Take
from tests.servers.pool import OLD, TIMERS, Nodes, dying, freshen, problems, read_until

FLAG, BARRIER, TIMEOUT = "cluster-replica-no-failover", "cluster-migration-barrier", "cluster-node-timeout"


def _lowered(nodes: Nodes) -> dict[str, str]:
    """The settings of a node that had OLD, as they are while lowered."""
    valkey = nodes.kind == "valkey91"
    return {
        TIMEOUT: "537",
        "repl-diskless-sync-delay": "0",
        "repl-diskless-load": "on-empty-db" if valkey else "disabled",
        FLAG: "yes",
        BARRIER: str(1_100_000_000 + ((12345 * 32 + 3) * 8 + 2) * 4 + (3 if valkey else 1)),
    }


def _back(nodes: Nodes, seconds: float = 30.0) -> None:
    nodes.until(lambda: nodes.all_timers() == [OLD] * nodes.count, "all settings are restored", seconds)


def _signalled(nodes: Nodes, file: Path, k: int, name: str) -> int:
    """Run `up` with a signal at its k-th changing command; all must be restored. Returns the exit status."""
    ended = dying(file, k, name, "-o", "json")
    assert nodes.all_timers() == [OLD] * nodes.count, ended
    assert ended.json()["exit"] == ended.exit, ended
    return ended.exit


def _killed(file: Path, k: int, *flags: str) -> None:
    """Run `up` until it is killed with its helper at its k-th changing command."""
    ended = dying(file, k, "answered", *flags, alone=True)
    assert ended.exit == -signal.SIGKILL, ended


def test_settings_are_lowered_on_all_nodes_in_one_step_and_restored(nodes: Take) -> None:
    six = nodes(6)
    six.configure(OLD)
    six.forget()
    outcome = six.ready_up(six.file(replicas=1), "-o", "json")
    assert six.all_timers() == [OLD] * 6
    low = _lowered(six)
    assert outcome.json()["boost"] == {
        "used": True,
        "settings": {name: now for name, now in low.items() if now != OLD[name]},
        "nodes": 6,
        "restored": 6,
        "reason": None,
    }
    for index in range(6):
        sets = [command[2:] for command in six.changes()[index] if command[:2] == ["CONFIG", "SET"]]
        if six.kind != "redis62":
            first, *_, last = (dict(zip(each[::2], each[1::2], strict=True)) for each in sets)
            assert first == {name: now for name, now in low.items() if now != OLD[name]}
            assert last == {name: own for name, own in OLD.items() if own != low[name]}
        names = [name for each in sets for name in each[::2]]
        # The mark and elections off come before a low timeout, and go last, after the timeout is back.
        assert names[:2] == [BARRIER, FLAG]
        assert names[-2:] == [FLAG, BARRIER]
        assert names.index(TIMEOUT) > 1


def test_a_node_with_a_lower_timeout_of_its_own_keeps_it(any_nodes: Take) -> None:
    two = any_nodes(2)
    two.configure({TIMEOUT: "300"})
    two.forget()
    two.ready_up(two.file())
    assert [two.timers(index)[TIMEOUT] for index in (0, 1)] == ["300", "300"]
    assert not [command for command in two.sent("CONFIG", "SET") if "537" in command]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1"])
def test_a_signal_ends_up_with_everything_restored(any_nodes: Take, name: str) -> None:
    number = signal.Signals[name]
    six = any_nodes(6)
    six.configure(OLD)
    ended = _interrupted(six.file(replicas=1), number, "meet")
    assert ended.exit == 128 + number, ended
    assert six.all_timers() == [OLD] * 6, ended
    assert f"error: stopped by {name}; no setting of any node is left changed." in ended.err
    assert "goes on from here" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("moment", ["lower", "mesh"])
def test_a_signal_in_any_phase_is_gone_on_from(any_nodes: Take, moment: str) -> None:
    six = any_nodes(6)
    six.configure(OLD)
    file = six.file(replicas=1)
    ended = _interrupted(file, signal.SIGTERM, moment)
    assert ended.exit == 143, ended
    assert six.all_timers() == [OLD] * 6, ended
    six.ready_up(file)
    assert six.all_timers() == [OLD] * 6


def test_a_closed_terminal_ends_up_with_everything_restored(any_nodes: Take) -> None:
    three = any_nodes(3)
    three.configure(OLD)
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "clusterboot", "up", str(three.file())],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=ROOT,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    ) as process:
        os.close(theirs)
        three.until(lambda: three.timers(2)[FLAG] == "yes", "settings are lowered")
        os.close(ours)
        process.wait(20)
    assert process.returncode in (128 + signal.SIGHUP, 0), "0 where it was done before it noticed"
    _back(three)


def test_a_hangup_that_is_ignored_as_by_nohup_ends_nothing(any_nodes: Take) -> None:
    three = any_nodes(3)
    command = [sys.executable, "-m", "clusterboot", "up", str(three.file())]
    with subprocess.Popen(
        ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *command],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        stdout=subprocess.PIPE,
    ) as process:
        read_until(process, process.stderr, "lower")
        process.send_signal(signal.SIGHUP)
        process.communicate(timeout=60)
    assert process.returncode == 0


@pytest.mark.parametrize(("name", "k"), [("SIGINT", 2), ("SIGTERM", 5), ("SIGHUP", 11), ("SIGUSR1", 14)])
def test_a_signal_in_the_middle_of_the_commands_restores_everything(
    any_nodes: Take, name: str, k: int
) -> None:
    three = any_nodes(3)
    three.configure(OLD)
    file = three.file()
    assert _signalled(three, file, k, name) == 128 + signal.Signals[name]
    three.ready_up(file)
    assert three.all_timers() == [OLD] * 3


@pytest.mark.soak
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1"])
def test_a_signal_at_every_single_command_restores_everything(nodes: Take, name: str) -> None:
    three = nodes(3)
    file = three.file()
    status, k = -1, 0
    while status != 0:
        k += 1
        freshen(three.addresses)
        three.configure(OLD)
        status = _signalled(three, file, k, name)
        three.ready_up(file)
        assert three.all_timers() == [OLD] * 3, f"{name} at {k}"
    assert k > 17, f"a run with only {k} changing commands"


def test_a_signal_during_a_reset_restores_everything(any_nodes: Take) -> None:
    three = any_nodes(3)
    three.configure(OLD)
    file = three.file()
    three.ready_up(file)
    with launch("down", file, "--reset", "--yes") as process:
        read_until(process, process.stderr, "down")
        # The timers are lowered while it waits for every handshake to expire.
        three.until(lambda: three.all_timers() == [_lowered(three)] * 3, "the timers are lowered")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert process.returncode == 130
    assert three.all_timers() == [OLD] * 3


def _interrupted(file: Path, number: signal.Signals, moment: str) -> Outcome:
    """Send a signal as soon as the run tells that a phase has begun."""
    titles = {"lower": "lower timers", "meet": "meet:", "mesh": "wait for mesh"}
    with launch("up", file) as process:
        told = read_until(process, process.stderr, titles[moment])
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    return Outcome(("up",), process.returncode, out, told + err)


def test_settings_are_restored_after_a_run_that_failed(
    any_nodes: Take, free_ports: Callable[[int], list[int]]
) -> None:
    three = any_nodes(3)
    three.configure(OLD)
    # It announces a bus port at which nobody listens: it is never met.
    three.ok(2, "CONFIG", "SET", "cluster-announce-bus-port", str(free_ports(1)[0]))
    outcome = three.up(three.file(), "--timeout", "2", "-o", "json", exit=4)
    assert three.all_timers() == [OLD] * 3, outcome
    boost = outcome.json()["boost"]
    assert (boost["used"], boost["nodes"], boost["restored"]) == (True, 3, 3)
    assert outcome.json()["errors"][0]["code"] == "out-of-time"


@ONE_KIND
def test_the_helper_restores_what_a_killed_run_has_lowered(nodes: Take) -> None:
    three = nodes(3)
    file = three.file()
    # While lowering, in the middle, between the timeouts and the rest, and with one node restored.
    lower, work = 3, 3 + 3 + 2
    moments = {
        1: "sent",
        lower: "answered",
        lower + work: "sent",
        lower + work + 2: "answered",
        lower + work + 4: "sent",
    }
    for k, moment in moments.items():
        freshen(three.addresses)
        three.configure(OLD)
        assert dying(file, k, moment).exit == -signal.SIGKILL
        _back(three)
    three.ready_up(file)
    assert three.all_timers() == [OLD] * 3


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc here to read")
def test_whoever_kills_all_that_is_called_clusterboot_leaves_the_helper(any_nodes: Take) -> None:
    six = any_nodes(6)
    six.configure(OLD)
    with launch("up", six.file(replicas=1)) as process:
        six.until(lambda: six.timers(5)[FLAG] == "yes", "settings are lowered")
        helpers = [pid for pid in Path("/proc").glob("[0-9]*") if _parent(pid) == process.pid]
        names = [(pid / "cmdline").read_bytes() for pid in helpers]
        process.kill()
        process.communicate(timeout=20)
    assert len(names) == 1
    assert b"clusterboot" not in names[0]
    _back(six)


def _parent(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


@ONE_KIND
@pytest.mark.parametrize("step", [9, pytest.param(1, marks=pytest.mark.soak)])
def test_what_is_left_when_the_helper_is_killed_too_is_named_and_restored_from_any_machine(
    nodes: Take, tmp_path: Path, step: int
) -> None:
    three = nodes(3)
    file = three.file()
    elsewhere = {"CLUSTERBOOT_STATE": "/dev/null/none", "HOME": "/nonexistent"}
    k, left = 1, 0
    while True:
        freshen(three.addresses)
        three.configure(OLD)
        ended = dying(file, k, "answered", alone=True)
        lowered = [index for index in range(3) if three.timers(index) != OLD]
        found = problems(clusterboot("status", file, "-o", "json", env=elsewhere), "warnings")
        codes = [problem["code"] for problem in found if problem["code"] == "lowered-timers-found"]
        assert bool(codes) == bool(lowered), f"killed at {k}: {lowered}: {found}"
        left += bool(lowered)
        again = three.ready_up(file, "-o", "json", env=elsewhere)
        assert three.all_timers() == [OLD] * 3, f"killed at {k}: {again!r}"
        if ended.exit == 0:
            break
        k += step
    assert left >= 2, "the first command, and one in the middle"


def test_a_refusal_restores_first_and_says_so(any_nodes: Take) -> None:
    three = any_nodes(3)
    three.configure(OLD)
    _killed(three.file(), 3 + 3 + 3 + 2)
    three.until(lambda: three.why_not_ready() is None, "the three are a cluster")
    outcome = three.up(three.file(nodes=three.addresses[:2]), "-o", "json", exit=3)
    assert [problem["code"] for problem in problems(outcome)] == ["stranger"]
    assert [problem["code"] for problem in problems(outcome, "warnings")] == ["lowered-timers-found"]
    assert [three.timers(index) for index in (0, 1)] == [OLD] * 2
    assert three.timers(2) == _lowered(three)
    three.ready_up(three.file())
    assert three.all_timers() == [OLD] * 3


def test_a_dry_run_names_what_is_left_and_leaves_it(any_nodes: Take) -> None:
    two = any_nodes(2)
    two.configure(OLD)
    _killed(two.file(), 2 + 1)
    outcome = two.up(two.file(), "--dry-run", "-o", "json")
    assert "lowered-timers-found" in [problem["code"] for problem in problems(outcome, "warnings")]
    assert two.all_timers() == [_lowered(two)] * 2


def test_a_reset_restores_what_a_killed_run_has_left(any_nodes: Take) -> None:
    two = any_nodes(2)
    two.configure(OLD)
    _killed(two.file(), 2 + 2)
    assert clusterboot("down", two.file(), "--reset", "--yes").exit == 0
    assert two.all_timers() == [OLD] * 2


def test_values_that_somebody_sets_after_a_killed_run_stay(any_nodes: Take) -> None:
    two = any_nodes(2)
    two.configure(OLD)
    _killed(two.file(), 2 + 1)
    by_hand = {TIMEOUT: "8000", "repl-diskless-sync-delay": "1"}
    two.configure(by_hand)
    two.ready_up(two.file())
    assert two.all_timers() == [OLD | by_hand] * 2


@pytest.mark.parametrize("by_hand", [{BARRIER: "1"}, {FLAG: "no", TIMEOUT: "1500"}], ids=["mark", "the rest"])
def test_a_mark_that_somebody_replaces_meanwhile_leaves_nothing_lowered(
    nodes: Take, by_hand: dict[str, str]
) -> None:
    """As by a tool that sets all it wants to be set again and again."""
    two = nodes(2)
    two.configure(OLD)
    with launch("up", two.file(), "-o", "json") as process:
        two.until(lambda: two.timers(1)[FLAG] == "yes", "settings are lowered")
        two.configure(by_hand)
        out, err = process.communicate(timeout=30)
    boost = Outcome(("up",), process.returncode, out, err).json()["boost"]
    assert process.returncode == 0, err
    assert two.all_timers() == [OLD | by_hand] * 2
    assert (boost["nodes"], boost["restored"]) == (2, 2)


def test_what_is_restored_at_once_in_a_cluster_with_keys_is_told(any_nodes: Take) -> None:
    three = any_nodes(3)
    three.configure(OLD)
    _killed(three.file(nodes=three.addresses[:2]), 2 + 2 + 2 + 1)
    three.until(lambda: why_not_ready(three.addresses[:2]) is None, "two are a cluster")
    three.ok(1, "SET", "a", "1")  # slot 15495
    outcome = three.ready_up(three.file(), "-o", "json")
    assert "lowered-timers-found" in [problem["code"] for problem in problems(outcome, "warnings")]
    boost = outcome.json()["boost"]
    assert (boost["used"], boost["nodes"], boost["restored"]) == (False, 2, 2)


@pytest.mark.parametrize(
    "own",
    [
        {TIMEOUT: "2037", "repl-diskless-sync-delay": "0", BARRIER: "0"},
        {TIMEOUT: "1537", BARRIER: "2", FLAG: "yes"},
    ],
    ids=["like ours", "elections off"],
)
def test_values_of_the_user_that_look_like_ours_are_untouched(any_nodes: Take, own: dict[str, str]) -> None:
    three = any_nodes(3)
    three.configure(own)
    file = three.file()
    first = three.ready_up(file, "-o", "json")
    assert three.all_timers() == [TIMERS | own] * 3
    assert first.json()["boost"]["used"] is True
    three.forget()
    again = three.ready_up(file, "--no-boost", "-o", "json")
    assert three.sent("CONFIG", "SET") == []
    status = clusterboot("status", file, "-o", "json")
    for outcome in (first, again, status):
        codes = [problem["code"] for problem in problems(outcome, "warnings")]
        assert ("elections-off" in codes) == (FLAG in own), outcome
        assert "lowered-timers-found" not in codes


@pytest.mark.parametrize("barrier", ["8", "1200000000"])
def test_what_a_mark_cannot_keep_is_not_lowered_and_the_report_says_so(any_nodes: Take, barrier: str) -> None:
    two = any_nodes(2)
    two.configure({TIMEOUT: "1500"})
    two.ok(1, "CONFIG", "SET", BARRIER, barrier)
    two.forget()
    boost = two.ready_up(two.file(), "-o", "json").json()["boost"]
    assert (boost["used"], boost["reason"]) == (
        False,
        f"{two.addresses[1]} has {BARRIER} {barrier}, which a mark cannot keep",
    )
    assert two.sent("CONFIG", "SET") == []


@ONE_KIND
def test_a_primary_that_stalls_while_settings_are_restored_is_not_failed_over(nodes: Take) -> None:
    """Its replica's elections stay off until no node finds the primary failing any more."""
    six = nodes(6)
    own = OLD | {TIMEOUT: "2000"}
    six.configure(own)
    file = six.file(replicas=1)
    six.ready_up(file)
    primary, replica, others = 0, 3, range(1, 6)
    # As a run leaves it that dies in the end, here with the primary stalled.
    marked = BARRIER, str(1_100_000_000 + ((2000 * 32 + 3) * 8 + 2) * 4 + 1)
    six.configure(dict([marked, (FLAG, "yes"), ("repl-diskless-sync-delay", "0"), (TIMEOUT, "537")]))
    six.servers.stop(primary)
    try:
        six.until(lambda: f"{six.ports[primary]}@" in _failing(six, 1), "the primary is found failing")
        with ThreadPoolExecutor(1) as pool:
            done = pool.submit(_restore, file)
            six.until(
                lambda: all(six.timers(index)[TIMEOUT] == "2000" for index in others), "timeouts are back"
            )
            free = [index for index in others if index != replica]
            six.until(lambda: all(six.timers(index) == own for index in free), "all but its replica are done")
            assert six.timers(replica)[FLAG] == "yes", "its replica would take over from it"
            six.servers.cont(primary)
            done.result(60)
    finally:
        six.servers.cont(primary)
    assert six.all_timers() == [own] * 6
    six.until(lambda: six.why_not_ready() is None, "the cluster is Ready again")
    assert "master" in str(six.ok(primary, "ROLE"))
    assert "slave" in str(six.ok(replica, "ROLE"))


def test_what_was_ready_is_looked_at_again_where_restoring_had_to_wait(any_nodes: Take) -> None:
    """A primary stops when all is done but for restoring; Ready is told of the cluster as it is then."""
    six = any_nodes(6)
    own = OLD | {TIMEOUT: "1000"}
    six.configure(own)
    file = six.file(replicas=1)
    words = [str(6 + 6 + 3 + 5 + 3 + 1), str(six.servers.processes[0].pid), "up", file, "-o", "json"]
    with launch(*words, module="tests.servers.dying") as process:
        try:
            six.until(lambda: "slave" in str(six.ok(3, "ROLE")), "it has a replica")
            six.until(lambda: "master" in str(six.ok(3, "ROLE")), "its replica takes over")
        finally:
            six.servers.cont(0)
        out, err = process.communicate(timeout=60)
    ended = Outcome(("up",), process.returncode, out, err)
    assert ended.exit == 0, ended
    assert six.why_not_ready() is None, ended
    assert six.all_timers() == [own] * 6
    assert "failed-over" in [problem["code"] for problem in problems(ended, "warnings")]


def _failing(nodes: Nodes, index: int) -> str:
    """The lines of CLUSTER NODES that tell of a failing node, not a suspected one."""
    lines = str(nodes.ok(index, "CLUSTER", "NODES")).splitlines()
    return "".join(line for line in lines if "fail" in line.split()[2].split(","))


def _restore(file: Path) -> None:
    """Do what the helper process does."""
    topology = read(file)

    async def work() -> None:
        fleet = Fleet(topology, lambda node: (None, None))
        try:
            await Restoring(fleet, [node.name for node in topology.nodes]).run(linger=30)
        finally:
            await fleet.close()

    asyncio.run(work())


def test_elections_come_back_when_a_node_that_was_stopped_goes_on_after_the_end(any_nodes: Take) -> None:
    three = any_nodes(3)
    own = OLD | {TIMEOUT: "2000"}
    three.configure(own)
    with launch("up", three.file(), "--timeout", "3", "-o", "json") as process:
        three.until(lambda: three.timers(2)[FLAG] == "yes", "settings are lowered")
        three.servers.stop(1)
        try:
            out, err = process.communicate(timeout=30)
            ended = Outcome(("up",), process.returncode, out, err)
            assert process.returncode in (4, 5), ended
            assert "not-given-back" in [problem["code"] for problem in problems(ended, "warnings")], ended
        finally:
            three.servers.cont(1)
    three.until(lambda: three.all_timers() == [own] * 3, "the helper restores all of it")


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
    two.configure({TIMEOUT: "2345"})
    two.ok(1, "ACL", "SETUSER", "ops", "on", ">pw", "+@all", "-config|set")
    listed: list[dict[str, Any]] = [
        {"host": "127.0.0.1", "port": two.ports[0]},
        {"host": "127.0.0.1", "port": two.ports[1], "auth": {"username": "ops", "password": "pw"}},
    ]
    document = two.ready_up(two.file(nodes=listed), "-o", "json").json()
    assert document["boost"]["reason"].startswith(f"{two.addresses[1]} refused CONFIG SET ")
    assert two.all_timers() == [TIMERS | {TIMEOUT: "2345"}] * 2
    assert document["boost"]["restored"] == document["boost"]["nodes"]


def test_the_dry_run_tells_whether_there_would_be_a_boost(any_nodes: Take) -> None:
    three = any_nodes(3)
    assert three.up(three.file(), "--dry-run", "-o", "json").json()["boost"]["used"] is True
    told = three.up(three.file(), "--dry-run", "--no-boost", "-o", "json").json()["boost"]
    assert (told["used"], told["reason"]) == (False, "switched off")


def test_a_user_without_multi_is_boosted_too(
    pool: Any, require: Callable[[str], str], tmp_path: Path
) -> None:
    """Servers before 7.0 take one setting in a command: in two stages then, and elections last."""
    two: Nodes = pool.take(require("redis62"), 2, tmp_path)
    two.configure(OLD)
    for index in (0, 1):
        two.ok(index, "ACL", "SETUSER", "ops", "on", ">pw", "+@all", "-multi", "-exec")
    boost = two.ready_up(two.file(auth={"username": "ops", "password": "pw"}), "-o", "json").json()["boost"]
    assert (boost["used"], boost["restored"], boost["reason"]) == (True, 2, None)
    assert two.all_timers() == [OLD] * 2


def test_up_on_live_nodes_needs_no_state_folder(any_nodes: Take) -> None:
    two = any_nodes(2)
    for env in ({"CLUSTERBOOT_STATE": "/dev/null/none"}, {"HOME": "relative", "CLUSTERBOOT_STATE": ""}):
        outcome = two.ready_up(two.file(), "-o", "json", env=env)
        assert [found["code"] for found in problems(outcome, "warnings")] == ["few-primaries"], outcome
