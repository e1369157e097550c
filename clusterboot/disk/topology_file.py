"""Read a topology file from disk."""

from __future__ import annotations

import errno
import os
import stat

from clusterboot.errors import Exit, Problem, TopologyError
from clusterboot.topology import Topology, decode, load

# One byte more than `topology.decode` accepts, so that it notices a longer file.
MAX_BYTES = 1024 * 1024 + 1
_NO_FILE = "there is no such file"
_REASONS = {
    errno.ENOENT: _NO_FILE,
    errno.ENOTDIR: _NO_FILE,
    errno.EISDIR: "it is a directory; name the file in it",
    errno.EACCES: "you may not read it",
    errno.EPERM: "you may not read it",
    errno.ELOOP: "its symbolic links go in a circle",
    errno.ENAMETOOLONG: "its name is too long",
}


def read(path: str | os.PathLike[str]) -> Topology:
    """Return the topology in the regular file at `path`, of MAX_BYTES at most; raises TopologyError."""
    file = os.fspath(path)
    return load(decode(_read(file), file), file)


def _read(file: str) -> bytes:
    def opener(path: str, flags: int) -> int:
        # O_NONBLOCK: opening a FIFO without a writer would wait.
        return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)

    try:
        with open(file, "rb", opener=opener) as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise _unreadable(file, "it is not a regular file; save the topology to one")
            return stream.read(MAX_BYTES)
    except OSError as error:
        raise _unreadable(file, _REASONS.get(error.errno or 0, os.strerror(error.errno or 0))) from None
    except ValueError:
        raise _unreadable(file, "its name has characters that no file name can have") from None


def _unreadable(file: str, reason: str) -> TopologyError:
    message = f"cannot read the topology file: {reason}"
    hint = "check the path" if reason == _NO_FILE else None
    return TopologyError(Problem("topology-unreadable", message, hint=hint, exit=Exit.USAGE, file=file))
