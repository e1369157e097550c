"""clusterboot that gets a signal at its k-th changing command: a driver for tests of what comes after.

    python -m tests.servers.dying K answered|sent|SIGINT|SIGTERM|PID|kill:PID [alone] up TOPOLOGY …

`answered` dies by SIGKILL when the reply to the k-th changing command has come, `sent` when the command
has gone out and before its reply is read; a named signal comes with the reply. With a PID the process
of that id is stopped, and the run goes on; `kill:PID` kills it, and counts only commands that move slots.
With `alone` the helper process is killed first, in one go with its parent. Commands that go out in one go
are sent one by one here, so that every k is a moment of its own, but for MULTI to EXEC. A run with fewer
changing commands ends as always.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from redis.asyncio.connection import AbstractConnection

from clusterboot.cli.main import main
from clusterboot.loop.standby import Standby
from clusterboot.wire.client import Fleet
from clusterboot.wire.replies import Command
from tests.harness.servers import PROBES

_READS = {
    *("INFO", "NODES", "MYID", "GET", "LINKS", "SLOTS", "SHARDS"),
    *("COUNTKEYSINSLOT", "GETKEYSINSLOT", "GETSLOTMIGRATIONS"),
    *("LIST", "DUMP"),
}


def changing(commands: Sequence[Command]) -> bool:
    return any(
        command[0] == "MIGRATE"
        or (command[0] in ("CLUSTER", "CONFIG", "FUNCTION") and command[1] not in _READS)
        for command in commands
        if command not in PROBES
    )


def moving(commands: Sequence[Command]) -> bool:
    names = [command[:2] for command in commands if command not in PROBES]
    return any(
        name[0] == "MIGRATE" or name in (("CLUSTER", "SETSLOT"), ("CLUSTER", "MIGRATESLOTS"))
        for name in names
    )


def units(commands: Sequence[Command]) -> Iterator[tuple[Command, ...]]:
    """The commands one by one, and what stands between MULTI and EXEC as one."""
    unit: list[Command] = []
    for command in commands:
        unit.append(command)
        if unit[0] != ("MULTI",) or command == ("EXEC",):
            yield tuple(unit)
            unit = []


def install(last: int, moment: str, *, alone: bool) -> None:
    """Replace how a fleet sends, so that the signal comes at command number `last`."""
    ask, send, start = Fleet.ask, AbstractConnection.send_packed_command, Standby.start
    count = 0
    gone = False  # the last command is next
    helpers: list[int] = []

    def die(number: signal.Signals) -> None:
        for helper in helpers if alone else ():
            with suppress(ProcessLookupError):  # it ends once everything is given back
                os.kill(helper, signal.SIGKILL)
        os.kill(os.getpid(), number)

    async def started(self: Standby) -> None:
        await start(self)
        assert self._process is not None
        helpers[:] = [self._process.pid]

    async def one_by_one(self: Fleet, name: str, *commands: Command, **options: Any) -> list[Any]:
        nonlocal count, gone
        replies = []
        for unit in units(commands):
            counts = moving(unit) if moment.startswith("kill:") else changing(unit)
            count += counts
            dies = counts and count == last
            gone = dies and moment == "sent"
            replies += await ask(self, name, *unit, **options)
            if dies and moment.isdigit():
                os.kill(int(moment), signal.SIGSTOP)
            elif dies and moment.startswith("kill:"):
                os.kill(int(moment.removeprefix("kill:")), signal.SIGKILL)
            elif dies:
                die(signal.Signals[moment] if moment.startswith("SIG") else signal.SIGKILL)
        return replies

    async def then_die(self: AbstractConnection, *arguments: Any, **options: Any) -> None:
        await send(self, *arguments, **options)
        if gone:
            die(signal.SIGKILL)

    Fleet.ask = one_by_one  # type: ignore[assignment, method-assign]
    AbstractConnection.send_packed_command = then_die  # type: ignore[method-assign]
    Standby.start = started  # type: ignore[method-assign]


if __name__ == "__main__":
    given = sys.argv[3:]
    install(int(sys.argv[1]), sys.argv[2], alone=given[0] == "alone")
    main(given[given[0] == "alone" :])
