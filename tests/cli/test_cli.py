"""What the command line accepts, and how it reports what it does not."""

from __future__ import annotations

import importlib
import json
import signal
import subprocess
import sys
from collections.abc import Coroutine
from pathlib import Path

import pytest

from clusterboot import bootstrap, commands
from clusterboot.commands import ConnectOptions, UpOptions
from clusterboot.commands.connect import _credential, passwords
from clusterboot.commands.shell import Shell
from clusterboot.commands.signals import interrupted
from clusterboot.core.results import UpResult
from clusterboot.errors import Exit, Interrupted, NodeFailed
from clusterboot.loop.standby import Standby
from clusterboot.topology import Node, load
from clusterboot.wire.client import Fleet
from tests.harness.cli import ROOT, clusterboot, environment
from tests.render.moving import rebalanced

WIDE = {"COLUMNS": "200"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "topology.yaml"
    path.write_text("version: 1\nnodes: [192.0.2.1:7001-7003]\n")
    return path


@pytest.mark.parametrize(
    ("command", "flags", "message"),
    [
        ("up", ("--spawn", "--dry-run"), "--spawn starts servers and --dry-run changes nothing"),
        ("up", ("--spawn",), "no node of this topology has a loopback address"),
        (
            "up",
            ("--rebalance", "--meet-only"),
            "--rebalance moves slots and --meet-only only joins",
        ),
        ("down", ("--yes",), "--yes needs --reset."),
        ("down", ("--flush",), "--flush needs --reset."),
    ],
)
def test_flags_that_do_not_fit_are_wrong_usage(
    file: Path, command: str, flags: tuple[str, ...], message: str
) -> None:
    outcome = clusterboot(command, file, *flags, env=WIDE)
    assert (outcome.exit, outcome.out) == (2, ""), outcome
    assert outcome.err.startswith(f"error: {message}"), outcome


def test_a_mesh_without_slots_cannot_be_rebalanced(file: Path) -> None:
    file.write_text("version: 1\nnodes: [192.0.2.1:7001-7003]\nslots: none\n")
    outcome = clusterboot("up", file, "--rebalance", env=WIDE)
    assert (outcome.exit, outcome.out) == (2, ""), outcome
    assert outcome.err.startswith("error: --rebalance moves slots, and this topology has 'slots: none'."), (
        outcome
    )


@pytest.mark.parametrize(
    ("rebalance", "timeout", "seconds", "bounded", "limit"),
    [
        (False, None, 60.0, True, True),
        (False, 7.0, 7.0, True, True),
        (True, None, 60.0, False, False),
        (True, 7.0, 7.0, True, True),
    ],
)
def test_the_default_of_timeout_bounds_a_rebalance_only_while_nothing_moves(
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    rebalance: bool,
    timeout: float | None,
    seconds: float,
    bounded: bool,
    limit: bool,
) -> None:
    """A limit that was given is that of the whole run, of its connections and of the helper process."""
    asked: list[bootstrap.Request] = []

    async def up(request: bootstrap.Request) -> UpResult:
        asked.append(request)
        raise NodeFailed.of("x", "no.")

    monkeypatch.setattr(bootstrap, "up", up)
    commands.up(Shell(quiet=True), file, UpOptions(rebalance=rebalance), ConnectOptions(timeout))
    (request,) = asked
    assert (request.rebalance, request.timeout, request.bounded) == (rebalance, seconds, bounded)
    assert isinstance(request.fleet, Fleet)
    assert isinstance(request.helper, Standby)
    assert (request.fleet._deadline is not None) == limit
    assert request.helper._beats != bounded


def test_a_run_that_failed_tells_what_it_had_moved(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def up(request: bootstrap.Request) -> UpResult:
        failed = NodeFailed.of("x", "no.")
        failed.outcome = rebalanced()
        raise failed

    monkeypatch.setattr(bootstrap, "up", up)
    assert commands.up(Shell(), file, UpOptions(rebalance=True), ConnectOptions()) is Exit.NODE
    shown = capsys.readouterr().err
    assert shown.startswith("4,096 slots with 50,000 keys moved in 2.0 s\n")
    assert shown.endswith("error: no.\n")
    assert commands.up(Shell(json=True), file, UpOptions(rebalance=True), ConnectOptions()) is Exit.NODE
    shown = capsys.readouterr().out
    assert json.loads(shown)["moved"] == {"slots": 4096, "keys": 50_000, "seconds": 2.04}
    assert json.loads(shown)["retired"][0] == "127.0.0.1:7009"


def test_a_node_that_is_known_only_by_its_id_has_the_password_of_most_nodes() -> None:
    topology = load(
        "version: 1\nnodes: [10.0.0.1:1, 10.0.0.2:1, {host: 10.0.0.3, port: 1, auth: {password: b}}]\n"
        "auth: {username: ops, password: a}\n",
        "t.yaml",
    )
    credential = _credential(topology, passwords(topology, ConnectOptions()))
    assert [credential(node) for node in topology.nodes] == [("ops", "a"), ("ops", "a"), (None, "b")]
    assert credential(Node("cb0d4aa4" * 5, "10.0.0.4", 1)) == ("ops", "a")


def test_a_plan_can_be_seen_with_the_other_strategy(file: Path) -> None:
    meets = [
        [(step["node"][-1], step["peer"][-1]) for step in document["plan"]["steps"] if step["kind"] == "meet"]
        for strategy in ("star", "chain")
        if (document := clusterboot("plan", file, "--strategy", strategy, "-o", "json").json())
    ]
    assert meets == [[("1", "2"), ("1", "3")], [("1", "2"), ("2", "3")]]


def test_an_interrupt_after_spawning_says_how_to_stop_the_servers(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = importlib.import_module("clusterboot.commands.up")

    def interrupt(work: Coroutine[object, object, object]) -> None:
        work.close()
        raise interrupted(signal.SIGINT)

    monkeypatch.setattr(command, "run_async", interrupt)
    for started, hinted in ((2, True), (0, False)):
        monkeypatch.setattr(command, "_spawn", lambda *_, started=started: (started, ()))
        with pytest.raises(Interrupted) as caught:
            command.up(Shell(), file, UpOptions(spawn=True), ConnectOptions())
        hint = caught.value.problems[0].hint or ""
        assert (f"'clusterboot down {file}' stops the local servers" in hint) == hinted


@pytest.mark.parametrize(
    ("words", "redirection", "reason"),
    [
        ("plan FILE", ">/dev/full", "No space left on device"),
        ("plan FILE -o json", ">/dev/full", "No space left on device"),
        ("plan FILE --format commands", ">&-", "Bad file descriptor"),
        ("--help", ">/dev/full", "No space left on device"),
        ("--help", ">&-", "Bad file descriptor"),
    ],
)
def test_output_that_cannot_be_written_is_one_sentence(
    file: Path, words: str, redirection: str, reason: str
) -> None:
    done = _redirected(words, file, redirection)
    assert done.returncode == 2, done
    assert done.stderr.startswith(f"error: cannot write the output: {reason}.\n"), done
    assert done.stderr.count("\n") == 2, done


def test_quiet_commands_need_no_stdout(file: Path) -> None:
    done = _redirected("validate FILE --quiet", file, ">&-")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_failure_has_its_status_even_if_nothing_can_be_written(file: Path) -> None:
    file.write_text("nodes: 3\n")
    assert _redirected("plan FILE -o json", file, ">&- 2>&- <&-").returncode == 2
    assert _redirected("plan FILE", file, "2>/dev/full").returncode == 2


COMMANDS = ("validate", "plan", "up", "status", "down", "ls", "run")


def test_no_command_at_all_is_the_help_and_status_2() -> None:
    alone = clusterboot()
    assert (alone.exit, alone.err) == (2, "")
    assert alone.out == clusterboot("--help").out == clusterboot("-h").out
    assert alone.out.startswith("Usage: clusterboot [OPTIONS] COMMAND [ARGS]...\n")


def test_no_summary_is_cut_in_the_overview() -> None:
    outcome = clusterboot("-h", env={"COLUMNS": "80"})
    overview = outcome.out.split("Commands:\n")[1].split("\n\n")[0].splitlines()
    assert [line.split()[0] for line in overview] == list(COMMANDS), outcome
    assert all(line.endswith(".") and not line.endswith("...") for line in overview), outcome


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_names_the_global_options(command: str) -> None:
    outcome = clusterboot(command, "-h")
    flags = " ".join(outcome.out.split()).partition("Global options, before or after the command: ")[2]
    assert flags == f"{'' if command == 'run' else '-o/--output text|json, '}-q/--quiet, --no-color, --debug."


def test_the_usage_of_run_shows_the_place_of_the_command() -> None:
    usage = clusterboot("run", "--help", env=WIDE).out.splitlines()[0]
    assert usage == "Usage: clusterboot run [OPTIONS] [TOPOLOGY] -- COMMAND [ARGS]..."


@pytest.mark.parametrize("command", ["validate", "plan", "up", "status", "down"])
def test_the_usage_shows_the_topology_as_it_is_written(command: str) -> None:
    usage = clusterboot(command, "--help", env=WIDE).out.splitlines()[0]
    assert usage == f"Usage: clusterboot {command} [OPTIONS] TOPOLOGY"


def test_a_plan_has_one_format(file: Path) -> None:
    for form in ("commands", "table"):
        outcome = clusterboot("plan", file, "--format", form, "-o", "json")
        assert outcome.exit == 2
        assert [(each["message"], each["hint"]) for each in outcome.json()["errors"]] == [
            (f"--format {form} and -o json contradict each other.", "leave one of them out")
        ]
    assert clusterboot("plan", file, "--format", "json", "-o", "json").exit == 0
    assert clusterboot("plan", file, "--format", "table").out == clusterboot("plan", file).out


def test_a_file_that_cannot_be_read_is_an_error_like_others(tmp_path: Path) -> None:
    outcome = clusterboot("plan", tmp_path / "no.yaml", env=WIDE)
    assert outcome.exit == 2
    said = f"error: {tmp_path}/no.yaml: cannot read the topology file: there is no such file\n"
    assert outcome.err == f"{said}  → check the path\n"


@pytest.mark.parametrize("words", ["pytest", "echo hi", "--replicas 0 echo hi"])
def test_a_command_without_two_dashes_gets_a_hint(words: str) -> None:
    outcome = clusterboot("run", *words.split(), env=WIDE)
    assert (outcome.exit, outcome.err) == (
        125,
        "error: there is no command to run.\n  → write it after two dashes: clusterboot run -- pytest -q\n",
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("plan FILE --format x", "'--format': 'x' is not one of 'table', 'json', 'commands'."),
        ("ls -o xml", "'--output' / '-o': 'xml' is not one of 'text', 'json'."),
        ("status FILE --timeout abc", "'--timeout': it is not a number."),
        ("status FILE --timeout 0", "'--timeout': it must be 0.1 or more."),
        ("up FILE --timeout nan", "'--timeout': it must be 0.1 or more."),
        ("run --replicas 1.5 -- true", "'--replicas': it is not a whole number."),
        ("run a b -- true", "unexpected argument: b."),
        ("ls a", "unexpected argument: a."),
        ("ls --nope", "No such option: --nope."),
    ],
)
def test_wrong_values_are_reported_in_plain_english(file: Path, words: str, message: str) -> None:
    outcome = clusterboot(*words.replace("FILE", str(file)).split(), env=WIDE)
    assert (
        outcome.err.splitlines()[0].removeprefix("error: Invalid value for ").removeprefix("error: ")
        == message
    )
    assert outcome.exit == (125 if words.startswith("run") else 2)


def _redirected(words: str, file: Path, redirection: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            "sh",
            "-c",
            f'exec "$0" -m clusterboot {words.replace("FILE", str(file))} {redirection}',
            sys.executable,
        ],
        capture_output=True,
        text=True,
        timeout=30,
        cwd=ROOT,
        env=environment(),
    )
