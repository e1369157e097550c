"""The descendants of the guardian: adopt, find and end them.

On Linux the guardian is a subreaper (prctl(2), PR_SET_CHILD_SUBREAPER): it becomes the parent of orphans,
even after a double fork and setsid. Elsewhere only processes with living parents and the members of one
process group are found.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterator

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_POLL = 0.02
# Time for processes to end after SIGKILL, in seconds.
_KILL_SECONDS = 2.0


def adopt_orphans() -> bool:
    """Become the parent of every descendant whose own parent ends; return whether this works (Linux)."""
    return _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with(parent: int, number: int) -> None:
    """Have this process, just forked, get a signal when `parent` ends (Linux only)."""
    if _prctl(_PR_SET_PDEATHSIG, number) and os.getppid() != parent:
        os._exit(128 + number)  # It has ended already.


def _prctl(option: int, value: int) -> bool:
    if sys.platform != "linux":
        return False
    try:
        import ctypes

        return bool(ctypes.CDLL(None).prctl(option, value, 0, 0, 0) == 0)
    except (ImportError, OSError, AttributeError):
        return False  # Python without ctypes, or a system without prctl.


class Family:
    """The descendants of this process, and the members of the process group `group`."""

    def __init__(self, adopts: bool, excluded: Callable[[], Collection[int]] = tuple, group: int = 0) -> None:
        """Take the result of `adopt_orphans`, and the pids to leave out with their descendants."""
        self._adopts = adopts
        self._excluded = excluded
        # With adopted orphans, `descendants` finds all members of the group.
        self._group = 0 if adopts else group
        self._known: set[int] = set()

    def left(self) -> set[int]:
        """Return the processes that still run."""
        below = descendants(os.getpid(), self._excluded())
        if self._adopts:
            return below
        # Orphans are no longer descendants, but were known before.
        self._known = {pid for pid in self._known | below if send(os.kill, pid, 0)}
        return self._known | ({self._group} if self._group and send(os.killpg, self._group, 0) else set())

    def wait(self, until: float) -> bool:
        """Wait until none is left, at most to `until` on the monotonic clock; return whether none is left."""
        while self.left():
            if time.monotonic() > until:
                return False
            time.sleep(_POLL)
        return True

    def end(self, grace: float) -> None:
        """End all: SIGTERM, and SIGKILL after `grace` seconds."""
        self._all(signal.SIGTERM)
        # A stopped process handles SIGTERM only after SIGCONT.
        self._all(signal.SIGCONT)
        if self.wait(time.monotonic() + grace):
            return
        until = time.monotonic() + _KILL_SECONDS
        # Repeated, because a process may have forked since the last look.
        while self.left() and time.monotonic() < until:
            self._all(signal.SIGKILL)
            time.sleep(_POLL)

    def _all(self, number: int) -> None:
        pids = self.left()
        if self._group:
            send(os.killpg, self._group, number)
        for pid in pids:
            if not self._group or _group(pid) != self._group:
                send(os.kill, pid, number)


def descendants(pid: int, excluded: Collection[int] = ()) -> set[int]:
    """Return the pids of all children of `pid`, their children and so on, without `excluded` and theirs."""
    children: dict[int, list[int]] = {}
    for child, parent in _parents():
        if child not in excluded:
            children.setdefault(parent, []).append(child)
    found: set[int] = set()
    todo = [pid]
    while todo:
        below = children.get(todo.pop(), [])
        found.update(below)
        todo += below
    return found


def _parents() -> Iterator[tuple[int, int]]:
    """Yield the pid and the parent's pid of every process that is not a zombie."""
    if not os.path.exists("/proc/self/stat"):  # noqa: PTH110 (pathlib would double the time to start)
        with os.popen("ps -A -o pid= -o ppid= -o state=") as lines:  # noqa: S605, S607 (a fixed command)
            for line in lines:
                child, parent, state = line.split()
                if state[0] != "Z":
                    yield int(child), int(parent)
        return
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123
                    # The name of the command is in parentheses and may hold any character.
                    now, above, *_ = file.read().rpartition(b")")[2].split()
            except OSError:
                continue
            if now not in (b"Z", b"X"):
                yield int(name), int(above)


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except OSError:
        return 0


def send(how: Callable[[int, int], None], pid: int, number: int) -> bool:
    """Call `how`, such as os.kill, on a process that may be gone; return whether it existed."""
    try:
        how(pid, number)
    except OSError:
        return False
    return True
