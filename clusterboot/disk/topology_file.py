"""Read a topology file: the only place where the path of one is opened."""

from __future__ import annotations

import errno
import os
import stat

from clusterboot.errors import Exit, Problem, TopologyError
from clusterboot.topology import Topology, decode, load

# One byte more than `clusterboot.topology.decode` takes, so that it can tell that there is more.
_LIMIT = 1024 * 1024 + 1
_NO_FILE = "there is no such file"
_REASONS = {
    errno.ENOENT: _NO_FILE,
    errno.ENOTDIR: _NO_FILE,
    errno.EACCES: "you may not read it",
    errno.EPERM: "you may not read it",
    errno.ELOOP: "its symbolic links go in a circle",
    errno.ENAMETOOLONG: "its name is too long",
}


def read(path: str | os.PathLike[str]) -> Topology:
    """Return the topology that the file at `path` describes.

    Only regular files are read, and never more than 1 MiB and a byte; a FIFO or a device is refused
    without waiting for it. Raises TopologyError when the file cannot be read or has problems.
    """
    file = os.fspath(path)
    return load(decode(_read(file), file), file)


def _read(file: str) -> bytes:
    try:
        # O_NONBLOCK: opening a FIFO that nobody writes to would wait for ever.
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        raise _unreadable(file, _REASONS.get(error.errno or 0, os.strerror(error.errno or 0))) from None
    except ValueError:
        raise _unreadable(file, "its name has characters that no file name can have") from None
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise _unreadable(file, "it is a directory; name the file in it")
        if not stat.S_ISREG(mode):
            raise _unreadable(file, "it is not a regular file; save the topology to one")
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            return stream.read(_LIMIT)
    except OSError as error:
        raise _unreadable(file, os.strerror(error.errno or 0)) from None
    finally:
        os.close(descriptor)


def _unreadable(file: str, reason: str) -> TopologyError:
    message = f"cannot read the topology file: {reason}"
    hint = "check the path" if reason == _NO_FILE else None
    return TopologyError(Problem("topology-unreadable", message, hint=hint, exit=Exit.USAGE, file=file))
