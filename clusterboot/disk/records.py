"""The state folder: small records that outlive a command, such as which servers were spawned.

    spawned/NAME.json   one record each, a JSON object (0600)
    spawned/NAME.lock   its lock while somebody works on it
    servers/NAME/       where the spawned servers live

A record is replaced as a whole (written beside it, synced, renamed), so a crash at any moment leaves
the old one or the new one. It is written only by who holds its lock; reading needs no lock. Where the
folder is, and what keeps others out of it: `clusterboot.disk.private`.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from clusterboot.disk.private import SAFE, explained, folder, open_inside, opened
from clusterboot.errors import Exit, Problem, Refused

Kind = Literal["spawned"]
Data = dict[str, Any]

_SCHEMA = 1
_MAX_BYTES = 16 << 20  # 2,000 nodes need about 1 MiB


def path(kind: Kind | Literal["servers"], key: str) -> Path:
    """Return where the record (or, of `servers`, the folder) of `key` is, without its ending."""
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", key).strip(".-")[-60:]
    # The digest keeps apart what looks alike: a/b and a-b, or A and a where case does not count.
    digest = hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()[:12]
    return folder() / kind / f"{readable}-{digest}"


@dataclass(frozen=True, slots=True)
class Record:
    """One record whose lock is held; made by `locked`. Errors are those of `locked`."""

    kind: Kind
    key: str
    _folder: int

    def read(self) -> Data | None:
        """Return the record, or None when there is none."""
        with explained():
            return _read(self._folder, self.kind, self.key)

    def write(self, data: Mapping[str, Any]) -> None:
        """Put `data` in the place of the record, whole or not at all."""
        name = path(self.kind, self.key).name
        content = {"schema": _SCHEMA, "kind": self.kind, "key": self.key, "data": dict(data)}
        with explained():
            # With the lock held, a file of that name is what a crash has left.
            with suppress(FileNotFoundError):
                os.unlink(f"{name}.tmp", dir_fd=self._folder)
            new = os.open(
                f"{name}.tmp", SAFE | os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=self._folder
            )
            try:
                with os.fdopen(new, "wb") as file:
                    file.write(json.dumps(content, indent=1).encode())
                    file.flush()
                    os.fsync(file.fileno())
                os.rename(f"{name}.tmp", f"{name}.json", src_dir_fd=self._folder, dst_dir_fd=self._folder)
            except BaseException:
                with suppress(OSError):
                    os.unlink(f"{name}.tmp", dir_fd=self._folder)
                raise
            os.fsync(self._folder)

    def delete(self) -> None:
        """Remove the record; nothing happens when there is none."""
        name = path(self.kind, self.key).name
        with explained():
            for ending in ("json", "tmp"):
                with suppress(FileNotFoundError):
                    os.unlink(f"{name}.{ending}", dir_fd=self._folder)
            os.fsync(self._folder)


@contextmanager
def locked(kind: Kind, key: str, *, wait: float) -> Iterator[Record]:
    """Hold the lock of the record of `key`; waits up to `wait` seconds for another process to let go.

    The lock ends with the process, however that ends. Raises Refused when it stays taken, when the
    state folder is not safe to use, or when a record cannot be understood; UsageError when the folder
    cannot be made, read or written.
    """
    end = time.monotonic() + wait
    with ExitStack() as stack:
        with explained():
            here = stack.enter_context(opened(kind, create=True))
            assert here is not None
            name = f"{path(kind, key).name}.lock"
            while (lock := _try_lock(name, here)) is None:
                if time.monotonic() >= end:
                    raise Refused(
                        Problem(
                            "state-busy",
                            f"another clusterboot (process {_holder(name, here)}) is at work on {key}",
                            hint="wait until it is done and try again",
                            exit=Exit.REFUSED,
                        )
                    )
                time.sleep(0.02)
        stack.callback(os.close, lock)
        # Unlinked while held: whoever opened it meanwhile sees that it is no longer the lock.
        stack.callback(_unlink_quietly, name, here)
        yield Record(kind, key, here)


def read(kind: Kind, key: str) -> Data | None:
    """Return the record of `key`, or None when there is none. Changes nothing; errors as in `locked`."""
    with explained(), opened(kind, create=False) as here:
        return None if here is None else _read(here, kind, key)


def records(kind: Kind) -> tuple[dict[str, Data], tuple[Problem, ...]]:
    """Return every record of a kind by its key, and a problem for each that cannot be understood."""
    found: dict[str, Data] = {}
    problems: list[Problem] = []
    with explained(), opened(kind, create=False) as here:
        if here is None:
            return {}, ()
        for name in _names(here):
            try:
                content = _parse(here, kind, name)
            except Refused as error:
                problems.extend(error.problems)
            else:
                if content is not None:
                    found[content["key"]] = content["data"]
    return found, tuple(problems)


def make_servers_folder(key: str) -> Path:
    """Make the folder in which the servers of `key` live, where it is not there yet; return its real path."""
    name = path("servers", key).name
    with explained(), opened("servers", create=True) as here:
        assert here is not None
        os.close(open_inside(here, name, create=True))
    return Path(os.path.realpath(folder())) / "servers" / name


def corrupt(kind: Kind, name: str, why: str) -> Refused:
    """Return the error for a record (its key, or the name of its file) that cannot be understood."""
    where = (
        folder() / kind / name
        if name.endswith(".json")
        else path(kind, name).with_name(f"{path(kind, name).name}.json")
    )
    return Refused(
        Problem(
            "state-record",
            f"the record {where} cannot be understood: {why}",
            hint="its servers may still run: stop them yourself, then remove the file",
            exit=Exit.REFUSED,
        )
    )


def _names(here: int) -> list[str]:
    # A folder that is open is listed through its descriptor, which a Path cannot hold.
    return sorted(name for name in os.listdir(here) if name.endswith(".json"))


def _read(here: int, kind: Kind, key: str) -> Data | None:
    content = _parse(here, kind, f"{path(kind, key).name}.json")
    if content is None:
        return None
    data: Data = content["data"]
    return data


def _parse(here: int, kind: Kind, name: str) -> dict[str, Any] | None:
    try:
        # Not to hang on a FIFO: it is refused below as anything else that is no plain file.
        fd = os.open(name, SAFE | os.O_RDONLY | os.O_NONBLOCK, dir_fd=here)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise corrupt(kind, name, "it is a link") from None
        raise
    with os.fdopen(fd, "rb") as file:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            raise corrupt(kind, name, "it is not a plain file of yours")
        raw = file.read(_MAX_BYTES + 1)
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError):
        raise corrupt(kind, name, "it is not JSON") from None
    if not isinstance(content, dict) or not isinstance(content.get("schema"), int):
        raise corrupt(kind, name, "it is not a record of clusterboot")
    if content["schema"] > _SCHEMA:
        raise corrupt(kind, name, "a newer version of clusterboot wrote it")
    if not isinstance(content.get("key"), str) or not isinstance(content.get("data"), dict):
        raise corrupt(kind, name, "it is not a record of clusterboot")
    return content


def _try_lock(name: str, here: int) -> int | None:
    """Return the open lock file when the lock is ours now, None when another process has it."""
    lock = os.open(name, SAFE | os.O_RDWR | os.O_CREAT, 0o600, dir_fd=here)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The one who had it has unlinked it since we opened it: then it is not the lock any more.
        current = os.stat(name, dir_fd=here, follow_symlinks=False)
        if (current.st_dev, current.st_ino) == _inode(lock):
            os.ftruncate(lock, 0)
            os.pwrite(lock, str(os.getpid()).encode(), 0)
            return lock
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(lock)
        raise
    os.close(lock)
    return None


def _inode(fd: int) -> tuple[int, int]:
    found = os.fstat(fd)
    return found.st_dev, found.st_ino


def _holder(name: str, here: int) -> str:
    try:
        fd = os.open(name, SAFE | os.O_RDONLY, dir_fd=here)
    except OSError:
        return "unknown"
    with os.fdopen(fd, "rb") as file:
        return file.read(20).decode(errors="replace") or "unknown"


def _unlink_quietly(name: str, here: int) -> None:
    with suppress(OSError):
        os.unlink(name, dir_fd=here)
