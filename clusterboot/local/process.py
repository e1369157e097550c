"""Processes that outlive the command that started them: identify them, and end them.

A pid is reused once its process is gone. Together with the start time and the boot it is unique.
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
# Seconds between SIGTERM and SIGKILL.
_GRACE = 3.0
# Children of this process, which stay zombies until they are polled.
_children: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True, slots=True)
class Process:
    """One process: its pid, its start time as the system writes it, the boot id, and its working folder."""

    pid: int
    started: str
    boot: str
    folder: Path


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Defer SIGINT and SIGTERM to the end of the block, so that no child is lost; main thread only.

    It uses handlers and not a signal mask, because children would inherit a mask.
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
            # None stands for a handler set by C code, which Python cannot restore.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        for late in caught:
            signal.raise_signal(late)


def adopt(child: subprocess.Popen[bytes], folder: Path) -> Process:
    """Return the process of a child; `exit_status` takes its pid from here on."""
    _children[child.pid] = child
    # It may have died already.
    return identify(child.pid, folder) or Process(child.pid, "", boot(), folder)


def exit_status(pid: int) -> int | None:
    """Return the exit status of a child (minus the signal that killed it), or None while it runs."""
    return _children[pid].poll()


def identify(pid: int, folder: Path) -> Process | None:
    """Return the process with this pid, or None if it is gone or a zombie; `runs` expects it in `folder`."""
    child = _children.get(pid)
    if child is not None and child.poll() is not None:
        return None
    started = _started_linux(pid) if sys.platform == "linux" else _started_ps(pid)
    return None if started is None else Process(pid, started, boot(), folder)


def runs(process: Process) -> bool:
    """Return whether this very process still runs; on Linux, its working folder is checked too.

    Containers that share a state folder can have the same boot id, but not the same pids.
    """
    if not _exists(process):
        return False
    if sys.platform != "linux":
        return True
    cwd = Path(f"/proc/{process.pid}/cwd")
    try:
        return cwd.samefile(process.folder)
    except FileNotFoundError:
        # Its folder may have been removed.
        with contextlib.suppress(OSError):
            return str(cwd.readlink()) == f"{process.folder} (deleted)"
        return False
    except PermissionError:
        return False  # It belongs to another user.


def _exists(process: Process) -> bool:
    return identify(process.pid, process.folder) == process


def end(processes: Collection[Process]) -> list[Process]:
    """End processes with their groups: SIGTERM, then SIGKILL; return what still runs.

    Each leads a group, because the server may be the child of a script. A process that is no longer the same
    (see `runs`) is left alone.
    """
    for sent in (signal.SIGTERM, signal.SIGKILL):
        left = list(filter(runs, processes))
        for process in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, sent)
        until = time.monotonic() + _GRACE
        while (left := list(filter(_exists, left))) and time.monotonic() < until:
            time.sleep(_POLL)
        if not left:
            break
    return left


@functools.cache
def boot() -> str:
    """Return the id of this boot of the machine."""
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
    """Return the start of a process as ps prints it, to the second."""
    state, _, started = _output("ps", "-o", "state=,lstart=", "-p", str(pid)).partition(" ")
    return None if not started or state.startswith("Z") else started.strip()


def _output(*command: str) -> str:
    # A fixed language and time zone, because the output is compared with that of other runs.
    env = {**os.environ, "LC_ALL": "C", "TZ": "UTC"}
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    return done.stdout.strip()
