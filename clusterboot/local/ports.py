"""Are the ports free? Asked of every port before anything starts, with a sentence for each that is not."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING

from clusterboot.errors import Exit, NodeFailed, Problem

if TYPE_CHECKING:
    from clusterboot.local.servers import Server


def check_ports(servers: Sequence[Server]) -> None:
    """Find every port that `servers` cannot have, for a server tells only of the first one.

    Raises NodeFailed with one problem for each.
    """
    problems: list[Problem] = []
    wanted: dict[tuple[str, int], str] = {}
    for server in servers:
        for port, what in zip(server.ports, ("port", "bus port"), strict=True):
            other = wanted.setdefault((server.host, port), f"the {what} of {server.name}")
            if other != f"the {what} of {server.name}":
                problems.append(
                    Problem(
                        "port-twice",
                        f"{server.name}: its {what} {port} is {other} as well",
                        node=server.name,
                        hint="give one of them other ports",
                        exit=Exit.USAGE,
                    )
                )
            elif (problem := _bindable(server, port, what)) is not None:
                problems.append(problem)
    if problems:
        raise NodeFailed(*problems)


def _bindable(server: Server, port: int, what: str) -> Problem | None:
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    with contextlib.closing(socket.socket(family)) as probe:
        # As the servers do: a port whose last connections are only fading away can be used.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((server.host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return in_use(server.name, server.host, port, what)
            reason = (error.strerror or str(error)).lower()
            return Problem(
                "port-unusable",
                f"{server.name}: its {what} {port} cannot be used on {server.host}: {reason}",
                node=server.name,
                hint="choose another host or port",
                exit=Exit.NODE,
            )
    return None


def in_use(name: str, host: str, port: int, what: str) -> Problem:
    """Return the problem of a taken port; `what` is "port" or "bus port"."""
    if _listens(host, port):
        return Problem(
            "port-in-use",
            f"{name}: its {what} {port} is in use on {host}",
            node=name,
            hint=f"stop what listens there (lsof -i tcp:{port}), or choose another port",
            exit=Exit.NODE,
        )
    # TIME-WAIT of a socket without SO_REUSEADDR, or the near end of a connection to somewhere else.
    return Problem(
        "port-in-use",
        f"{name}: nothing listens on its {what} {port} of {host}, but the system still holds it for a "
        f"connection that has just ended, or for one to somewhere else",
        node=name,
        hint="try again in a minute, or choose another port",
        exit=Exit.NODE,
    )


def _listens(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), 1.0):
            return True
    except ConnectionRefusedError:
        return False
    except OSError:
        return True  # A listener whose queue is full does not answer.
