"""Nodes that many tests use one after the other, each time as fresh as just started.

A server that has just started keeps `cluster_state:fail` for two seconds, so starting six for each test
would take most of the time of all tests together. These are started once per kind and made fresh again:
emptied, reset HARD, with every setting back that a test may have changed.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from itertools import combinations
from pathlib import Path
from typing import IO, Any

from tests.harness.cli import Outcome, clusterboot
from tests.harness.forks import Forked
from tests.harness.ready import why_not_ready
from tests.harness.resp import Connection, Error
from tests.harness.servers import Servers

SIZE = 7

TIMERS = {
    "cluster-node-timeout": "15000",
    "repl-diskless-sync-delay": "5",
    "repl-diskless-load": "disabled",
    "cluster-replica-no-failover": "no",
    "cluster-migration-barrier": "1",
}
# Unlike any default, so that restoring is told apart from setting defaults.
OLD = {
    "cluster-node-timeout": "12345",
    "repl-diskless-sync-delay": "3",
    "repl-diskless-load": "disabled",
    "cluster-replica-no-failover": "no",
    "cluster-migration-barrier": "2",
}
_FRESH = {
    **TIMERS,
    "cluster-allow-replica-migration": "yes",
    "cluster-announce-ip": "",
    "cluster-announce-port": "0",
    "cluster-announce-bus-port": "0",
    "requirepass": "",
    "masterauth": "",
    "maxmemory": "0",
    "slowlog-log-slower-than": "0",
    "slowlog-max-len": "100000",
}


class Nodes:
    """The first `count` of some servers, and what tests do with them; a folder for topology files."""

    def __init__(self, servers: Servers, count: int, folder: Path) -> None:
        self.servers = servers
        self.count = count
        self.folder = folder

    @property
    def kind(self) -> str:
        return self.servers.kind

    @property
    def addresses(self) -> list[str]:
        """`host:port` of every node; also the names that clusterboot gives them."""
        return self.servers.addresses[: self.count]

    @property
    def ports(self) -> list[int]:
        return self.servers.ports[: self.count]

    def call(self, index: int, *command: object) -> Any:
        return self.servers.call(index, *command)

    def ok(self, index: int, *command: object) -> Any:
        """Call, and fail the test on an error reply."""
        reply = self.call(index, *command)
        assert not isinstance(reply, Error), f"{self.addresses[index]} answers {command!r} with {reply!r}"
        return reply

    def id(self, index: int) -> str:
        return str(self.ok(index, "CLUSTER", "MYID"))

    def file(self, name: str = "topology.yaml", **keys: object) -> Path:
        """Write a topology of these nodes and return where it is; `keys` are added, or replace keys."""
        path = self.folder / name
        document = {"version": 1, "nodes": self.addresses, **keys}
        path.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in document.items()))
        return path

    def changes(self) -> dict[int, list[list[str]]]:
        """What was sent since the slowlog was reset and changes a node: index → commands, in order."""
        found = {index: self.servers.changing(index) for index in range(self.count)}
        return {index: commands for index, commands in found.items() if commands}

    def sent(self, *start: str) -> list[list[str]]:
        """The changing commands of all nodes that begin with `start`, as in `sent("CLUSTER", "MEET")`."""
        return [
            command
            for commands in self.changes().values()
            for command in commands
            if command[: len(start)] == list(start)
        ]

    def forget(self) -> None:
        """Forget what was sent so far."""
        for index in range(self.count):
            self.ok(index, "SLOWLOG", "RESET")

    def configure(self, settings: Mapping[str, str]) -> None:
        """CONFIG SET on every node; the pool puts the timers back."""
        for index in range(self.count):
            for name, value in settings.items():
                self.ok(index, "CONFIG", "SET", name, value)

    def timers(self, index: int) -> dict[str, str]:
        return {name: self.ok(index, "CONFIG", "GET", name)[1] for name in TIMERS}

    def all_timers(self) -> list[dict[str, str]]:
        return [self.timers(index) for index in range(self.count)]

    def why_not_ready(self, *, mesh_only: bool = False) -> str | None:
        return why_not_ready(self.addresses, mesh_only=mesh_only)

    def join(self, members: Sequence[int], slots: Sequence[tuple[int, int]] = ()) -> None:
        """Make one cluster of `members` by hand; `slots` are one range for each of the first ones."""
        for index, (low, high) in zip(members, slots, strict=False):
            self.ok(index, "CLUSTER", "ADDSLOTS", *range(low, high + 1))
        # Every pair at once is quick at any timeout; one MEET fewer than nodes waits for gossip.
        for index, peer in combinations(members, 2):
            self.ok(index, "CLUSTER", "MEET", "127.0.0.1", self.ports[peer])
        addresses = [self.addresses[index] for index in members]
        self.until(lambda: why_not_ready(addresses, mesh_only=True) is None, "the nodes know each other")

    def until(self, condition: Callable[[], object], what: str, seconds: float = 30.0) -> None:
        """Wait for a condition; fails the test with `what` when it does not come true."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"{what}: not within {seconds:g} s"
            time.sleep(0.02)

    def up(self, file: Path, *flags: str | Path, exit: int = 0, **options: Any) -> Outcome:  # noqa: A002
        """Run `clusterboot up` and check its exit status; with 0, Ready by the independent probe as well."""
        outcome = clusterboot("up", file, *flags, **options)
        assert outcome.exit == exit, outcome
        return outcome

    def ready_up(self, file: Path, *flags: str | Path, **options: Any) -> Outcome:
        """Run `up` to Ready, which the independent probe must confirm at once."""
        outcome = self.up(file, *flags, **options)
        reason = self.why_not_ready()
        assert reason is None, f"{reason}: {outcome!r}"
        return outcome


