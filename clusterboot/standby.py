"""Our end of the helper process (`clusterboot.helper`): start it, and dismiss it when all is restored."""

from __future__ import annotations

import asyncio
import marshal
import pickle
import select
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress

from clusterboot import helper
from clusterboot.client import Credential
from clusterboot.topology import Topology
from clusterboot.unnamed import python

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
            self._process = await asyncio.to_thread(self._start)

    def _start(self) -> subprocess.Popen[bytes]:
        words, env = python("clusterboot.helper.main")
        process = subprocess.Popen(
            words,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        # Passwords go through the pipe alone: others can read arguments and the environment.
        data = marshal.dumps((sys.path, self._seconds, pickle.dumps(self._given)))
        with process.stdout as ready:
            heard, _, _ = select.select([ready], [], [], _START_SECONDS)
            if not heard or ready.read(1) != helper.READY:
                process.kill()
                raise OSError("it did not start")
        process.stdin.write(len(data).to_bytes(8, "big") + data)
        process.stdin.flush()
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
