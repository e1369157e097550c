"""Why a node cannot be reached, in a sentence of its own for each reason. Pure.

What happened is told by the exceptions of the network, the reason mostly by the first of a chain that
is of a known kind. All problems have exit status 5.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable, Mapping

from clusterboot.addresses import is_loopback
from clusterboot.errors import Exit, Problem
from clusterboot.topology import Node, Tls
from clusterboot.wire import tls


def lost(
    chain: Iterable[BaseException], node: Node, ip: str, security: Tls | None, *, garbled: bool
) -> Problem:
    """Return what `chain` means: an exception, its cause, the cause of that.

    `ip` is the address that was tried, empty before there was one; `garbled` tells that what came was
    no reply of a Redis or Valkey server.
    """
    chain = tuple(chain)
    for error in chain:
        if isinstance(error, ssl.SSLError):
            return tls.explain(error, node, security)
    where = _where(node, ip)
    for error in chain:
        if isinstance(error, socket.gaierror):
            return _problem(
                "name-not-resolved",
                f"{node.name} cannot be found: the name {node.host} does not resolve.",
                node,
                "check the name, and the name server of this machine",
            )
        if isinstance(error, ConnectionRefusedError):
            return _problem(
                "connection-refused",
                f"{node.name} cannot be reached: nothing listens at {where}.",
                node,
                _start(node, security),
            )
        if isinstance(error, ConnectionAbortedError) and security:  # what asyncio makes of its own time limit
            return _problem(
                "tls-not-spoken",
                f"{_subject(node, where)} takes connections but does not answer the TLS handshake.",
                node,
                "take 'tls' out of the topology or give the server's tls-port; or the process is stopped",
            )
        if isinstance(error, (ConnectionResetError, ConnectionAbortedError, BrokenPipeError)):
            break
        if isinstance(error, TimeoutError):  # the system's own, of a connection that was up
            return unreachable(node, ip, None)
        if garbled or isinstance(error, ValueError):
            return _problem(
                "not-redis",
                f"{_subject(node, where)} answers, but not as a Redis or Valkey server does.",
                node,
                "check host and port; a server that wants TLS needs 'tls' in the topology",
            )
        if isinstance(error, OSError) and error.errno is not None:
            return _problem(
                "unreachable",
                f"{node.name} cannot be reached at {where}: {error.strerror or error}.",
                node,
                "check the address and the way to it: routes, firewalls, security groups",
            )
    return hung_up(node, ip, answered=False)


def hung_up(node: Node, ip: str, *, answered: bool) -> Problem:
    """Return that a node closed the connection; `answered` tells whether it had answered on it or before."""
    return _problem(
        "connection-lost",
        f"{_subject(node, _where(node, ip))} closed the connection.",
        node,
        "look at its log" + ("" if answered else "; a server that wants TLS closes connections without it"),
    )


def died(node: Node, ip: str) -> Problem:
    """Return that a node closed the connection and takes no other one."""
    return _problem(
        "connection-lost",
        f"{_subject(node, _where(node, ip))} closed the connection, and nothing listens there any more.",
        node,
        "it has just died or was stopped: look at its log, and start it again",
    )


def unresolved(node: Node) -> Problem:
    """Return that no name server answered for the node's host in time."""
    return _problem(
        "name-not-resolved",
        f"{node.name} cannot be found: no name server answered for {node.host} in time.",
        node,
        "check the name server of this machine",
    )


def unreachable(node: Node, ip: str, within: float | None) -> Problem:
    """Return that nothing came back from `ip` within so many seconds (None: the system's own patience)."""
    spent = "in time" if within is None else f"within {_seconds(within)}"
    return _problem(
        "connect-timeout",
        f"{node.name} cannot be reached: {_where(node, ip)} did not answer {spent}.",
        node,
        "a firewall or a wrong address swallows the packets: check both"
        + (_SHORT if within is not None and within < 1 else ""),
    )


def silent(node: Node, timeout: float) -> Problem:
    """Return that a node takes connections and then says nothing for `timeout` seconds."""
    return _problem(
        "not-answering",
        f"{node.name} takes connections but did not answer within {_seconds(timeout)}.",
        node,
        "the process is stopped, stuck or overloaded: look at it on its host"
        + (_SHORT if timeout < 1 else ""),
    )


def of_all(node: Node, found: Mapping[str, Problem]) -> Problem:
    """Return the problem that tells most of those by address: an answer first, else what became of each."""
    for one in found.values():
        if len(found) == 1 or one.code not in _NO_WAY:
            return one
    tried = ", ".join(f"{ip} ({_NO_WAY[one.code]})" for ip, one in found.items())
    return _problem(
        "unreachable",
        f"{node.name} cannot be reached at any address of {node.host}, port {node.port}: {tried}.",
        node,
        "start the server, or check the name, firewalls and the way to these addresses",
    )


def _start(node: Node, security: Tls | None) -> str:
    # What --spawn can start: servers of this machine, without TLS.
    spawned = "let 'up --spawn' start it, or " if security is None and is_loopback(node.host) else ""
    return f"start the server, or {spawned}mend its host and port in the topology"


# A healthy node far away, or on a busy host, may take as long.
_SHORT = "; or give it longer with --timeout"
_NO_WAY = {
    "connection-refused": "nothing listens there",
    "connect-timeout": "no answer",
    "unreachable": "no way there",
}


def _seconds(seconds: float) -> str:
    return f"{round(seconds, 1):g} s"


def _subject(node: Node, where: str) -> str:
    return where if node.name == node.address else f"{node.name} at {where}"


def _where(node: Node, ip: str) -> str:
    return node.address if ip in ("", node.host) else f"{node.address} ({ip})"


def _problem(code: str, message: str, node: Node, hint: str) -> Problem:
    return Problem(code, message, node=node.name, hint=hint, exit=Exit.NODE)
