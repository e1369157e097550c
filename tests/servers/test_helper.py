"""The helper process where little is as usual: many descriptors, no more processes, no install any more."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from clusterboot.core.timers import NO_FAILOVER
from tests.harness.cli import ROOT, clusterboot, environment, launch
from tests.servers.conftest import Take
from tests.servers.pool import OLD, Nodes

MANY = """
import os, sys
for _ in range(1100):
    os.set_inheritable(os.open("/dev/null", os.O_RDONLY), True)
os.execv(sys.executable, [sys.executable, "-m", "clusterboot", "up", sys.argv[1]])
"""


def _lowered(nodes: Nodes) -> bool:
    return all(settings[NO_FAILOVER] == "yes" for settings in nodes.all_timers())


def _back(nodes: Nodes) -> None:
    nodes.until(lambda: nodes.all_timers() == [OLD] * nodes.count, "all settings are restored")


def _held_up(nodes: Nodes, free_ports: Callable[[int], list[int]]) -> Path:
    """A topology that never becomes Ready: its last node announces a bus port at which nobody listens."""
    nodes.configure(OLD)
    nodes.ok(nodes.count - 1, "CONFIG", "SET", "cluster-announce-bus-port", str(free_ports(1)[0]))
    return nodes.file()


def test_there_is_a_helper_beside_more_connections_than_select_takes(any_nodes: Take) -> None:
    """A run has one descriptor for each node, and select takes none above 1,023."""
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 1300:
        pytest.skip("this process may not have 1,300 open files")
    two = any_nodes(2)
    two.configure(OLD)
    done = subprocess.run(
        ["sh", "-c", 'ulimit -n 1300; exec "$@"', "sh", sys.executable, "-c", MANY, str(two.file())],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=60,
    )
    assert done.returncode == 0, done
    assert "restored on all of them" in " ".join(done.stdout.split())
    assert two.all_timers() == [OLD] * 2


def test_a_deadline_of_any_length_leaves_the_helper_waiting(
    any_nodes: Take, free_ports: Callable[[int], list[int]]
) -> None:
    two = any_nodes(2)
    with launch("up", _held_up(two, free_ports), "--timeout", "1e12") as process:
        two.until(lambda: _lowered(two), "settings are lowered")
        process.kill()
        process.communicate(timeout=20)
    _back(two)


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="there is no /proc here to read")
def test_the_helper_of_a_run_that_takes_longer_needs_no_install_any_more(
    any_nodes: Take, free_ports: Callable[[int], list[int]], tmp_path: Path
) -> None:
    """What a run was installed in may be removed together with it, as by `uvx` or a CI job."""
    two = any_nodes(2)
    install = tmp_path / "an install"
    shutil.copytree(ROOT / "clusterboot", install / "clusterboot")
    with launch("up", _held_up(two, free_ports), env={"PYTHONPATH": str(install)}, cwd=tmp_path) as process:
        two.until(lambda: _lowered(two), "settings are lowered")
        (helper,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        maps = Path(f"/proc/{helper}/maps")
        two.until(lambda: "_ssl" in maps.read_text(), "it imports what it needs")
        two.until(lambda: _waits(Path("/proc") / helper), "it has read all")
        shutil.rmtree(install)
        process.kill()
        process.communicate(timeout=20)
    _back(two)


def _waits(process: Path) -> bool:
    """Whether a process waits, and has read nothing since another look half a second ago."""
    before = (process / "io").read_text()
    time.sleep(0.5)
    return before == (process / "io").read_text()


def test_a_password_that_comes_through_a_pipe_is_read_once(any_nodes: Take) -> None:
    two = any_nodes(2)
    for index in (0, 1):
        two.ok(index, "ACL", "SETUSER", "ops", "on", ">through-a-pipe", "+@all")
    file = two.file(auth={"username": "ops", "password_file": "/dev/stdin"})
    for words in (["up", file], ["status", file], ["down", file, "--reset", "--yes"]):
        outcome = clusterboot(*words, stdin="through-a-pipe\n")
        assert outcome.exit == 0, outcome
