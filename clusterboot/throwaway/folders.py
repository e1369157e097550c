"""The folders of throwaway clusters: each locked by those who need it, removed by whoever finds it unlocked.

A guardian removes its own folder. One that was killed together with all around it (a CI job, a container,
out of memory) cannot; the guardian of the next run of the same user does it then.
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
    """Make a folder for this user alone, and lock it; the lock lasts as long as the descriptor returned.

    Raises OSError where it cannot be made.
    """
    while True:
        os.mkdir(folder, 0o700)  # noqa: PTH102 (pathlib would double the time to start)
        try:
            lock = hold(folder)
            if os.path.samestat(os.fstat(lock), os.lstat(folder)):
                return lock
        except FileNotFoundError:
            continue  # Somebody swept it before it was locked.


def hold(folder: str) -> int:
    """Lock a folder, together with others who hold it; returns the descriptor that holds the lock."""
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    # Some network file systems cannot; there nobody can sweep it either.
    with suppress(OSError):
        fcntl.flock(lock, fcntl.LOCK_SH)
    return lock


def sweep(place: str) -> None:
    """Remove the folders in `place` that are this user's and that nobody holds.

    Links are not followed: `place` is open to everybody as a rule.
    """
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
    """Remove a folder and what is in it; a child of a server may still be dying in there for a moment."""
    for _ in range(_TRIES):
        try:
            for _, folders, files, here in os.fwalk(folder, topdown=False):
                for name in files:
                    os.unlink(name, dir_fd=here)
                for name in folders:
                    # A link to a folder is listed among them.
                    link = stat.S_ISLNK(os.stat(name, dir_fd=here, follow_symlinks=False).st_mode)
                    (os.unlink if link else os.rmdir)(name, dir_fd=here)
            os.rmdir(folder)  # noqa: PTH106
        except OSError:
            if not os.path.lexists(folder):
                return
            time.sleep(_POLL)
        else:
            return
