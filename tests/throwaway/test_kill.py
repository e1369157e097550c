"""SIGKILL to clusterboot at any moment, and a terminal: the guardian ends what is left, and nothing else."""

from __future__ import annotations

import os
import pty
import random
import select
import signal
import sys
import time
from collections.abc import Callable

import pytest

from tests.harness.cli import ROOT
from tests.harness.marked import marked, new_mark, wait_gone, wait_until
from tests.throwaway.throwaway import Running

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(sys.platform != "linux", reason="what is left of a run is looked for in /proc"),
]
# What is promised is two seconds; the rest is for a machine that is busy with something else.
GONE = 4.0
AT_ONCE = 10
# A command with children: one that obeys SIGTERM, and one that does not and is stopped besides.
COMMANDS = (
    ("sh", "-c", "echo there; sleep 600 & sleep 600; true"),
    ("sh", "-c", "trap '' TERM; echo there; (kill -STOP $$) & sleep 600; sleep 600"),
    ("true",),
)


@pytest.mark.parametrize(
    "batch", [*range(2), *(pytest.param(batch, marks=pytest.mark.soak) for batch in range(2, 30))]
)
def test_nothing_outlives_a_killed_clusterboot(batch: int, start: Callable[..., Running]) -> None:
    """20 seeded moments of start-up, run and teardown, ten at a time; 300 in the soak."""
    moments = random.Random(batch)
    runs = []
    for number in range(AT_ONCE):
        command = COMMANDS[moments.randrange(3)]
        run = start("--primaries", str(1 + 2 * (number % 2)), "--", *command)
        runs.append((time.monotonic() + moments.uniform(0.0, 5.5), run, set[int]()))
    for due, run, ports in sorted(runs, key=lambda each: each[0]):
        while time.monotonic() < due and run.process.poll() is None:
            ports |= set(run.ports())
            time.sleep(0.01)
        ports |= set(run.ports())
        run.kill()
        run.process.wait()
        run.check_nothing_left(sorted(ports), deadline=GONE)


def test_a_kill_in_the_teardown_leaves_nothing(start: Callable[..., Running]) -> None:
    run = start("--", "echo", "there")
    assert run.line() == "there"
    ports = run.ports()
    while run.pids("echo there") and run.process.poll() is None:
        time.sleep(0.001)
    run.kill()
    run.process.wait()
    run.check_nothing_left(ports, deadline=GONE)


# Leaves its parent, its group, its session and its environment, and does not listen to SIGTERM.
DAEMON = """
import os, signal, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print(os.getpid(), flush=True)
    for stream in (0, 1, 2):
        os.dup2(os.open(os.devnull, os.O_RDWR), stream)
    os.execve("/bin/sleep", ["sleep", "600"], {})
os.wait()
time.sleep(float(sys.argv[1]))
"""
ONE = ("--primaries", "1", "--replicas", "0", "--")


def test_a_daemon_of_the_command_ends_with_it_however_that_ends(start: Callable[..., Running]) -> None:
    """By itself, by a signal, or because clusterboot is killed, alone or with one of its guardians."""
    ways = ("end", "SIGTERM", "SIGKILL", "guardian", "guardian's parent")
    python = (sys.executable, "-c", DAEMON)
    runs = {way: start(*ONE, *python, "0" if way == "end" else "600") for way in ways}
    for way, run in runs.items():
        daemon = int(run.line())
        ports = run.ports()
        if way == "SIGTERM":
            run.kill(signal.SIGTERM)
        elif way != "end":
            guardian, parent = run.guardians()
            for pid in {"guardian": [guardian], "guardian's parent": [parent]}.get(way, []):
                os.kill(pid, signal.SIGKILL)
            run.kill()
        if way in ("end", "SIGTERM"):
            assert run.end().exit == (0 if way == "end" else 143)
            # `run` returns when all of it is gone.
            assert not _runs(daemon), way
        else:
            wait_until(lambda pid=daemon: not _runs(pid), f"{way}: the daemon is gone", GONE)  # type: ignore[misc]
        run.check_nothing_left(ports, deadline=GONE)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_when_all_are_killed_servers_and_command_end_and_the_next_run_removes_the_folder(
    start: Callable[..., Running],
) -> None:
    run = start(*ONE, "sh", "-c", "echo there; exec sleep 600")
    assert run.line() == "there"
    ports = run.ports()
    guardians = run.guardians()
    lines = marked(run.mark)
    assert "clusterboot" in lines[run.process.pid]
    assert not any("clusterboot" in lines[pid] for pid in guardians), "pkill -f clusterboot takes them along"
    for number in (signal.SIGSTOP, signal.SIGKILL):  # Nobody is quick enough to see another go.
        for pid in (run.process.pid, *guardians):
            os.kill(pid, number)
    run.process.wait()
    run.check_nothing_left(ports, deadline=GONE, folder=True)
    assert start(*ONE, "true", env={"TMPDIR": str(run.folder)}).end().exit == 0
    assert list(run.folder.iterdir()) == []


