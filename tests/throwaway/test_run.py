"""`clusterboot run`: the command gets a cluster, its streams, its signals; its status is the one of run."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from clusterboot.commands import signals
from clusterboot.errors import Interrupted
from clusterboot.throwaway.child import NotStarted, find
from tests.harness.marked import wait_until
from tests.harness.servers import SERVERS, Missing, binary
from tests.throwaway.throwaway import Ended, Running

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(sys.platform != "linux", reason="what is left of a run is looked for in /proc"),
]
BIG = 10 * 2**20
ONE = ("--primaries", "1", "--replicas", "0", "--")

# Is the cluster of the environment Ready, by a probe that is none of clusterboot's code?
PROBE = f"""
import json, os, sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from tests.harness.ready import why_not_ready
names = ("CLUSTERBOOT_NODES", "CLUSTERBOOT_URL", "REDIS_CLUSTER_NODES", "REDIS_URL")
nodes = os.environ["CLUSTERBOOT_NODES"].split(",")
print(json.dumps([[os.environ[name] for name in names], why_not_ready(nodes)]))
"""
# Says that it is there, then the name of every signal it gets; the second one ends it.
LISTENER = """
import signal, sys, time
def heard(number, frame):
    print(signal.Signals(number).name, flush=True)
    if number == signal.SIGUSR2:
        sys.exit(9)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
    signal.signal(number, heard)
print("there", flush=True)
while True:
    time.sleep(0.1)
"""
TOPOLOGY = """
version: 1
nodes:
  - {name: left, host: 10.0.0.1, port: 6379, bus_port: 7000, zone: a, slots: 0-99}
  - {name: right, host: 10.0.0.2, port: 6379, zone: b, slots: 100-16383, announce: {host: 192.0.2.1}}
  - {host: 10.0.0.3, port: 6379, zone: b, replica_of: left}
auth: {password_env: NOT_SET_HERE}
tls: true
servers: {config: {maxmemory: 64mb}}
"""


@pytest.fixture(scope="module")
def waiting(start: Callable[..., Running]) -> dict[str, Running]:
    """Runs whose commands say that they are there and then wait for what a test does to them."""
    return {
        "listener": start(*ONE, sys.executable, "-c", LISTENER),
        "shell": start(*ONE, "sh", "-c", "echo there; sleep 600; true"),
        "unguarded": start(*ONE, "sh", "-c", "echo there; read line; exit 3"),
    }


@pytest.fixture(scope="module")
def at_once(waiting: dict[str, Running], place: Path, start: Callable[..., Running]) -> dict[str, Ended]:
    """More than ten runs at the same time, each for another test: they must not disturb each other anyway."""
    file = place / "shape.yaml"
    file.write_text(TOPOLOGY)
    (place / "garbage").write_bytes(b"\0\1\2")
    (place / "garbage").chmod(0o755)
    python = [sys.executable, "-c"]
    runs = {
        # It keeps no state, so a state folder that nobody can make does not matter.
        "status": start("--", "sh", "-c", "exit 7", env={"CLUSTERBOOT_STATE": "/proc/none"}),
        "killed": start("--", "sh", "-c", "kill -9 $$"),
        "streams": start("--", "sh", "-c", "cat; head -c 10485760 /dev/zero >&2"),
        "topology": start(file, "--info", place / "info.json", "--", *python, PROBE),
        "one": start(*ONE, *python, PROBE),
        "kept": start("--keep-logs", place / "kept", "--", "false"),
        "unkept": start("--keep-logs", place / "unkept", "--", "true"),
        "garbage": start(*ONE, place / "garbage"),
        "options": start(*ONE, "echo", "-q", "-o", "json", "--help", "--", "--x"),
        "ignored": start(
            *(*ONE, "grep", "SigIgn", "/proc/self/status"),
            before=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
        ),
        "set": start("--set", "maxmemory=77mb", "--info", place / "set.json", "--", *python, PROBE),
    }
    for kind in SERVERS:
        try:
            runs[kind] = start("--server", binary(kind), "--", *python, PROBE)
        except Missing:
            continue
    stdin = {"streams": os.urandom(2**20) * 10}
    ended = {name: run.end(stdin.get(name, b"")) for name, run in runs.items()}
    ended["streams"].run.sent = stdin["streams"]
    return ended


def test_runs_at_the_same_time_are_all_green(at_once: dict[str, Ended]) -> None:
    wanted = dict.fromkeys(at_once, 0) | {"status": 7, "killed": 137, "kept": 1, "garbage": 126}
    assert len(at_once) >= 10
    assert {name: ended.exit for name, ended in at_once.items()} == wanted, at_once
    for ended in at_once.values():
        ended.run.check_nothing_left([])


@pytest.mark.parametrize("kind", SERVERS)
def test_the_command_finds_a_cluster_that_is_ready(kind: str, at_once: dict[str, Ended]) -> None:
    if kind not in at_once:
        if os.environ.get("CLUSTERBOOT_REQUIRE_SERVERS") == "1":
            binary(kind)
        pytest.skip(f"{kind} is not here")
    (nodes, url, same_nodes, same_url), why_not = json.loads(at_once[kind].out)
    assert why_not is None
    assert len(nodes.split(",")) == 6
    assert url == f"redis://{nodes.split(',')[0]}"
    assert (same_nodes, same_url) == (nodes, url)
    ports = [int(node.rpartition(":")[2]) for node in nodes.split(",")]
    assert all(10000 <= port <= 22000 for port in ports)
    at_once[kind].run.check_nothing_left(ports)


def test_one_primary_alone_is_a_cluster_too(at_once: dict[str, Ended]) -> None:
    (nodes, *_), why_not = json.loads(at_once["one"].out)
    assert (len(nodes.split(",")), why_not) == (1, None)


def test_the_streams_are_the_command_s_own(at_once: dict[str, Ended]) -> None:
    """10 MB of any bytes in and out, 10 MB on stderr, and not a byte of clusterboot's among them."""
    ended = at_once["streams"]
    sent: bytes = ended.run.sent
    assert hashlib.sha256(ended.out).digest() == hashlib.sha256(sent).digest()
    assert len(sent) == BIG
    assert ended.err == bytes(BIG)


