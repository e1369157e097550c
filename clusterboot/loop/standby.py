"""Our end of the helper process (`loop.helper`): start it, and dismiss it when all is restored."""

from __future__ import annotations

import asyncio
import marshal
import pickle
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress

from clusterboot.background import python_command
from clusterboot.loop import helper
from clusterboot.topology import Topology
from clusterboot.wire.client import Credential

# How long it may take to start on a machine that is busy.
_START_SECONDS = 10.0


class Standby:
    """A helper process that restores what this process leaves lowered, if this process dies."""

    def __init__(self, topology: Topology, credentials: Mapping[str, Credential], seconds: float) -> None:
        """Take what it needs to reach the nodes; after `seconds` this process counts as gone."""
        self._given = (topology, dict(credentials))
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start the helper, once, and wait until it is ready. Raises OSError when it cannot be started."""
        if self._process is None:
            self._process = await self._start()

    async def _start(self) -> subprocess.Popen[bytes]:
        process = _popen()
        assert process.stdin is not None
        assert process.stdout is not None
        # Passwords go through the pipe alone: others can read arguments and the environment.
        data = marshal.dumps((sys.path, self._seconds, pickle.dumps(self._given)))
        try:
            with process.stdout as ready:
                await _readable(ready.fileno())
                if ready.read(1) != helper.READY:
                    raise OSError("it did not start")
            process.stdin.write(len(data).to_bytes(8, "big") + data)
            process.stdin.flush()
        except BaseException:
            process.kill()
            process.wait()
            raise
        return process

    def dismiss(self) -> None:
        """Tell the helper that all is restored; it ends at once."""
        process, self._process = self._process, None
        if process is None or process.stdin is None:
            return
        with suppress(OSError), process.stdin as pipe:
            pipe.write(helper.DISMISSED)
        with suppress(subprocess.TimeoutExpired):
            process.wait(1.0)


def _popen() -> subprocess.Popen[bytes]:
    """Not in a thread: none can be had where the number of processes is at its limit."""
    words, env = python_command("clusterboot.loop.helper.main")
    return subprocess.Popen(
        words,
        env=env,
        # It stays in our working folder: paths of certificates may be relative to it.
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


async def _readable(number: int) -> None:
    """Wait until there is something to read, or the other end is closed.

    By the loop, which takes descriptors of any size (select does not: there is one for each node).
    """
    loop = asyncio.get_running_loop()
    heard = asyncio.Event()
    loop.add_reader(number, heard.set)
    try:
        await asyncio.wait_for(heard.wait(), _START_SECONDS)
    except TimeoutError:
        raise OSError("it did not start") from None
    finally:
        loop.remove_reader(number)
