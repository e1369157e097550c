"""Records of spawned clusters in the state folder.

    spawned/NAME.json   one record each, a JSON object (0600)
    spawned/NAME.lock   its lock, while a process works on it
    servers/NAME/       the folders of the spawned servers

A record is replaced as a whole, so a crash leaves the old or the new one. Only writing needs the lock.
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
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clusterboot.disk.private import explained, folder, private_folder
from clusterboot.errors import Problem, Refused

Data = dict[str, Any]

_SCHEMA = 1
MAX_BYTES = 16 << 20  # 2,000 nodes need about 1 MiB
_RETRY_LOCK_SECONDS = 0.02


def path(key: str) -> Path:
    """Return the file of the record of `key`, which may not exist."""
    return folder() / "spawned" / f"{_name(key)}.json"


def servers_folder(key: str) -> Path:
    """Return the real path of the folder in which the servers of `key` live; it may not exist."""
    return Path(os.path.realpath(folder())) / "servers" / _name(key)


def make_servers_folder(key: str) -> Path:
    """Make the servers folder of `key` unless it exists; return its real path."""
    with explained():
        private_folder("servers", _name(key), create=True)
    return servers_folder(key)


def _name(key: str) -> str:
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", key).strip(".-")[-60:]
    # The digest tells apart a/b and a-b, and A and a where case does not count.
    digest = hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()[:12]
    return f"{readable}-{digest}"


@dataclass(frozen=True, slots=True)
class Record:
    """A record whose lock is held; made by `locked`, with the same errors."""

    key: str

    def read(self) -> Data | None:
        """Return the record, or None when there is none."""
        return read(self.key)

    def write(self, data: Mapping[str, Any]) -> None:
        """Replace the record by `data`, whole or not at all."""
        content = {"schema": _SCHEMA, "kind": "spawned", "key": self.key, "data": dict(data)}
        file = path(self.key)
        new = file.with_suffix(".tmp")
        with explained():
            new.unlink(missing_ok=True)  # the lock is held: a crash has left it
            try:
                descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(descriptor, "wb") as stream:
                    stream.write(json.dumps(content, indent=1).encode())
                    stream.flush()
                    os.fsync(descriptor)
                new.replace(file)
            except BaseException:
                with suppress(OSError):
                    new.unlink()
                raise

    def delete(self) -> None:
        """Remove the record, if there is one."""
        with explained():
            for ending in (".json", ".tmp"):
                path(self.key).with_suffix(ending).unlink(missing_ok=True)


@contextmanager
def locked(key: str, *, wait: float) -> Iterator[Record]:
    """Hold the lock of the record of `key`; waits up to `wait` seconds for another process to release it.

    The lock ends with the process. Raises Refused when another process keeps it, the state folder is not safe
    or a record cannot be understood; UsageError when the folder cannot be made, read or written.
    """
    end = time.monotonic() + wait
    file = path(key).with_suffix(".lock")
    with explained():
        private_folder("spawned", create=True)
        while (lock := _try_lock(file)) is None:
            if time.monotonic() >= end:
                raise Refused.of(
                    "state-busy",
                    f"another clusterboot (process {_holder(file)}) is at work on {key}.",
                    hint="wait until it is done and try again",
                )
            time.sleep(_RETRY_LOCK_SECONDS)
    try:
        yield Record(key)
    finally:
        # Removed while the lock is held: a process that opened it meanwhile sees that it is not the lock.
        with suppress(OSError):
            file.unlink()
        os.close(lock)


def read(key: str) -> Data | None:
    """Return the record of `key`, or None when there is none. Changes nothing; errors as in `locked`."""
    with explained():
        content = _parse(path(key)) if private_folder("spawned", create=False) else None
    return None if content is None else content["data"]


def read_all() -> tuple[dict[str, Data], tuple[Problem, ...]]:
    """Return every record by its key, and a problem for each one that cannot be understood."""
    found: dict[str, Data] = {}
    problems: list[Problem] = []
    with explained():
        here = private_folder("spawned", create=False)
        for file in sorted(here.glob("*.json")) if here else ():
            try:
                content = _parse(file)
            except Refused as error:
                problems.extend(error.problems)
            else:
                if content is not None:
                    found[content["key"]] = content["data"]
    return found, tuple(problems)


def corrupt(file: Path, why: str) -> Refused:
    """Return the error for a record that cannot be understood."""
    return Refused.of(
        "state-record",
        f"the record {file} cannot be understood: {why}.",
        hint="stop its servers yourself if they still run, then remove the file",
    )


def _parse(file: Path) -> Data | None:
    """Return the content of a record's file, with its envelope; None when there is no such file."""
    try:
        # O_NONBLOCK: opening a FIFO would wait; it is refused below.
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise corrupt(file, "it is a link") from None
        raise
    with os.fdopen(descriptor, "rb") as stream:
        info = os.fstat(descriptor)
        if not stat.S_ISREG(info.st_mode) or info.st_uid != os.geteuid():
            raise corrupt(file, "it is not a plain file of yours")
        raw = stream.read(MAX_BYTES + 1)
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError):
        raise corrupt(file, "it is not JSON") from None
    match content:
        case {"schema": int(schema)} if schema > _SCHEMA:
            raise corrupt(file, "a newer version of clusterboot wrote it")
        case {"schema": int(), "key": str(), "data": dict()}:
            return dict(content)
    raise corrupt(file, "it is not a record of clusterboot")


def _try_lock(file: Path) -> int | None:
    """Return the open lock file once its lock is held; None when another process holds it."""
    lock = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    held = False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # If the holder removed the file after it was opened here, it is not the lock any more.
        if os.path.samestat(file.lstat(), os.fstat(lock)):
            os.ftruncate(lock, 0)
            os.pwrite(lock, str(os.getpid()).encode(), 0)
            held = True
    except (BlockingIOError, FileNotFoundError):
        pass
    finally:
        if not held:
            os.close(lock)
    return lock if held else None


def _holder(file: Path) -> str:
    try:
        return file.read_text(errors="replace")[:20] or "unknown"
    except OSError:
        return "unknown"
