"""Talking to nodes: the only importer of redis-py. Connect, send, map errors.

A `Fleet` keeps one connection per node. `ask` sends commands in one go and returns their replies;
error replies come back as `Rejected` values, and everything that keeps a node from answering raises
`NodeFailed` with a sentence of its own. redis-py's own retries are off: whether a command may be sent
again is for the loop to decide, which looks before it acts.
"""

from __future__ import annotations

import asyncio
import inspect
import socket
import ssl
from collections.abc import Callable
from typing import Any

from redis._parsers import _AsyncRESP2Parser
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import InvalidResponse, RedisError, ResponseError

from clusterboot.addresses import resolve
from clusterboot.errors import Exit, NodeFailed, Problem
from clusterboot.replies import Command, Rejected, Reply, explain
from clusterboot.topology import Node, Tls, Topology

Credential = tuple[str | None, str | None]

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 5.0
_LARGEST_BULK = 64 * 2**20
_LARGEST_ARRAY = 100_000

# CLIENT SETINFO is one more command that a node might refuse; how to leave it out changed in redis-py 7.
_NO_SETINFO: dict[str, Any] = (
    {"driver_info": None}
    if "driver_info" in inspect.signature(AbstractConnection).parameters
    else {"lib_name": None, "lib_version": None}
)


class _Parser(_AsyncRESP2Parser):
    """RESP2, with error replies left as the server sent them and with replies of bounded size.

    redis-py turns codes such as NOAUTH into exception classes and drops them from the text, and for
    LOADING closes the connection; `replies.explain` wants the whole text.
    """

    EXCEPTION_CLASSES: dict[str, Any] = {}  # noqa: RUF012  # as the base class has it

    async def _read(self, length: int) -> bytes:
        if not 0 <= length <= _LARGEST_BULK:
            raise InvalidResponse(f"a reply of {length} bytes")
        return bytes(await super()._read(length))

    async def _readline(self) -> bytes:
        line = bytes(await super()._readline())
        if line[:1] == b"*" and int(line[1:]) > _LARGEST_ARRAY:
            raise InvalidResponse(f"a reply of {int(line[1:])} elements")
        return line


class _NamedSSLConnection(SSLConnection):
    """TLS to a numeric address while the certificate is checked against the name in the topology."""

    server_name = ""

    def _connection_arguments(self) -> dict[str, Any]:
        return {**super()._connection_arguments(), "server_hostname": self.server_name}


class _Link:
    """The connection to one node; never used by two tasks at once."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.lock = asyncio.Lock()
        self.connection: Any = None
        self.ip = ""


class Fleet:
    """All nodes of a topology, one kept connection each."""

    def __init__(self, topology: Topology, credential: Callable[[Node], Credential]) -> None:
        """Take the topology and what gives a node's user name and password when it is connected to."""
        self._tls = topology.tls
        self._credential = credential
        self._links = {node.name: _Link(node) for node in topology.nodes}

    def ip(self, name: str) -> str:
        """Return the numeric address at which the node answered, or the empty text before that."""
        return self._links[name].ip

    async def ask(self, name: str, *commands: Command, timeout: float = ANSWER_SECONDS) -> list[Reply]:
        """Send `commands` to a node in one go and return its replies, one for each.

        Connects first where there is no connection, which may take CONNECT_SECONDS; `timeout` in
        seconds bounds the answer. Raises NodeFailed when the node cannot be reached, does not let us
        in or does not answer in time; the connection is then dropped and the next `ask` makes a new
        one. Nothing is ever sent twice.
        """
        link = self._links[name]
        async with link.lock:
            try:
                if link.connection is None:
                    await self._connect(link)
                async with asyncio.timeout(timeout):
                    return await self._exchange(link.connection, commands)
            except BaseException as failed:
                self._drop(link)
                if isinstance(failed, TimeoutError):
                    raise NodeFailed(_silent(link.node, timeout)) from failed
                if isinstance(failed, (RedisError, OSError, ValueError, RecursionError)):
                    raise NodeFailed(problem(failed, link.node, link.ip)) from failed
                raise

    async def close(self) -> None:
        """Drop every connection; never waits and never raises."""
        for link in self._links.values():
            self._drop(link)

    @staticmethod
    async def _exchange(connection: Any, commands: tuple[Command, ...]) -> list[Reply]:
        await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
        replies: list[Reply] = []
        for _ in commands:
            try:
                replies.append(await connection.read_response())
            except ResponseError as rejected:
                replies.append(Rejected(str(rejected)))
        return replies

    async def _connect(self, link: _Link) -> None:
        """Try each address of the node's host in turn; the last failure counts."""
        node = link.node
        username, password = self._credential(node)
        async with asyncio.timeout(CONNECT_SECONDS):
            addresses = await resolve(node.host, node.port)
        failure: Exception | None = None
        for ip in addresses:
            link.ip = ip
            connection = _connection(self._tls, node, ip, username, password)
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    await connection.connect()
            except TimeoutError as slow:
                failure = slow
            except (RedisError, OSError) as failed:
                failure = failed
            else:
                link.connection = connection
                return
        assert failure is not None, "a name always resolves to at least one address"
        if isinstance(failure, TimeoutError):
            raise NodeFailed(_unreachable(node, link.ip)) from failure
        raise failure

    @staticmethod
    def _drop(link: _Link) -> None:
        connection, link.connection = link.connection, None
        if connection is not None and connection._writer is not None:
            # disconnect() would wait for a peer that may be gone; the transport is simply let go.
            connection._writer.transport.abort()
            connection._writer = connection._reader = None


