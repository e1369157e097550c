"""clusterboot that dies by SIGKILL at its k-th changing command: a driver for tests of what comes after.

    python -m tests.servers.dying K answered|sent up TOPOLOGY …

`answered` dies when the reply to the k-th changing command has come, `sent` when the command has gone out
and before its reply is read. Commands that go out in one go are sent one by one here, so that every k is
a moment of its own. A run with fewer changing commands ends as always.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from clusterboot.cli import main
from clusterboot.client import Fleet
from clusterboot.replies import Command
from tests.harness.servers import PROBES

_READS = {"INFO", "NODES", "MYID", "GET", "LINKS", "SLOTS", "SHARDS"}


def changing(command: Command) -> bool:
    return command[0] in ("CLUSTER", "CONFIG") and command[1] not in _READS and command not in PROBES


def install(last: int, moment: str) -> None:
    """Replace how a fleet sends, so that the process dies at its command number `last`."""
    exchange = Fleet._exchange
    count = 0

    async def one_by_one(connection: Any, commands: tuple[Command, ...]) -> list[Any]:
        nonlocal count
        replies = []
        for command in commands:
            count += changing(command)
            dies = changing(command) and count == last
            if dies and moment == "sent":
                await connection.send_packed_command(connection.pack_commands([command]), check_health=False)
                os.kill(os.getpid(), signal.SIGKILL)
            replies += await exchange(connection, (command,))
            if dies:
                os.kill(os.getpid(), signal.SIGKILL)
        return replies

    Fleet._exchange = staticmethod(one_by_one)  # type: ignore[assignment, method-assign]


if __name__ == "__main__":
    assert sys.argv[2] in ("answered", "sent")
    install(int(sys.argv[1]), sys.argv[2])
    main(sys.argv[3:])
