"""The contract of every command: with -o json exactly one document on stdout, and the exit status in it."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.harness.cli import Outcome, clusterboot, launch
from tests.servers.conftest import Take

COMMON = {"schema", "command", "ok", "exit", "errors", "warnings"}
KEYS = {
    "validate": {"nodes", "placement", "plan"},
    "plan": {"nodes", "placement", "plan"},
    "up": {"ready", "nodes", "steps", "mesh", "repaired", "extra_meets", "boost", "seconds"},
    "status": {"ready", "reasons", "nodes"},
    "down": {"stopped", "gone", "reset", "left"},
    "ls": {"clusters"},
}
PROBLEM = {"code", "message", "node", "peer", "hint"}
NODE = {"name", "address", "id", "role", "primary", "slots", "version", "state", "unseen"}
STEP = {
    "epoch": {"node", "epoch"},
    "slots": {"node", "slots"},
    "meet": {"node", "peer"},
    "replicate": {"node", "primary"},
}

FILE = "version: 1\nnodes: [127.0.0.1:1]\n"


def holds(outcome: Outcome, command: str, status: int) -> Any:
    """Check what every document promises, and return it."""
    document = outcome.json()
    assert outcome.exit == status, outcome
    assert document.keys() >= COMMON | KEYS[command], outcome
    assert (document["schema"], document["command"]) == (1, command)
    assert (document["exit"], document["ok"]) == (status, status == 0)
    said = [*document["errors"], *document["warnings"], *document.get("reasons", [])]
    for problem in said:
        assert problem.keys() >= PROBLEM
        assert problem["code"]
        assert problem["message"].endswith((".", ":", "\n")) or "file" in problem
    assert bool(document["errors"] or document.get("reasons")) == (status != 0), outcome
    for node in document.get("nodes", []):
        assert node.keys() >= NODE
    plan = document.get("plan") or {"strategy": "star", "groups": 0, "steps": []}
    assert plan.keys() >= {"strategy", "groups", "steps"}
    for step in [*document.get("steps", []), *plan["steps"]]:
        assert step.keys() >= {"kind"} | STEP[step["kind"]]
    assert "Traceback" not in outcome.err
    return document


def test_status_0_of_every_command(any_nodes: Take) -> None:
    three = any_nodes(3)
    file = three.file()
    for command in ("validate", "plan"):
        holds(clusterboot(command, file, "-o", "json"), command, 0)
    holds(clusterboot("plan", file, "--format", "json"), "plan", 0)
    holds(clusterboot("up", file, "--dry-run", "-o", "json"), "up", 0)
    holds(clusterboot("up", file, "-o", "json"), "up", 0)
    holds(clusterboot("-o", "json", "status", file), "status", 0)
    holds(clusterboot("status", file, "--output=json", "--quiet"), "status", 0)
    holds(clusterboot("down", file, "-o", "json"), "down", 0)
    holds(clusterboot("down", file, "--reset", "--yes", "-o", "json"), "down", 0)
    holds(clusterboot("ls", "-o", "json"), "ls", 0)


@pytest.mark.parametrize(("what", "status"), [("defect", 1), ("SIGINT", 130), ("SIGTERM", 143)])
@pytest.mark.parametrize("command", KEYS)
def test_a_defect_and_a_signal_in_any_command_are_one_document(
    tmp_path: Path, command: str, what: str, status: int
) -> None:
    file = tmp_path / "topology.yaml"
    file.write_text(FILE)
    arguments = [command, *([] if command == "ls" else [str(file)])]
    flags = ["--reset", "--yes"] if command == "down" else []
    outcome = _driven([what, *arguments, *flags, "-o", "json"])
    document = holds(outcome, command, status)
    if what == "defect":
        (error,) = document["errors"]
        assert error["message"] == "this is a defect of clusterboot itself: RuntimeError."
        assert "report" in error["hint"]
    else:
        assert [error["code"] for error in document["errors"]] == ["interrupted"]


def test_a_module_that_is_missing_is_named() -> None:
    outcome = _driven(["missing", "ls"])
    assert outcome.exit == 1
    assert "this installation of clusterboot is broken: No module named 'yaml'." in outcome.err
    assert "pip install" in outcome.err


def test_a_traceback_is_shown_with_debug_only(tmp_path: Path) -> None:
    assert "Traceback" not in _driven(["defect", "ls"]).err
    shown = _driven(["defect", "ls", "--debug", "-o", "json"])
    assert "RuntimeError: a defect" in shown.err
    assert shown.json()["exit"] == 1


def _driven(arguments: Sequence[str]) -> Outcome:
    return clusterboot(*arguments, module="tests.servers.broken")


@pytest.mark.parametrize("command", sorted(KEYS.keys() - {"ls"}))
def test_status_2_of_every_command_that_takes_a_file(tmp_path: Path, command: str) -> None:
    file = tmp_path / "topology.yaml"
    file.write_text("version: 1\nnodes: [127.0.0.1:70000]\nnode: 3\n")
    errors = holds(clusterboot(command, file, "-o", "json"), command, 2)["errors"]
    assert [error["line"] for error in errors] == [2, 3]
    holds(clusterboot(command, tmp_path / "missing.yaml", "-o", "json"), command, 2)
    holds(clusterboot(command, "-o", "json"), command, 2)
    holds(clusterboot(command, file, "--no-such-flag", "-o", "json"), command, 2)


def test_status_2_of_ls_and_of_no_command_at_all() -> None:
    holds(clusterboot("ls", "too-much", "-o", "json"), "ls", 2)
    outcome = clusterboot("no-such-command", "-o", "json")
    assert outcome.exit == outcome.json()["exit"] == 2, outcome
    assert clusterboot("ls", "-o", "xml").exit == 2


def test_status_3_of_up_and_down_where_status_has_4(any_nodes: Take) -> None:
    three = any_nodes(3)
    three.join((0, 1, 2))
    file = three.file(nodes=three.addresses[:2])
    holds(clusterboot("up", file, "-o", "json"), "up", 3)
    holds(clusterboot("status", file, "-o", "json"), "status", 4)
    holds(clusterboot("down", file, "--reset", "--yes", "-o", "json"), "down", 3)


def test_status_4_of_up_status_and_down(any_nodes: Take, free_ports: Callable[[int], list[int]]) -> None:
    two = any_nodes(2)
    # A bus port announced at which nobody listens: they never meet.
    two.ok(1, "CONFIG", "SET", "cluster-announce-bus-port", str(free_ports(1)[0]))
    file = two.file()
    holds(clusterboot("status", file, "-o", "json"), "status", 4)
    document = holds(clusterboot("up", file, "--timeout", "1.5", "-o", "json"), "up", 4)
    assert {step["kind"] for step in document["steps"]} == {"epoch", "slots", "meet"}
    assert [node["name"] for node in document["nodes"]] == two.addresses
    # The check that nobody comes back takes longer than that.
    holds(clusterboot("down", file, "--reset", "--yes", "--timeout", "0.3", "-o", "json"), "down", 4)


def test_status_5_of_up_status_and_down(tmp_path: Path, free_ports: Callable[[int], list[int]]) -> None:
    file = tmp_path / "topology.yaml"
    file.write_text(f"version: 1\nnodes: [127.0.0.1:{free_ports(1)[0]}]\n")
    holds(clusterboot("up", file, "-o", "json"), "up", 5)
    holds(clusterboot("status", file, "-o", "json"), "status", 5)
    holds(clusterboot("down", file, "--reset", "--yes", "-o", "json"), "down", 5)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("command", ["up", "status", "down"])
def test_a_signal_while_nodes_are_asked_is_one_document(
    tmp_path: Path, command: str, number: signal.Signals, status: int
) -> None:
    file = tmp_path / "topology.yaml"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(30)
        host, port = silent.getsockname()
        file.write_text(f"version: 1\nnodes: [{{host: {host}, port: {port}, bus_port: 1}}]\n")
        flags = ["--reset", "--yes"] if command == "down" else []
        with launch(command, file, *flags, "-o", "json") as process:
            connection, _ = silent.accept()
            with connection:
                process.send_signal(number)
                out, err = process.communicate(timeout=20)
    document = holds(Outcome((command,), process.returncode, out, err), command, status)
    assert [error["code"] for error in document["errors"]] == ["interrupted"]
