"""The user's command: start it with our streams, forward signals to it, wait for it.

With a terminal it is in our process group: Ctrl-C and Ctrl-Z reach it, and it can be part of a pipeline.
Without one (CI, cron, a container) it gets its own group, so a signal sent to us reaches all of it, once.
"""

from __future__ import annotations

import os
import select
import signal
import stat
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress

from clusterboot.errors import ClusterbootError, Exit, Problem
from clusterboot.throwaway.keeper import Keeper

# As in env(1) and timeout(1) (POSIX, "Exit Status" of env).
FAILED, NOT_EXECUTABLE, NOT_FOUND = 125, 126, 127

_FORWARDED = (
    *(signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT),
    *(signal.SIGUSR1, signal.SIGUSR2),
)
_FROM_TERMINAL = {signal.SIGINT, signal.SIGQUIT}


class NotStarted(ClusterbootError):
    """The command cannot be started; `status` is the exit status of `run`."""

    def __init__(self, name: str, reason: str = "") -> None:
        """Take the command, and why it cannot be executed; without a reason it was not found."""
        if reason:
            self.status = NOT_EXECUTABLE
            problem = Problem(
                "command-not-executable",
                f"the command {name} cannot be executed: {reason}.",
                hint="run 'chmod +x' on it, or run it with its interpreter: -- sh FILE",
                exit=Exit.USAGE,
            )
        else:
            self.status = NOT_FOUND
            problem = Problem(
                "command-not-found",
                f"{name}: command not found.",
                hint="check its name; the command after -- is run without a shell",
                exit=Exit.USAGE,
            )
        super().__init__(problem)


def find(name: str) -> str:
    """Return the path of a command. Raises NotStarted if it does not exist or cannot be executed."""
    places = [name] if os.sep in name else [os.path.join(folder, name) for folder in os.get_exec_path()]  # noqa: PTH118
    reason = ""
    for path in places:
        try:
            folder = stat.S_ISDIR(os.stat(path).st_mode)  # noqa: PTH116
        except (OSError, ValueError) as error:
            # Like a shell, skip folders on PATH that cannot be read.
            if isinstance(error, PermissionError) and os.sep in name:
                reason = "permission denied"
            continue
        if not folder and os.access(path, os.X_OK):
            return path
        reason = reason or ("it is a folder" if folder else "permission denied")
    raise NotStarted(name, reason if name else "")


def ignored_signals() -> frozenset[signal.Signals]:
    """Return the signals that are ignored from the start, as with nohup: the command must ignore them too."""
    return frozenset(number for number in _FORWARDED if signal.getsignal(number) is signal.SIG_IGN)


def execute(
    command: Sequence[str], env: Mapping[str, str], keeper: Keeper, ignore: frozenset[signal.Signals]
) -> int:
    """Run `command` to its end and return its exit status, or 128 + n if signal n killed it.

    From here on, signals are forwarded to the command and no longer end this process. Raises NotStarted if it
    cannot be executed, ClusterbootError if the guardian was killed.
    """
    path = find(command[0])
    group = 0 if _foreground_group() is None else os.getpgrp()
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    for name in _FORWARDED:
        if name not in ignore:
            signal.signal(name, lambda *_: None)
    sys.stdout.flush()
    sys.stderr.flush()
    keeper.run(path, command, env, group=group, ignore=ignore)
    events = select.poll()
    events.register(woken, select.POLLIN)
    events.register(keeper, select.POLLIN)
    while keeper.exit_status is None:
        events.poll()
        keeper.listen()
        if keeper.exec_errno is not None:
            raise NotStarted(command[0], os.strerror(keeper.exec_errno).lower())
        with suppress(BlockingIOError):
            for number in os.read(woken, 256):
                # A signal from the terminal has reached the command too, if it has begun.
                from_terminal = number in _FROM_TERMINAL and _foreground_group() == os.getpgrp()
                if not (from_terminal and keeper.command):
                    keeper.tell("signal", number)
    return keeper.exit_status if keeper.exit_status >= 0 else 128 - keeper.exit_status


def _foreground_group() -> int | None:
    """Return the process group that gets Ctrl-C from our terminal, or None without a terminal."""
    try:
        with open("/dev/tty", "rb", buffering=0) as terminal:  # noqa: PTH123
            return os.tcgetpgrp(terminal.fileno())
    except OSError:
        return None