def test_a_topology_gives_names_roles_and_slots_but_no_addresses(
    at_once: dict[str, Ended], place: Path
) -> None:
    document = json.loads((place / "info.json").read_text())
    (nodes, url, *_), why_not = json.loads(at_once["topology"].out)
    assert why_not is None
    left, right, replica = document["nodes"]
    assert (left["name"], left["role"], left["slots"], left["zone"]) == ("left", "primary", "0-99", "a")
    assert (right["name"], right["role"], right["slots"]) == ("right", "primary", "100-16383")
    assert (replica["role"], replica["primary"]) == ("replica", "left")
    assert replica["name"] == replica["address"]
    assert [node["address"] for node in document["nodes"]] == nodes.split(",")
    assert document["url"] == url
    assert all(node["address"].startswith("127.0.0.1:") for node in document["nodes"])


def test_logs_are_kept_when_the_command_fails_and_only_then(at_once: dict[str, Ended], place: Path) -> None:
    logs = sorted((place / "kept").iterdir())
    assert len(logs) == 6
    assert all("eady to accept connections" in log.read_text() for log in logs)
    assert f"logs of the servers are in {place / 'kept'}".encode() in at_once["kept"].err
    assert not (place / "unkept").exists()
    assert at_once["unkept"].err == b""


def test_the_info_file_is_there_whole_and_stdout_stays_clean(at_once: dict[str, Ended], place: Path) -> None:
    document = json.loads((place / "set.json").read_text())
    assert document["schema"] == 1
    assert [node["role"] for node in document["nodes"]].count("primary") == 3
    assert at_once["set"].out.count(b"\n") == 1
    assert not list(place.glob(".*.json.*"))


def test_a_command_that_is_not_there_is_127_before_anything_starts(start: Callable[..., Running]) -> None:
    ended = start("--", "no-such-command-here").end()
    assert ended.exit == 127
    assert ended.err.startswith(b"error: no-such-command-here: command not found.\n")
    assert not list(ended.run.folder.iterdir())


def test_a_command_that_is_not_executable_is_126(start: Callable[..., Running], place: Path) -> None:
    plain = place / "plain"
    plain.write_text("#!/bin/sh\n")
    for path, reason in ((plain, b"permission denied"), (place, b"it is a folder")):
        ended = start("--", path).end()
        assert ended.exit == 126
        assert b"cannot be executed: " + reason in ended.err