class Pool:
    """Servers by kind, started when first asked for."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._servers: dict[str, Servers] = {}
        self._used: dict[str, int] = {}

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def take(self, kind: str, count: int, folder: Path) -> Nodes:
        """Return `count` fresh nodes; the nodes that an earlier test got are the same ones."""
        servers = self._servers.get(kind)
        if servers is not None and any(process.poll() is not None for process in servers.processes):
            raise AssertionError(f"a server of the pool has died:\n{servers.log(0)[-2000:]}")
        if servers is None:
            servers = self._servers[kind] = self._stack.enter_context(Servers(kind, SIZE))
        freshen(servers.addresses[: max(count, self._used.get(kind, 0))])
        self._used[kind] = count
        return Nodes(servers, count, folder)


def freshen(addresses: Iterable[str]) -> None:
    """Make nodes as fresh as just started: alone, empty, no slots, epoch 0, settings and slowlog as new."""
    connections = [Connection(address) for address in addresses]
    try:
        end = time.monotonic() + 30
        calm = 0
        while calm < 2:
            # All at the same moment: whoever is reset later could still bring an earlier one back.
            alone = [_alone(connection) for connection in connections]
            calm = calm + 1 if all(alone) else 0
            if not all(alone):
                for connection in connections:
                    _all(connection, [("FLUSHALL",), ("CLUSTER", "RESET", "HARD")])
            assert time.monotonic() < end, "nodes of the pool do not become fresh"
            time.sleep(0.06)
        for connection in connections:
            _all(connection, [("CONFIG", "SET", *item) for item in _FRESH.items()])
            _all(
                connection,
                [
                    ("ACL", "DELUSER", "ops"),
                    ("FUNCTION", "FLUSH"),
                    ("CONFIG", "RESETSTAT"),
                    ("SLOWLOG", "RESET"),
                ],
            )
    finally:
        for connection in connections:
            connection.close()


def _alone(connection: Connection) -> bool:
    lines = str(connection.call("CLUSTER", "NODES")).splitlines()
    fields = lines[0].split()
    return len(lines) == 1 and len(fields) == 8 and fields[6] == "0" and connection.call("DBSIZE") == 0


def _all(connection: Connection, commands: Sequence[Sequence[str]]) -> None:
    for command in commands:
        connection.send(*command)
    for _ in commands:
        connection.read()


def dying(file: Path, k: int, moment: str, *flags: str, alone: bool = False) -> Outcome:
    """Run `up`, which gets a signal at its k-th changing command (see `tests.servers.dying`)."""
    words = [str(k), moment, *(["alone"] if alone else []), "up", file, *flags]
    return clusterboot(*words, module="tests.servers.dying")


def problems(outcome: Outcome, kind: str = "errors") -> list[Mapping[str, Any]]:
    """The errors (or warnings, or reasons) of a JSON document."""
    found: list[Mapping[str, Any]] = outcome.json()[kind]
    return found


def read_until(
    process: subprocess.Popen[str] | Forked, stream: IO[str] | None, words: str, seconds: float = 30.0
) -> str:
    """Read lines of a running command until `words` are among them; it is killed when they never come."""
    assert stream is not None
    told = ""
    deadline = threading.Timer(seconds, process.kill)
    deadline.start()
    try:
        while words not in told:
            line = stream.readline()
            assert line, f"it ended or took {seconds:g} s without saying {words!r}: {told}"
            told += line
    finally:
        deadline.cancel()
    return told
