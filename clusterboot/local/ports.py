"""Check every port before any server starts, because a server reports only the first one it cannot bind."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence

from clusterboot.errors import Exit, NodeFailed, Problem
from clusterboot.local.failures import in_use
from clusterboot.local.server import Server


def check_ports(servers: Sequence[Server]) -> None:
    """Raise NodeFailed with one problem for each port that `servers` cannot have."""
    problems: list[Problem] = []
    wanted: dict[tuple[str, int], str] = {}
    for server in servers:
        for port, what in zip(server.ports, ("port", "bus port"), strict=True):
            owner = wanted.setdefault((server.host, port), f"the {what} of {server.name}")
            if owner != f"the {what} of {server.name}":
                problems.append(
                    Problem(
                        "port-twice",
                        f"{server.name}: its {what} {port} is also {owner}.",
                        node=server.name,
                        hint="give one of them other ports",
                        exit=Exit.USAGE,
                    )
                )
            elif (problem := _unbindable(server, port, what)) is not None:
                problems.append(problem)
    if problems:
        raise NodeFailed(*problems)


def _unbindable(server: Server, port: int, what: str) -> Problem | None:
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    with socket.socket(family) as probe:
        # As the servers do: a port with connections in TIME-WAIT can be used.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((server.host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return in_use(server, port)
            reason = (error.strerror or str(error)).lower()
            return Problem(
                "port-unusable",
                f"{server.name}: its {what} {port} cannot be used on {server.host}: {reason}.",
                node=server.name,
                hint="choose another host or port",
                exit=Exit.NODE,
            )
    return None
