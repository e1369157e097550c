"""Read a topology file from disk."""

from __future__ import annotations

import errno
import os
import stat

from clusterboot.errors import Exit, Problem, TopologyError
from clusterboot.topology import Topology, decode, load

# One byte more than `topology.decode` accepts, so that it notices a longer file.
MAX_BYTES = 1024 * 1024 + 1
_REASONS = {
    errno.ENOENT: "there is no such file",
    errno.ENOTDIR: "there is no such file",
    errno.EACCES: "you may not read it",
    errno.EPERM: "you may not read it",
    errno.ELOOP: "its symbolic links go in a circle",
    errno.ENAMETOOLONG: "its name is too long",
}


def read(path: str | os.PathLike[str]) -> Topology:
    """Return the topology that the file at `path` describes.

    Reads regular files only, and MAX_BYTES at most. Raises TopologyError when the file cannot be read or has
    problems.
    """
    file = os.fspath(path)
    return load(decode(_read(file), file), file)


def _read(file: str) -> bytes:
    try:
        # O_NONBLOCK: opening a FIFO without a writer would wait.
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
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
            return stream.read(MAX_BYTES)
    except OSError as error:
        raise _unreadable(file, os.strerror(error.errno or 0)) from None
    finally:
        os.close(descriptor)


def _unreadable(file: str, reason: str) -> TopologyError:
    message = f"cannot read the topology file: {reason}"
    return TopologyError(Problem("topology-unreadable", message, exit=Exit.USAGE, file=file))
