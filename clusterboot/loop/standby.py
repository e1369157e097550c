"""This end of the helper process (`loop.helper`): starts it, and ends it when all is restored."""

from __future__ import annotations

import asyncio
import marshal
import os
import pickle
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress

from clusterboot.background import python_command
from clusterboot.loop import helper
from clusterboot.topology import Credential, Topology

# Max seconds for its start on a busy machine.
_START_SECONDS = 10.0
# Between two signs of life, in seconds.
_BEAT_SECONDS = 5.0


class Standby:
    """A helper process that restores what this process leaves lowered if this process dies."""

    def __init__(
        self,
        topology: Topology,
        credentials: Mapping[str, Credential],
        seconds: float,
        *,
        beats: bool = False,
    ) -> None:
        """Take what it needs to reach the nodes; after `seconds` this process counts as gone.

        With `beats` it counts as gone only after `seconds` in which its event loop did not run: a run that
        may take any time is still noticed when it is stopped.
        """
        self._given = (topology, dict(credentials))
        self._seconds = seconds
        self._beats = beats
        self._beating: asyncio.Task[None] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start the helper, once, and wait until it is ready. Raises OSError when it cannot be started."""
        if self._process is not None:
            return
        process = _popen()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            with process.stdout as ready:
                await _readable(ready.fileno())
                if ready.read(1) != helper.READY:
                    raise OSError("it did not start")
            # Passwords go through the pipe alone: other users can read arguments and the environment.
            marshal.dump((sys.path, self._seconds, pickle.dumps(self._given)), process.stdin)
            process.stdin.flush()
        except BaseException:
            process.kill()
            process.wait()
            raise
        self._process = process
        if self._beats:
            self._beating = asyncio.create_task(self._beat(process.stdin.fileno()))

    async def _beat(self, number: int) -> None:
        """Tell the helper again and again that this process is at work, until the helper has gone."""
        with suppress(OSError):
            while True:
                await asyncio.sleep(min(_BEAT_SECONDS, self._seconds / 4))
                os.write(number, helper.BEAT)

    def dismiss(self) -> None:
        """Kill the helper, because all is restored: a busy machine may let it react only after seconds."""
        if self._beating is not None:
            self._beating.cancel()
        process, self._process = self._process, None
        if process is not None:
            with process:
                process.kill()


def _popen() -> subprocess.Popen[bytes]:
    """Start the helper. Not in a thread: none can start where processes are at their limit."""
    words, env = python_command("clusterboot.loop.helper.main")
    pipe = subprocess.PIPE
    # It stays in our working folder: paths of certificates may be relative to it.
    return subprocess.Popen(
        words, env=env, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, start_new_session=True
    )


async def _readable(number: int) -> None:
    """Wait until there is something to read from a descriptor, or its other end is closed."""
    # select takes no descriptor above 1,023, and there is one for each node.
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(number, readable.set)
    try:
        await asyncio.wait_for(readable.wait(), _START_SECONDS)
    except TimeoutError:
        raise OSError("it did not start") from None
    finally:
        loop.remove_reader(number)
