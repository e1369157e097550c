"""Is it really Ready? Asked over plain sockets, with none of clusterboot's code.

Ready, in one snapshot: every node lists exactly the ids of all nodes, each connected and free of
handshake, noaddr, fail and fail?; all nodes agree on every role, primary and slot; all 16384 slots are
covered; cluster_state is ok everywhere; master_link_status is up on every replica.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from tests.harness.resp import Connection, Error

_BAD = {"handshake", "noaddr", "fail", "fail?"}
_QUESTIONS = (("CLUSTER", "NODES"), ("CLUSTER", "MYID"), ("CLUSTER", "INFO"), ("INFO", "replication"))


class _Line(NamedTuple):
    flags: set[str]
    primary: str
    connected: bool
    slots: tuple[str, ...]

    @property
    def part(self) -> tuple[str, tuple[str, ...]]:
        """What all nodes must agree on: whose replica it is ('-' for a primary), and its slots."""
        return (self.primary if "slave" in self.flags else "-", self.slots)


def why_not_ready(
    addresses: Sequence[str], *, mesh_only: bool = False, password: str | None = None, timeout: float = 2.0
) -> str | None:
    """Return None when the nodes are Ready (with `mesh_only`: a full mesh), else the first reason why not."""
    connections: list[Connection] = []
    answers: list[list[str]] = []
    asked = ""
    try:
        for asked in addresses:
            connections.append(Connection(asked, timeout=timeout, password=password))
        # Every question is sent before the first answer is read: as near to one moment as it gets.
        for address, connection in zip(addresses, connections, strict=True):
            asked = address
            for question in _QUESTIONS:
                connection.send(*question)
        for address, connection in zip(addresses, connections, strict=True):
            asked = address
            answers.append([connection.read() for _ in _QUESTIONS])
    except OSError as error:
        return f"{asked}: {error}"
    finally:
        for connection in connections:
            connection.close()
    return _judge(addresses, answers, mesh_only)


def _judge(addresses: Sequence[str], answers: Sequence[Sequence[str]], mesh_only: bool) -> str | None:
    for address, replies in zip(addresses, answers, strict=True):
        for reply in replies:
            if isinstance(reply, Error):
                return f"{address}: {reply}"
    ids = [replies[1] for replies in answers]
    if len(set(ids)) != len(ids):
        return "two nodes have the same id"
    views = [_view(replies[0]) for replies in answers]
    for address, view in zip(addresses, views, strict=True):
        seen = [name for name, _ in view]
        if sorted(seen) != sorted(ids):
            return f"{address} lists {len(seen)} nodes, not exactly the {len(ids)} of the cluster"
        for name, line in view:
            if line.flags & _BAD or not (line.connected or "myself" in line.flags):
                link = "connected" if line.connected else "disconnected"
                peer = addresses[ids.index(name)]
                return f"{address} sees {peer} as {','.join(sorted(line.flags))}, {link}"
    agreed = {name: line.part for name, line in views[0]}
    for address, view in zip(addresses, views, strict=True):
        if {name: line.part for name, line in view} != agreed:
            return f"{address} and {addresses[0]} disagree on roles or slots"
    if mesh_only:
        return None
    covered = sum(_size(slots) for _, ranges in agreed.values() for slots in ranges)
    if covered != 16384:
        return f"{covered} of 16384 slots are covered"
    for address, replies in zip(addresses, answers, strict=True):
        if "cluster_state:ok" not in replies[2]:
            return f"{address}: cluster_state is not ok"
        if agreed[replies[1]][0] != "-" and "master_link_status:up" not in replies[3]:
            return f"{address}: master_link_status is not up"
    return None


def _view(text: str) -> list[tuple[str, _Line]]:
    found = []
    for line in text.splitlines():
        fields = line.split(" ")
        slots = tuple(field for field in fields[8:] if not field.startswith("["))
        flags = set(fields[2].split(","))
        found.append((fields[0], _Line(flags, fields[3], fields[7] == "connected", slots)))
    return found


def _size(slots: str) -> int:
    low, _, high = slots.partition("-")
    return int(high or low) - int(low) + 1


def wait_ready(
    addresses: Sequence[str], *, mesh_only: bool = False, password: str | None = None, deadline: float = 60.0
) -> None:
    """Wait until the nodes are Ready; fails the test with the last reason after `deadline` seconds."""
    end = time.monotonic() + deadline
    while (reason := why_not_ready(addresses, mesh_only=mesh_only, password=password)) is not None:
        if time.monotonic() > end:
            raise AssertionError(f"not Ready after {deadline:g} s: {reason}")
        time.sleep(0.05)
