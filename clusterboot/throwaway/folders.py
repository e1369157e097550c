"""The folders of throwaway clusters: locked by the processes that use them, removed when unlocked.

A guardian removes its own folder. If it is killed with everything around it (a CI job, a container, out of
memory), the guardian of the next run of the same user removes that folder.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from contextlib import suppress

PREFIX = "clusterboot-run-"
_TRIES, _POLL = 50, 0.02


def make(folder: str) -> int:
    """Create a private folder and lock it; return the descriptor that holds the lock. Raises OSError."""
    while True:
        os.mkdir(folder, 0o700)  # noqa: PTH102 (pathlib would double the time to start)
        try:
            lock = hold(folder)
            if os.path.samestat(os.fstat(lock), os.lstat(folder)):
                return lock
        except FileNotFoundError:
            continue  # Another run swept it before it was locked.


def hold(folder: str) -> int:
    """Add a shared lock to a folder; return the descriptor that holds it."""
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    # Some network file systems have no locks; there `sweep` fails too.
    with suppress(OSError):
        fcntl.flock(lock, fcntl.LOCK_SH)
    return lock


def sweep(place: str) -> None:
    """Remove the unlocked folders of this user in `place`, following no link: all users may write there."""
    try:
        names = [name for name in os.listdir(place) if name.startswith(PREFIX)]  # noqa: PTH208
    except OSError:
        return
    for name in names:
        try:
            lock = os.open(f"{place}/{name}", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            if os.fstat(lock).st_uid == os.getuid():
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove(f"{place}/{name}")
        except OSError:
            continue  # It is in use.
        finally:
            os.close(lock)


def remove(folder: str) -> None:
    """Remove a folder and its contents; retry, because a dying child of a server may still write to it."""
    for _ in range(_TRIES):
        try:
            for _, folders, files, here in os.fwalk(folder, topdown=False):
                for name in files:
                    os.unlink(name, dir_fd=here)
                for name in folders:
                    # Includes links to folders.
                    link = stat.S_ISLNK(os.stat(name, dir_fd=here, follow_symlinks=False).st_mode)
                    (os.unlink if link else os.rmdir)(name, dir_fd=here)
            os.rmdir(folder)  # noqa: PTH106
        except OSError:
            if not os.path.lexists(folder):
                return
            time.sleep(_POLL)
        else:
            return
