"""Processes that outlive the command which started them: tell one from its successor, and end it.

A pid alone says little: once its process is gone the system gives it to another. With the moment of
its start, and the boot in which that was, it names one process for ever.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

_POLL = 0.01
# Children of this very process, which stay zombies until somebody asks how they ended.
_children: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True, slots=True)
class Process:
    """One process: its pid, the boot it belongs to, and its start in the system's own notation."""

    pid: int
    started: str
    boot: str


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Put off SIGINT and SIGTERM to the end of the block, so that no child is lost half-way.

    Only the main thread is ever interrupted; in any other this does nothing. The signals are held back
    by handlers and not by a mask, which children would inherit and keep.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[int] = []
    handlers = {
        number: signal.signal(number, lambda number, frame: caught.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            # None is a handler that C code has set, which Python cannot put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        for late in caught:
            signal.raise_signal(late)


def adopt(child: subprocess.Popen[bytes]) -> Process:
    """Take over a child that is to outlive this process; from here on it is known by its pid."""
    _children[child.pid] = child
    # Of one that has died already, nothing is left to be told.
    return identify(child.pid) or Process(child.pid, "", boot())


def exit_status(pid: int) -> int | None:
    """Return how a child ended (minus the signal that killed it), or None while it runs."""
    return _children[pid].poll()


def identify(pid: int) -> Process | None:
    """Return the process that has this pid now, or None when there is none or it is a zombie."""
    child = _children.get(pid)
    if child is not None and child.poll() is not None:
        return None
    started = _started_linux(pid) if sys.platform == "linux" else _started_ps(pid)
    return None if started is None else Process(pid, started, boot())


def runs(process: Process, folder: Path) -> bool:
    """Return whether this very process still runs, in `folder` where the system tells (Linux).

    The folder is asked for because a state folder can be shared between machines or containers,
    each with pids of its own.
    """
    if identify(process.pid) != process:
        return False
    if sys.platform != "linux":
        return True
    try:
        return Path(f"/proc/{process.pid}/cwd").samefile(folder)
    except FileNotFoundError:
        return _gone_folder(process.pid, folder)
    except PermissionError:
        # It belongs to another user: none of ours.
        return False


def _gone_folder(pid: int, folder: Path) -> bool:
    """Return whether the process runs in `folder`, which somebody has removed under it."""
    with contextlib.suppress(OSError):
        return str(Path(f"/proc/{pid}/cwd").readlink()) == f"{folder} (deleted)"
    return False


def end(processes: Collection[tuple[Process, Path]], *, grace: float) -> list[Process]:
    """End processes and their groups: SIGTERM, and SIGKILL for what still runs after `grace` seconds.

    Each comes with its folder and leads its group, for the server may be the child of a script. What is
    not the same process any more (see `runs`) is left alone. Returns those that could not be ended.
    """
    for sent in (signal.SIGTERM, signal.SIGKILL):
        left = [(process, folder) for process, folder in processes if runs(process, folder)]
        for process, _ in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, sent)
        until = time.monotonic() + grace
        while left and time.monotonic() < until:
            left = [(process, folder) for process, folder in left if identify(process.pid) == process]
            if left:
                time.sleep(_POLL)
        if not left:
            break
    return [process for process, _ in left]


@functools.cache
def boot() -> str:
    """Return what tells this boot of the machine from every other one."""
    if sys.platform != "linux":
        return _output("sysctl", "-n", "kern.bootsessionuuid")
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _started_linux(pid: int) -> str | None:
    """Return the start of a process in clock ticks since boot: field 22 of proc(5) /proc/PID/stat."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    # The command, field 2, is in parentheses and may hold any character.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else fields[19]


def _started_ps(pid: int) -> str | None:
    """Return the start of a process as ps says it, to the second."""
    state, _, started = _output("ps", "-o", "state=,lstart=", "-p", str(pid)).partition(" ")
    return None if not started or state.startswith("Z") else started.strip()


def _output(*command: str) -> str:
    # In one language and one time zone, for what it says is compared with what it said in another run.
    env = {**os.environ, "LC_ALL": "C", "TZ": "UTC"}
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    return done.stdout.strip()