def _connection(tls: Tls | None, node: Node, ip: str, username: str | None, password: str | None) -> Any:
    # Where no user is named the old form of AUTH is used, which servers before 6 understand as well.
    common: dict[str, Any] = {
        "host": ip,
        "port": node.port,
        "username": username if password else None,
        "password": password,
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": None,
        "socket_connect_timeout": CONNECT_SECONDS,
        "decode_responses": True,
        "encoding_errors": "replace",
        **_NO_SETINFO,
        "parser_class": _Parser,
    }
    if tls is None:
        return Connection(**common)
    connection = _NamedSSLConnection(
        **common,
        ssl_ca_certs=str(tls.ca) if tls.ca else None,
        ssl_certfile=str(tls.cert) if tls.cert else None,
        ssl_keyfile=str(tls.key) if tls.key else None,
        ssl_cert_reqs="required" if tls.verify else "none",
        ssl_check_hostname=tls.verify,
        ssl_min_version=ssl.TLSVersion.TLSv1_3 if tls.min_version == "1.3" else ssl.TLSVersion.TLSv1_2,
    )
    connection.server_name = tls.server_name or node.host
    return connection


def problem(failed: BaseException, node: Node, ip: str) -> Problem:
    """Return what an exception of redis-py or of the network means; exit status 5."""
    chain: list[BaseException] = []
    cause: BaseException | None = failed
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    for error in chain:
        if isinstance(error, ResponseError):
            return explain(str(error), node.name, ("AUTH",))
        if isinstance(error, ssl.SSLError):
            return _tls(error, node)
    return _network(chain, node, ip)


def _network(chain: list[BaseException], node: Node, ip: str) -> Problem:
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
                "start the server, or mend its host and port in the topology",
            )
        if isinstance(error, TimeoutError):
            return _unreachable(node, ip)
        if isinstance(error, (InvalidResponse, ValueError, RecursionError)):
            return _problem(
                "not-redis",
                f"{node.name} at {where} answers, but not as a Redis or Valkey server does.",
                node,
                "check host and port; a server that wants TLS needs 'tls' in the topology",
            )
    for error in chain:
        if isinstance(error, OSError) and error.errno is not None:
            return _problem(
                "unreachable",
                f"{node.name} cannot be reached at {where}: {error.strerror or error}.",
                node,
                "check the address and the way to it: routes, firewalls, security groups",
            )
    return _problem(
        "connection-lost",
        f"{node.name} at {where} closed the connection.",
        node,
        "look at its log; a server that wants TLS closes connections without it",
    )


def _tls(error: ssl.SSLError, node: Node) -> Problem:
    reason = getattr(error, "verify_message", "") or error.reason or str(error)
    return _problem(
        "tls-failed",
        f"{node.name} and clusterboot cannot agree on TLS: {reason}.",
        node,
        "check tls.ca, tls.cert, tls.key and the name in the server's certificate",
    )


def _unreachable(node: Node, ip: str) -> Problem:
    if not ip:
        return _problem(
            "name-not-resolved",
            f"{node.name} cannot be found: no name server answered for {node.host} in time.",
            node,
            "check the name server of this machine",
        )
    return _problem(
        "connect-timeout",
        f"{node.name} cannot be reached: {_where(node, ip)} did not answer within {CONNECT_SECONDS:g} s.",
        node,
        "a firewall or a wrong address swallows the packets: check both",
    )


def _silent(node: Node, timeout: float) -> Problem:
    return _problem(
        "not-answering",
        f"{node.name} takes connections but did not answer within {timeout:g} s.",
        node,
        "the process is stopped, stuck or overloaded: look at it on its host",
    )


def _where(node: Node, ip: str) -> str:
    return node.address if ip in ("", node.host) else f"{node.address} ({ip})"


def _problem(code: str, message: str, node: Node, hint: str) -> Problem:
    return Problem(code, message, node=node.name, hint=hint, exit=Exit.NODE)