class Terminal:
    """clusterboot in the foreground of a terminal, started by a shell that outlives it."""

    def __init__(self, *args: str) -> None:
        self.mark = new_mark()
        self.pid, self.screen = pty.fork()
        if self.pid == 0:
            path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
            env = {**os.environ, "PYTHONPATH": path, **self.mark}
            shell = ("sh", "-c", 'trap : INT; "$@"; echo "exit $?"; read line', "sh")
            os.execvpe("sh", [*shell, sys.executable, "-m", "clusterboot", "run", *args], env)

    def read_until(self, text: str, deadline: float = 30.0) -> str:
        seen = ""
        end = time.monotonic() + deadline
        while text not in seen:
            assert time.monotonic() < end, f"no {text!r} in {seen!r}"
            if select.select([self.screen], [], [], 0.1)[0]:
                try:
                    seen += os.read(self.screen, 4096).decode()
                except OSError:
                    raise AssertionError(f"it ended without {text!r}: {seen!r}") from None
        return seen

    def end(self, status: int) -> None:
        """Wait until clusterboot has ended with `status`, then let the shell go."""
        self.read_until(f"exit {status}")
        os.write(self.screen, b"\n")
        os.waitpid(self.pid, 0)
        os.close(self.screen)


LISTENER = """
import os, signal, sys, time
heard = []
signal.signal(signal.SIGINT, lambda *_: heard.append("INT"))
print("foreground", os.tcgetpgrp(0) == os.getpgrp(), flush=True)
while not heard:
    time.sleep(0.05)
time.sleep(0.3)
print("heard", len(heard), flush=True)
print("typed", input(), flush=True)
sys.exit(5)
"""
# Not a shell: while dash starts a command it can lose a SIGINT.
SLEEPER = """
import signal, time
signal.signal(signal.SIGINT, signal.SIG_DFL)
print("there", flush=True)
time.sleep(600)
"""


def test_ctrl_c_at_a_terminal_reaches_the_command_once() -> None:
    """The command has the terminal: it may read it, and Ctrl-C comes from there and not from us as well."""
    terminal = Terminal(*ONE, sys.executable, "-c", LISTENER)
    terminal.read_until("foreground True")
    os.write(terminal.screen, b"\x03")
    terminal.read_until("heard 1")
    # No shell with job control is above it, so nobody could wake it: the system lets Ctrl-Z pass.
    os.write(terminal.screen, b"\x1a")
    os.write(terminal.screen, b"hello\n")
    terminal.read_until("typed hello")
    terminal.end(5)
    wait_gone(terminal.mark, GONE)


def test_ctrl_c_ends_a_command_that_does_not_catch_it() -> None:
    terminal = Terminal(*ONE, sys.executable, "-c", SLEEPER)
    terminal.read_until("there")
    os.write(terminal.screen, b"\x03")
    terminal.end(130)
    wait_gone(terminal.mark, GONE)


def test_a_kill_at_a_terminal_ends_the_command_and_its_children() -> None:
    """There the command has no group of its own, so its family is looked up."""
    terminal = Terminal(*ONE, "sh", "-c", "sleep 600 & echo there; setsid sleep 600; true")
    terminal.read_until("there")
    (clusterboot,) = [
        pid
        for pid, line in marked(terminal.mark).items()
        if "-m clusterboot run" in line and "sh -c" not in line[:9]
    ]
    os.kill(clusterboot, signal.SIGKILL)
    # Before the shell ends: with it the terminal would go, and take what is in its foreground along.
    wait_until(lambda: list(marked(terminal.mark)) == [terminal.pid], "only the shell is left", GONE)
    terminal.end(137)
