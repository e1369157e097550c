"""The user's command: started with our own stdin, stdout and stderr, handed our signals, waited for.

The guardian is its parent, so that what the command leaves behind stays below somebody when we are killed.
Where there is a terminal the command is in our process group all the same: Ctrl-C and Ctrl-Z reach it from
the terminal itself, and it may be part of a pipeline. Elsewhere (CI, cron, a container) it gets a group of
its own, so that a signal sent to us reaches all of it, once.
"""

from __future__ import annotations

import os
import select
import signal
import stat
import sys
from collections.abc import Mapping, Sequence

from clusterboot.errors import ClusterbootError, Exit, Problem
from clusterboot.throwaway.keeper import Keeper

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
    reason = ""
    for path in places:
        try:
            folder = stat.S_ISDIR(os.stat(path).st_mode)  # noqa: PTH116
        except (OSError, ValueError) as error:
            # A folder on PATH that we may not look into is as good as none, as it is to a shell.
            if isinstance(error, PermissionError) and os.sep in name:
                reason = "permission denied"
            continue
        if not folder and os.access(path, os.X_OK):
            return path
        reason = reason or ("it is a folder" if folder else "permission denied")
    if name and reason:
        raise _not_executable(name, reason)
    raise _not_found(name)


def ignored() -> frozenset[signal.Signals]:
    """Return the signals that we were started to ignore, as by nohup: the command is to ignore them too."""
    return frozenset(number for number in _HANDED_ON if signal.getsignal(number) is signal.SIG_IGN)


def execute(
    command: Sequence[str], env: Mapping[str, str], keeper: Keeper, ignore: frozenset[signal.Signals]
) -> int:
    """Run `command` to its end and return its exit status, 128 + n where signal n killed it.

    The keeper's guardian is its parent, and ends it if we are killed. From here on signals are the
    command's; they end this process no more. Raises NotStarted when it cannot be executed, and
    ClusterbootError when the guardian is gone.
    """
    path = find(command[0])
    grouped = not _has_terminal()
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    for name in _HANDED_ON:
        if name not in ignore:
            signal.signal(name, lambda *_: None)
    sys.stdout.flush()
    sys.stderr.flush()
    keeper.run(path, command, env, group=0 if grouped else os.getpgrp(), ignore=ignore)
    events = select.poll()
    events.register(woken, select.POLLIN)
    events.register(keeper, select.POLLIN)
    while keeper.over is None:
        events.poll()
        keeper.listen()
        if keeper.failed is not None:
            raise _not_executable(command[0], os.strerror(keeper.failed).lower())
        for number in _caught(woken):
            # What comes from the terminal has reached the command as well, once it is there.
            if not (number in _FROM_TERMINAL and keeper.command and _in_foreground()):
                keeper.tell("signal", number)
    return keeper.over if keeper.over >= 0 else 128 - keeper.over


def _caught(woken: int) -> bytes:
    try:
        return os.read(woken, 256)
    except BlockingIOError:
        return b""


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
