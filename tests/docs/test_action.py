"""The GitHub Action: its file is consistent, and its steps, run locally, start a cluster."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.harness.cli import ROOT, clusterboot
from tests.harness.ready import wait_ready
from tests.harness.servers import any_kind, binary

ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text())
INSTALL, UP = ACTION["runs"]["steps"]


def step(which: dict[str, Any], folder: Path, **inputs: str) -> subprocess.CompletedProcess[str]:
    """Run the script of a step as the runner does, with `clusterboot` on PATH as after the install step."""
    defaults = {name: str(each["default"]) for name, each in ACTION["inputs"].items()} | inputs
    env = {
        name: re.sub(r"\$\{\{ inputs\.(\w+) \}\}", lambda match: defaults[match[1]], value)
        for name, value in which["env"].items()
    }
    path = folder / "path"
    path.mkdir(exist_ok=True)
    (path / "clusterboot").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m clusterboot "$@"\n')
    (path / "clusterboot").chmod(0o755)
    runner = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_OUTPUT": str(folder / "output"),
        "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
        "PATH": f"{path}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
        "RUNNER_TEMP": str(folder),
    }
    (folder / "step.sh").write_text(which["run"])
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", folder / "step.sh"],
        capture_output=True,
        text=True,
        env={**os.environ, **runner, **env},
        timeout=60,
    )


def outputs(folder: Path) -> dict[str, str]:
    pairs = (line.split("=", 1) for line in (folder / "output").read_text().splitlines())
    return dict(pairs)


def test_the_composite_action_is_consistent() -> None:
    assert ACTION["runs"]["using"] == "composite"
    assert set(ACTION["inputs"]) == {"topology", "primaries", "replicas", "port", "server", "version"}
    assert {name: each["value"] for name, each in ACTION["outputs"].items()} == {
        name: f"${{{{ steps.{UP['id']}.outputs.{name} }}}}" for name in ("nodes", "url")
    }
    assert all(each["shell"] == "bash" for each in (INSTALL, UP))
    # Inputs are passed in the environment, because in the text of a script they would run as code.
    assert not any("${{" in each["run"] for each in (INSTALL, UP))


@pytest.mark.server
def test_numbers_start_a_cluster_that_outlives_the_step(
    tmp_path: Path, free_ports: Callable[[int], list[int]]
) -> None:
    port = next(port for port in range(free_ports(1)[0], 22000) if _free(port, 2))
    done = step(UP, tmp_path, primaries="1", port=str(port), server=binary(any_kind()))
    try:
        assert done.returncode == 0, done
        nodes = [f"127.0.0.1:{port}", f"127.0.0.1:{port + 1}"]
        assert outputs(tmp_path) == {"nodes": ",".join(nodes), "url": f"redis://{nodes[0]}"}
        wait_ready(nodes)
        assert "::group::" in done.stderr
        assert (tmp_path / "summary.md").read_text().startswith(f"### ✅ Cluster ci-{port}: Ready")
    finally:
        assert clusterboot("down", tmp_path / "clusterboot" / f"ci-{port}.yaml").exit == 0


def test_an_invalid_topology_is_annotated_and_fails_the_step(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("version: 1\nnodes: [127.0.0.1:x]\n")
    done = step(UP, tmp_path, topology=str(tmp_path / "bad.yaml"))
    assert done.returncode == 2
    assert "::error file=" in done.stderr
    assert not (tmp_path / "output").exists()


@pytest.mark.parametrize(
    "inputs", [{"primaries": "3; id"}, {"topology": "x.yaml", "server": "x"}, {"port": ""}]
)
def test_invalid_inputs_fail_the_step_with_an_error(tmp_path: Path, inputs: dict[str, str]) -> None:
    done = step(UP, tmp_path, **inputs)
    assert done.returncode == 2
    assert done.stdout.startswith("::error::")


def _free(port: int, count: int) -> bool:
    from tests.harness.servers import _free as free

    return free("127.0.0.1", *(each + bus for each in range(port, port + count) for bus in (0, 10000)))
