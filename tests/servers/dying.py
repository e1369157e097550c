"""clusterboot that gets a signal at its k-th changing command: a driver for tests of what comes after.

    python -m tests.servers.dying K answered|sent|SIGINT|SIGTERM up TOPOLOGY …

`answered` dies by SIGKILL when the reply to the k-th changing command has come, `sent` when the command
has gone out and before its reply is read; SIGINT and SIGTERM come with the reply. Commands that go out in
one go are sent one by one here, so that every k is a moment of its own. A run with fewer changing commands
ends as always.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from redis.asyncio.connection import AbstractConnection

from clusterboot.cli import main
from clusterboot.client import Fleet
from clusterboot.replies import Command
from tests.harness.servers import PROBES

_READS = {"INFO", "NODES", "MYID", "GET", "LINKS", "SLOTS", "SHARDS"}


def changing(command: Command) -> bool:
    return command[0] in ("CLUSTER", "CONFIG") and command[1] not in _READS and command not in PROBES


def install(last: int, moment: str) -> None:
    """Replace how a fleet sends, so that the signal comes at command number `last`."""
    ask, send = Fleet.ask, AbstractConnection.send_packed_command
    count = 0
    gone = False  # the last command is next

    async def one_by_one(self: Fleet, name: str, *commands: Command, **options: Any) -> list[Any]:
        nonlocal count, gone
        replies = []
        for command in commands:
            count += changing(command)
            dies = changing(command) and count == last
            gone = dies and moment == "sent"
            replies += await ask(self, name, command, **options)
            if dies:
                os.kill(os.getpid(), signal.SIGKILL if moment == "answered" else signal.Signals[moment])
        return replies

    async def then_die(self: AbstractConnection, *arguments: Any, **options: Any) -> None:
        await send(self, *arguments, **options)
        if gone:
            os.kill(os.getpid(), signal.SIGKILL)

    Fleet.ask = one_by_one  # type: ignore[assignment, method-assign]
    AbstractConnection.send_packed_command = then_die  # type: ignore[method-assign]


if __name__ == "__main__":
    assert sys.argv[2] in ("answered", "sent", "SIGINT", "SIGTERM")
    install(int(sys.argv[1]), sys.argv[2])
    main(sys.argv[3:])
