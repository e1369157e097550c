"""The helper process: restores lowered settings when clusterboot is gone and has not done it.

clusterboot starts it before anything is lowered, in a session of its own, and holds the other end of its
standard input (`loop.standby`). A byte there says that all is restored; the end of input without it says
that clusterboot is gone. The helper needs no own values: they are in the nodes. In its first second it
imports next to nothing; it runs with `-I -S`, and its command line does not name clusterboot.

Input: a length in 8 bytes; so many bytes of marshalled (sys.path, seconds, pickled (topology, credentials));
the byte. `seconds` is how long clusterboot may take: one that is stopped counts as gone. Output: one byte
when the helper is ready.
"""

from __future__ import annotations

import marshal
import os
import select
import signal
import sys
from collections.abc import Callable
from contextlib import suppress

READY, DISMISSED = b"r", b"d"
# How long it tries nodes that do not answer, in seconds.
_LINGER_SECONDS = 60.0
# A run that takes longer, in seconds, makes it import and read what restoring needs: what clusterboot is
# installed in may be removed with clusterboot (`uvx`, a temporary folder), and certificates too.
_SHORT_RUN = 1.0
_MAX_WAIT = 1e8  # that select takes on every platform
# Ctrl-C, a closed terminal and SIGTERM are for clusterboot.
_IGNORED = (
    *(signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE),
    *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGTSTP),
)


def main() -> None:
    """Wait for the end of clusterboot, and restore what it has left."""
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    os.write(1, READY)
    size = int.from_bytes(_read(8), "big")
    given = _read(size)
    if not size or len(given) < size:
        return  # clusterboot was gone before it lowered anything
    sys.path[:], seconds, rest = marshal.loads(given)  # noqa: S302 (from our own parent)
    restore = None
    message = _message(_SHORT_RUN)
    if message is None:
        with suppress(Exception):  # it is tried again when it is needed
            restore = _prepare(rest)
        message = _message(min(seconds, _MAX_WAIT))
    if message != DISMISSED:
        (restore or _prepare(rest))()


def _message(seconds: float) -> bytes | None:
    """Return what clusterboot sends within `seconds`: None for nothing, b"" for its end."""
    readable, _, _ = select.select([0], [], [], seconds)
    return os.read(0, 1) if readable else None


def _read(size: int) -> bytes:
    data = b""
    while len(data) < size and (more := os.read(0, size - len(data))):
        data += more
    return data


def _prepare(given: bytes) -> Callable[[], None]:
    """Import and read all that restoring needs; returns what restores."""
    import asyncio
    import pickle

    from clusterboot.loop.restore import Restoring
    from clusterboot.wire.client import Fleet

    topology, credentials = pickle.loads(given)  # noqa: S301 (from our own parent)
    fleet = Fleet(topology, lambda node: credentials[node.name])

    async def work() -> None:
        try:
            await Restoring(fleet, credentials).run(linger=_LINGER_SECONDS)
        finally:
            await fleet.close()

    return lambda: asyncio.run(work())
