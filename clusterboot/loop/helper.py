"""The helper process: restores lowered settings when clusterboot is gone without having done it.

clusterboot starts it before anything is lowered, in a session of its own, and holds the other end of its
standard input (`clusterboot.loop.standby`). One byte there says that all is restored; its end without that
byte says that clusterboot is gone, whatever ended it. The helper knows no own values: they are in the nodes.
It imports next to nothing in the first second, runs with `-I -S`, and its command line does not name
clusterboot.

Input: a length in 8 bytes; as much of marshalled (sys.path, seconds, pickled (topology, credentials)); the
byte. `seconds` is how long clusterboot may take: one that is stopped counts as gone. Output: one byte when
the helper is ready.
"""

from __future__ import annotations

import marshal
import os
import select
import signal
import sys
from collections.abc import Callable

READY, DISMISSED = b"r", b"d"
# How long it goes on trying nodes that do not answer, in seconds.
_LINGER = 60.0
# A run that takes longer, in seconds, has it import and read what restoring needs: what clusterboot is
# installed in may go when clusterboot does (`uvx`, a folder of a test), and certificates too.
_SHORT = 1.0
_LONGEST = 1e8  # that select takes anywhere
# Ctrl-C, a closed terminal and a polite kill are for clusterboot.
_DEAF = (
    *(signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE),
    *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGTSTP),
)


def main() -> None:
    """Wait for the end of clusterboot, and restore what it has left."""
    for number in _DEAF:
        signal.signal(number, signal.SIG_IGN)
    os.write(1, READY)
    size = int.from_bytes(_read(8), "big")
    given = _read(size)
    if not size or len(given) < size:
        return  # clusterboot was gone before it lowered anything
    sys.path[:], seconds, rest = marshal.loads(given)  # noqa: S302 (from our own parent)
    restore = None
    word = _word(_SHORT)
    if word is None:
        try:
            restore = _prepare(rest)
        except Exception:  # it is tried again when it is needed
            restore = None
        word = _word(min(seconds, _LONGEST))
    if word != DISMISSED:
        (restore or _prepare(rest))()


def _word(seconds: float) -> bytes | None:
    """Return what clusterboot says within `seconds`: nothing (None), or as its end b""."""
    heard, _, _ = select.select([0], [], [], seconds)
    return os.read(0, 1) if heard else None


def _read(size: int) -> bytes:
    found = b""
    while len(found) < size and (more := os.read(0, size - len(found))):
        found += more
    return found


def _prepare(given: bytes) -> Callable[[], None]:
    """Import and read all that restoring needs, and return what restores."""
    import asyncio
    import pickle

    from clusterboot.loop.restore import Restoring
    from clusterboot.wire.client import Fleet

    topology, credentials = pickle.loads(given)  # noqa: S301 (from our own parent)
    fleet = Fleet(topology, lambda node: credentials[node.name])

    async def work() -> None:
        try:
            await Restoring(fleet, credentials).run(linger=_LINGER)
        finally:
            await fleet.close()

    return lambda: asyncio.run(work())
