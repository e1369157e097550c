"""Why a local server cannot start or did not: its ports, the last lines of its log, or no answer."""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Sequence
from pathlib import Path

from clusterboot.errors import Exit, NodeFailed, Problem
from clusterboot.local.server import LOG, Server

_MAX_TAIL = 8192
_MAX_LINES = 3
_MAX_CHARACTERS = 300

# "4711:M 21 Nov 2026 01:16:00.123 # " before every line of a log
_PREFIX = re.compile(r"^\d+:\w \d+ \w+ \d{4} [\d:.]+ \S ")
# 6.2: "Could not create server TCP listening socket 127.0.0.1:7001: bind: Address already in use"
# 7.0 and later: the same after "Warning:", for the bus port too
_IN_USE = re.compile(r":(\d+): bind: Address already in use")


def check_ports(servers: Sequence[Server]) -> None:
    """Raise NodeFailed with every port that `servers` cannot have; a server reports only the first."""
    problems: list[Problem] = []
    wanted: dict[tuple[str, int], str] = {}
    for server in servers:
        for port, what in zip(server.ports, ("port", "bus port"), strict=True):
            owner = wanted.setdefault((server.host, port), f"the {what} of {server.name}")
            if owner != f"the {what} of {server.name}":
                problem = server.problem(
                    "port-twice",
                    f"its {what} {port} is also {owner}.",
                    hint="give one of them other ports",
                    exit=Exit.USAGE,
                )
            elif (error := bind_error(server.host, port)) is None:
                continue
            elif error.errno == errno.EADDRINUSE:
                problem = in_use(server, port)
            else:
                reason = (error.strerror or str(error)).lower()
                problem = server.problem(
                    "port-unusable",
                    f"its {what} {port} cannot be used on {server.host}: {reason}.",
                    hint="choose another host or port",
                )
            problems.append(problem)
    if problems:
        raise NodeFailed(*problems)


def bind_error(host: str, port: int) -> OSError | None:
    """Return why a server cannot bind a port now, or None if it can."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        # As the servers do: a port with connections in TIME-WAIT can be used.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error
    return None


def in_use(server: Server, port: int) -> Problem:
    """Return the problem of a port of `server`, client or bus, that it cannot bind."""
    what = "bus port" if port == server.ports[1] else "port"
    if _listens(server.host, port):
        return server.problem(
            "port-in-use",
            f"its {what} {port} is in use on {server.host}.",
            hint=f"stop what listens there (lsof -i tcp:{port}), or choose another port",
        )
    # TIME-WAIT of a socket without SO_REUSEADDR, or the local end of an outgoing connection.
    return server.problem(
        "port-in-use",
        f"nothing listens on its {what} {port} of {server.host}, but the system still holds it for a recent "
        f"or an outgoing connection.",
        hint="try again in a minute, or choose another port",
    )


def _listens(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), 1.0):
            return True
    except ConnectionRefusedError:
        return False
    except OSError:
        return True  # A listener whose queue is full does not answer.


def exited(server: Server, status: int, offset: int = 0) -> Problem:
    """Return why a server exited: a port in use, or the end of its log, read from `offset` bytes on.

    `status` is its exit status, or minus the signal that killed it.
    """
    tail = _log_tail(server, offset)
    if (taken := _IN_USE.search(tail)) is not None:
        return in_use(server, int(taken[1]))
    how = f"exit status {status}" if status >= 0 else f"killed by signal {-status}"
    lines = _last_lines(tail)
    output = f": {lines}" if lines else " with no output"
    return server.problem(
        "server-died",
        f"the server exited immediately ({how}){output}.",
        hint="correct servers.config or --set, or choose another server",
    )


def not_answering(server: Server, timeout: float) -> Problem:
    """Return the problem of a server that runs and has not answered within `timeout` seconds."""
    lines = _last_lines(_log_tail(server, 0))
    return server.problem(
        "server-mute",
        f"the server runs but does not answer on port {server.port} after {round(timeout, 1):g} s"
        f"{f'; its log ends with: {lines}' if lines else ''}.",
        hint="check servers.config or --set (bind, unixsocket), or give it more time with --timeout",
        exit=Exit.NOT_READY,
    )


def _log_tail(server: Server, offset: int) -> str:
    """Return the end of a log, without the password: a server that refuses a setting prints its line."""
    try:
        with Path(server.folder / LOG).open("rb") as file:
            file.seek(offset)
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    for secret in server.secrets:
        text = text.replace(secret, "*****")
    return text[-_MAX_TAIL:]


def _last_lines(tail: str) -> str:
    """Return the last lines of a log as one line without control characters and final full stop."""
    lines = [_PREFIX.sub("", line).strip() for line in tail.splitlines()]
    text = " / ".join([line for line in lines if line][-_MAX_LINES:])
    printable = "".join(letter if letter.isprintable() else "�" for letter in text)
    return printable[-_MAX_CHARACTERS:].rstrip(".")