def test_a_folder_on_path_that_cannot_be_read_is_skipped(
    start: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = start("--", "no-such-command-here", env={"PATH": "x" * 5000}).end()
    assert (ended.exit, ended.err[:46]) == (127, b"error: no-such-command-here: command not found"), ended

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    for name, status in (("ls", 127), ("/locked/ls", 126)):
        with monkeypatch.context() as patched:
            patched.setattr(os, "stat", refuse)
            with pytest.raises(NotStarted) as caught:
                find(name)
        assert caught.value.status == status


def test_a_command_that_the_system_refuses_is_126(at_once: dict[str, Ended]) -> None:
    assert at_once["garbage"].exit == 126
    assert b"garbage cannot be executed: exec format error" in at_once["garbage"].err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), b"there is no command to run"),
        (("--primaries", "0", "--", "true"), b"0 primaries with 1 replica each do not make"),
        (("no-such.yaml", "--", "true"), b"there is no such file"),
        (
            ("no-such.yaml", "--primaries", "3", "--", "true"),
            b"the topology file determines the number of nodes",
        ),
        (("--server", "no-such-server", "--", "true"), b"there is no no-such-server on PATH"),
        (("--set", "port=1", "--", "true"), b"port is set by clusterboot"),
        (("--set", "requirepass=x", "--", "true"), b"have no password, so requirepass cannot be set"),
        (("--nonsense", "--", "true"), b"No such option: --nonsense"),
        (("-o", "json", "--", "true"), b"'run' has no JSON output"),
    ],
)
def test_what_clusterboot_cannot_do_is_125(
    start: Callable[..., Running], args: tuple[str, ...], said: bytes
) -> None:
    ended = start(*args).end()
    assert (ended.exit, ended.out) == (125, b""), ended
    assert said in ended.err


def test_options_of_the_command_are_left_alone(at_once: dict[str, Ended]) -> None:
    """-q, -o json, --help and a second -- behind the two dashes are words of the command."""
    assert at_once["options"].out == b"-q -o json --help -- --x\n"


def test_a_server_that_exits_immediately_is_125_with_its_output(
    start: Callable[..., Running], place: Path
) -> None:
    ended = start("--set", "maxmemory=much", "--keep-logs", place / "dead", "--", "true").end()
    assert ended.exit == 125
    assert b"the server exited immediately" in ended.err
    assert b"maxmemory" in ended.err
    assert list((place / "dead").iterdir())
    ended.run.check_nothing_left([])


def test_signals_reach_the_command_once_each(waiting: dict[str, Running]) -> None:
    run = waiting["listener"]
    assert run.line() == "there"
    ports = run.ports()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        run.kill(number)
        assert run.line() == number.name
    run.kill(signal.SIGUSR2)
    ended = run.end()
    assert (ended.exit, ended.out) == (9, b"SIGUSR2\n"), ended
    run.check_nothing_left(ports)


def test_a_signal_that_the_command_does_not_catch_ends_it(waiting: dict[str, Running]) -> None:
    """A group of its own: what a shell has started goes with it."""
    run = waiting["shell"]
    assert run.line() == "there"
    run.kill(signal.SIGTERM)
    assert run.end().exit == 128 + signal.SIGTERM
    run.check_nothing_left([])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_the_command_began_ends_the_run(
    start: Callable[..., Running], number: signal.Signals
) -> None:
    run = start("--", "echo", "began")
    wait_until(run.ports, "its servers start")
    run.kill(number)
    ended = run.end()
    assert ended.exit in (128 + number, -number), ended
    assert ended.out == b""
    run.check_nothing_left([])


def test_a_signal_whose_exception_python_swallows_still_ends_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As when it comes while a finalizer runs: Python prints such exceptions and goes on."""
    monkeypatch.setattr(signals, "_caught", [])
    signals.check_interrupted()
    kept = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(signal, "signal", lambda *_: kept)
    with suppress(Interrupted):
        signals._interrupt(signal.SIGTERM, None)
    with pytest.raises(Interrupted, match="SIGTERM"):
        signals.check_interrupted()
    with pytest.raises(Interrupted, match="SIGTERM"):
        signals.run_async(asyncio.sleep(0))


def test_ignored_signals_stay_ignored_and_no_others(at_once: dict[str, Ended]) -> None:
    """As under nohup; Python itself ignores SIGPIPE and SIGXFSZ, which is no business of the command."""
    # 32 and 33 belong to the C library, and may come ignored from whoever started the tests.
    named = sum(1 << (number - 1) for number in signal.Signals)
    assert int(at_once["ignored"].out.split()[1], 16) & named == 1 << (signal.SIGHUP - 1)


def test_a_killed_guardian_leaves_nothing(waiting: dict[str, Running]) -> None:
    """The cluster is gone then, so the command ends too, and the reason is printed."""
    run = waiting["unguarded"]
    assert run.line() == "there"
    ports = run.ports()
    os.kill(run.guardians()[0], signal.SIGKILL)
    ended = run.end()
    assert ended.exit == 125, ended
    assert b"the guardian of the throwaway cluster was killed" in ended.err
    run.check_nothing_left(ports)
