"""The helper process: restores lowered settings when clusterboot is gone and has not done it.

`loop.standby` starts it in a new session before anything is lowered. It acts when its standard input ends, or
after `seconds` without a BEAT: a stopped clusterboot counts as gone. The original values are in the nodes. In
its first second it imports next to nothing, because it competes with clusterboot for the processor.
Input: marshalled (sys.path, seconds, pickled (topology, credentials)). Output: one byte when ready.
"""

from __future__ import annotations

import marshal
import os
import select
import signal
import sys
from collections.abc import Callable
from contextlib import suppress

READY = b"r"
BEAT = b"."
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
    try:
        sys.path[:], seconds, rest = marshal.load(sys.stdin.buffer)  # noqa: S302 (from our own parent)
    except EOFError:
        return  # clusterboot was gone before it lowered anything
    restore = None
    if not _input_ends(_SHORT_RUN):
        with suppress(Exception):  # it is tried again when it is needed
            restore = _prepare(rest)
        _input_ends(min(seconds, _MAX_WAIT))
    (restore or _prepare(rest))()


def _input_ends(seconds: float) -> bool:
    """Wait for the end of clusterboot, until it has sent no BEAT for `seconds`."""
    while select.select([0], [], [], seconds)[0]:
        if not os.read(0, len(BEAT)):
            return True
    return False


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
