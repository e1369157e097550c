"""The user's command: started with our own stdin, stdout and stderr, handed our signals, waited for.

Where there is a terminal the command stays in our process group: Ctrl-C and Ctrl-Z reach it from the
terminal itself, and it may be part of a pipeline. Elsewhere (CI, cron, a container) it gets a group of its
own, so that a signal sent to us reaches all of it, once.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from clusterboot.errors import ClusterbootError, Exit, Problem
from clusterboot.run.keeper import Keeper

# What env(1), timeout(1) and others of that kind say (POSIX, "Exit Status" of env).
FAILED, NOT_EXECUTABLE, NOT_FOUND = 125, 126, 127

_HANDED_ON = (
    *(signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT),
    *(signal.SIGUSR1, signal.SIGUSR2),
)
_FROM_TERMINAL = {signal.SIGINT, signal.SIGQUIT}


class NotStarted(ClusterbootError):
    """The command cannot be run; `status` is what `run` exits with."""

    def __init__(self, problem: Problem, status: int) -> None:
        super().__init__(problem)
        self.status = status


def find(name: str) -> str:
    """Return the path of a command; raises NotStarted when there is none or it cannot be executed."""
    places = [name] if os.sep in name else [os.path.join(folder, name) for folder in os.get_exec_path()]  # noqa: PTH118
    there = [path for path in places if Path(path).exists()]
    for path in there:
        if os.access(path, os.X_OK) and not Path(path).is_dir():
            return path
    if name and there:
        raise _not_executable(name, "it is a folder" if Path(there[0]).is_dir() else "permission denied")
    raise _not_found(name)


def ignored() -> frozenset[signal.Signals]:
    """Return the signals that we were started to ignore, as by nohup: the command is to ignore them too."""
    return frozenset(number for number in _HANDED_ON if signal.getsignal(number) is signal.SIG_IGN)


def execute(
    command: Sequence[str], env: Mapping[str, str], keeper: Keeper, ignore: frozenset[signal.Signals]
) -> int:
    """Run `command` to its end and return its exit status, 128 + n where signal n killed it.

    The keeper's guardian ends it if we are killed. From here on signals are the command's; they end this
    process no more. Raises NotStarted when it cannot be executed.
    """
    path = find(command[0])
    grouped = not _has_terminal()
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    caught = [number for number in _HANDED_ON if number not in ignore]
    for number in (*caught, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    failed, fail = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    # Between fork and exec no handler of ours may run: its pipe is ours as well.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, caught)
    pid = os.fork()
    if pid == 0:
        _become(path, command, env, keeper, grouped, caught, ignore, before, fail)
    os.close(fail)
    if grouped:
        # In the child as well: whichever comes first, the group is there before a signal is handed on.
        with suppress(OSError):
            os.setpgid(pid, pid)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    with os.fdopen(failed, "rb") as report:
        error = report.read()
    status = _wait(pid, woken, grouped)
    with suppress(ClusterbootError):
        keeper.tell("over", pid)
    if error:
        raise _not_executable(command[0], os.strerror(int(error)).lower())
    return status


def _become(
    path: str,
    command: Sequence[str],
    env: Mapping[str, str],
    keeper: Keeper,
    grouped: bool,
    caught: Sequence[signal.Signals],
    ignore: frozenset[signal.Signals],
    mask: set[int | signal.Signals],
    fail: int,
) -> NoReturn:
    """Turn this forked process into the command."""
    try:
        if grouped:
            os.setpgid(0, 0)
        signal.set_wakeup_fd(-1)
        # SIGPIPE and SIGXFSZ are ignored by Python, which is no business of the command.
        for number in (*caught, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        for number in ignore:
            signal.signal(number, signal.SIG_IGN)
        # Told by the child itself: if we are killed now, the guardian knows of it all the same.
        keeper.tell("command", os.getpid())
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.execve(path, list(command), env)  # noqa: S606 (no shell is wanted)
    except OSError as error:
        os.write(fail, str(error.errno).encode())
    finally:
        os._exit(NOT_EXECUTABLE)


def _wait(pid: int, woken: int, grouped: bool) -> int:
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
        for number in os.read(woken, 256):
            if number != signal.SIGCHLD:
                _hand_on(signal.Signals(number), pid, grouped)


def _hand_on(number: signal.Signals, pid: int, grouped: bool) -> None:
    with suppress(ProcessLookupError, PermissionError):
        if grouped:
            os.killpg(pid, number)
        elif number not in _FROM_TERMINAL or not _in_foreground():
            os.kill(pid, number)


def _has_terminal() -> bool:
    """Return whether there is a terminal that controls us."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _in_foreground() -> bool:
    """Return whether Ctrl-C at the terminal reaches our group, the command included, without our help."""
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


def _not_found(name: str) -> NotStarted:
    where = "" if os.sep in name else " on PATH"
    problem = Problem(
        "command-not-found",
        f"the command {name} is not there{where}.",
        hint="check its name; what stands behind -- is run as it is, without a shell",
        exit=Exit.USAGE,
    )
    return NotStarted(problem, NOT_FOUND)


def _not_executable(name: str, reason: str) -> NotStarted:
    problem = Problem(
        "command-not-executable",
        f"the command {name} cannot be executed: {reason}.",
        hint="chmod +x it, or run it with its interpreter: -- sh FILE",
        exit=Exit.USAGE,
    )
    return NotStarted(problem, NOT_EXECUTABLE)
