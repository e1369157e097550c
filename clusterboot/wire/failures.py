"""What a failed connection to a node means: a problem with its cause and the next step; exit status 5."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping

from clusterboot.addresses import is_loopback
from clusterboot.errors import Exit, Problem
from clusterboot.topology import Node, Tls
from clusterboot.wire import tls

# A healthy node far away, or on a busy host, may take longer than this many seconds.
_SHORT_TIMEOUT = 1.0
# What became of one of several addresses, by the code of its problem.
_NO_CONNECTION = {
    "connection-refused": "nothing listens there",
    "connect-timeout": "no answer",
    "unreachable": "no route",
}


def explain(error: BaseException, node: Node, ip: str, security: Tls | None) -> Problem:
    """Return what an exception of redis-py, network or reply reader means; `ip` was tried, or is empty."""
    chain = _chain(error)
    for cause in chain:
        if isinstance(cause, ssl.SSLError):
            return tls.explain(cause, node, security)
    where = _where(node, ip)
    for cause in chain:
        if isinstance(cause, socket.gaierror):
            return _problem(
                "name-not-resolved",
                f"{node.name} cannot be found: the name {node.host} does not resolve.",
                node,
                "check the name, and the name server of this machine",
            )
        if isinstance(cause, ConnectionRefusedError):
            # --spawn starts servers on this machine, without TLS.
            spawn = "let 'up --spawn' start it, or " if security is None and is_loopback(node.host) else ""
            return _problem(
                "connection-refused",
                f"{node.name} cannot be reached: nothing listens at {where}.",
                node,
                f"start the server, or {spawn}fix its host and port in the topology",
            )
        if isinstance(cause, ConnectionAbortedError) and security:  # asyncio's own limit for the handshake
            return _problem(
                "tls-not-spoken",
                f"{_subject(node, ip)} takes connections but does not answer the TLS handshake.",
                node,
                "remove 'tls' from the topology or give the server's tls-port; or the process is stopped",
            )
        if isinstance(cause, (ConnectionResetError, ConnectionAbortedError, BrokenPipeError)):
            break
        if isinstance(cause, TimeoutError):  # the kernel's, of a connection that was up
            return unreachable(node, ip, None)
        if isinstance(cause, ValueError):
            return _problem(
                "not-redis",
                f"{_subject(node, ip)} answers, but not as a Redis or Valkey server does.",
                node,
                "check host and port; a server that wants TLS needs 'tls' in the topology",
            )
        if isinstance(cause, OSError) and cause.errno is not None:
            return _problem(
                "unreachable",
                f"{node.name} cannot be reached at {where}: {cause.strerror or cause}.",
                node,
                "check the address and the way to it: routes, firewalls, security groups",
            )
    return hung_up(node, ip, answered=False)


def _chain(error: BaseException) -> list[BaseException]:
    """Return `error` and its causes: redis-py wraps the exceptions of the network."""
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    return chain


def hung_up(node: Node, ip: str, *, answered: bool) -> Problem:
    """Return that a node closed the connection; `answered` says whether it had ever answered."""
    # Redis 6.2, Redis 7.0 and Valkey 9.1 close a client's connection to the bus port without a reply, as they
    # do on a TLS port when the client does not speak TLS: nothing tells the two apart.
    hint = "look at its log"
    if not answered:
        hint += " and check the port: bus ports close connections, and so do TLS ports without 'tls' in the "
        hint += "topology"
    return _problem("connection-lost", f"{_subject(node, ip)} closed the connection.", node, hint)


def died(node: Node, ip: str) -> Problem:
    """Return that a node closed the connection and accepts no other one."""
    return _problem(
        "connection-lost",
        f"{_subject(node, ip)} closed the connection, and nothing listens there any more.",
        node,
        "look at its log, and start it again: it died or was stopped",
    )


def unresolved(node: Node) -> Problem:
    """Return that no name server answered for the node's host in time."""
    return _problem(
        "name-not-resolved",
        f"{node.name} cannot be found: no name server answered for {node.host} in time.",
        node,
        "check the name server of this machine",
    )


def unreachable(node: Node, ip: str, seconds: float | None) -> Problem:
    """Return that `ip` did not answer a connection attempt within `seconds` (None: the kernel's limit)."""
    spent = "in time" if seconds is None else f"within {_seconds(seconds)}"
    return _problem(
        "connect-timeout",
        f"{node.name} cannot be reached: {_where(node, ip)} did not answer {spent}.",
        node,
        _with_more_time("check the address, and firewalls that drop packets", seconds),
    )


def silent(node: Node, seconds: float) -> Problem:
    """Return that a node accepts connections but did not answer within `seconds`."""
    return _problem(
        "not-answering",
        f"{node.name} takes connections but did not answer within {_seconds(seconds)}.",
        node,
        _with_more_time("check whether the process is stopped, stuck or overloaded", seconds),
    )


def of_all(node: Node, problems: Mapping[str, Problem]) -> Problem:
    """Return one problem for several by address: that of an address which answered, else all in one."""
    for problem in problems.values():
        if len(problems) == 1 or problem.code not in _NO_CONNECTION:
            return problem
    tried = ", ".join(f"{ip} ({_NO_CONNECTION[problem.code]})" for ip, problem in problems.items())
    return _problem(
        "unreachable",
        f"{node.name} cannot be reached at any address of {node.host}, port {node.port}: {tried}.",
        node,
        "start the server, or check the name, firewalls and the routes to these addresses",
    )


def _with_more_time(hint: str, seconds: float | None) -> str:
    short = seconds is not None and seconds < _SHORT_TIMEOUT
    return f"{hint}; or allow more time with --timeout" if short else hint


def _seconds(seconds: float) -> str:
    return f"{round(seconds, 1):g} s"


def _subject(node: Node, ip: str) -> str:
    where = _where(node, ip)
    return where if node.name == node.address else f"{node.name} at {where}"


def _where(node: Node, ip: str) -> str:
    return node.address if ip in ("", node.host) else f"{node.address} ({ip})"


def _problem(code: str, message: str, node: Node, hint: str) -> Problem:
    return Problem(code, message, node=node.name, hint=hint, exit=Exit.NODE)
