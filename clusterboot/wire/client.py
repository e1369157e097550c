"""Talking to nodes: the only importer of redis-py. Connect, send, map errors.

A `Fleet` keeps one connection per node. `ask` sends commands in one go and returns their replies;
error replies come back as `Rejected` values, and everything that keeps a node from answering raises
`NodeFailed` with a sentence of its own. redis-py's own retries are off: whether a command may be sent
again is for the loop to decide, which looks before it acts.
"""

from __future__ import annotations

import asyncio
import inspect
import ssl
from collections.abc import Callable
from typing import Any

from redis._parsers import _AsyncRESP2Parser
from redis.asyncio.connection import AbstractConnection, Connection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import InvalidResponse, RedisError, ResponseError

from clusterboot.errors import NodeFailed, Problem
from clusterboot.topology import Node, Tls, Topology
from clusterboot.wire import failures, tls
from clusterboot.wire.limits import allow
from clusterboot.wire.probe import probe
from clusterboot.wire.replies import Command, Rejected, Reply, explain
from clusterboot.wire.resolve import resolve

Credential = tuple[str | None, str | None]

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 5.0
_PROBE_SECONDS = 0.3
# What one `ask` may bring in all: CLUSTER LINKS of 2,000 nodes is 1 MB of 52,000 elements.
_MOST_BYTES = 8 * 2**20
_MOST_ELEMENTS = 60_000
_DEEPEST = 8
# Passwords at least so long are looked for in every error reply; shorter ones would be found in words.
_LONG_SECRET = 4

# CLIENT SETINFO is one more command that a node might refuse; how to leave it out changed in redis-py 7.
_NO_SETINFO: dict[str, Any] = (
    {"driver_info": None}
    if "driver_info" in inspect.signature(AbstractConnection).parameters
    else {"lib_name": None, "lib_version": None}
)


class _Parser(_AsyncRESP2Parser):
    """RESP2, with error replies left as the server sent them and with replies of bounded size and depth.

    redis-py turns codes such as NOAUTH into exception classes and drops them from the text, and for
    LOADING closes the connection; `replies.explain` wants the whole text. And it believes every length
    that a server names.
    """

    EXCEPTION_CLASSES: dict[str, Any] = {}  # noqa: RUF012  # as the base class has it

    def on_connect(self, connection: Any) -> None:
        """Begin with a new stream."""
        super().on_connect(connection)  # type: ignore[no-untyped-call]  # redis-py has no types here
        connection.accepted = True
        self.allow()

    def allow(self) -> None:
        """Let in as much as one `ask` may bring, from now on."""
        self._bytes, self._elements, self._depth = _MOST_BYTES, _MOST_ELEMENTS, 0

    async def _read(self, length: int) -> bytes:
        if length < 0:
            raise InvalidResponse(f"a reply of {length} bytes")
        self._spend(length)
        return bytes(await super()._read(length))

    async def _readline(self) -> bytes:
        line = bytes(await super()._readline())
        self._spend(len(line))
        if line[:1] == b"*":
            count = int(line[1:])
            self._elements -= count
            if count < -1 or self._elements < 0:
                raise InvalidResponse(f"a reply of {count} elements")
        return line

    async def _read_response(self, disable_decoding: bool = False) -> Any:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise InvalidResponse("a reply that is nested too deeply")
        reply = await super()._read_response(disable_decoding)
        self._depth -= 1
        return reply

    def _spend(self, length: int) -> None:
        self._bytes -= length
        if self._bytes < 0:
            raise InvalidResponse(f"more than {_MOST_BYTES} bytes")


class _TlsConnection(Connection):
    """TLS to a numeric address while the certificate is checked against the name in the topology."""

    context: ssl.SSLContext
    server_name: str
    patience: float

    def _connection_arguments(self) -> dict[str, Any]:
        arguments = super()._connection_arguments()
        # Shorter than the time for all: a server without TLS takes the connection and says nothing.
        bound = {"ssl_handshake_timeout": self.patience * 0.8}
        return {**arguments, "ssl": self.context, "server_hostname": self.server_name, **bound}


class _Link:
    """The connection to one node; never used by two tasks at once."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.lock = asyncio.Lock()
        self.connection: Any = None
        self.ip = ""
        self.secret = ""
        self.answered = False


class Fleet:
    """All nodes of a topology, one kept connection each."""

    def __init__(
        self, topology: Topology, credential: Callable[[Node], Credential], deadline: float | None = None
    ) -> None:
        """Take the topology and what gives a node's user name and password when it is connected to.

        A node that has not answered yet gets no longer than until `deadline` (in the loop's time), so
        that a run with less time than CONNECT_SECONDS still ends with who did not answer. Raises UsageError
        when a file under `tls` cannot be used, and NodeFailed when so many connections are not allowed.
        """
        allow(len(topology.nodes))
        self._tls = topology.tls
        # One for all connections: reading the certificates takes longer than a handshake.
        self._context = None if topology.tls is None else tls.context(topology.tls)
        self._credential = credential
        self._deadline = deadline
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
                timeout = self._within(timeout, link)
                async with asyncio.timeout(timeout):
                    replies = await self._exchange(link, commands)
                link.answered = True
                return replies
            except BaseException as failed:
                self._drop(link)
                if isinstance(failed, TimeoutError):
                    raise NodeFailed(failures.silent(link.node, timeout)) from failed
                if isinstance(failed, (RedisError, OSError, ValueError)):
                    raise NodeFailed(await self._problem(failed, link)) from failed
                raise

    async def close(self) -> None:
        """Drop every connection; never waits and never raises."""
        for link in self._links.values():
            self._drop(link)

    @staticmethod
    async def _exchange(link: _Link, commands: tuple[Command, ...]) -> list[Reply]:
        connection = link.connection
        connection._parser.allow()
        await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
        replies: list[Reply] = []
        for _ in commands:
            try:
                replies.append(await connection.read_response())
            except ResponseError as rejected:
                replies.append(Rejected(_hidden(str(rejected), link.secret)))
            except (RedisError, OSError) as lost:
                if replies and isinstance(replies[0], Rejected):
                    # Hung up on, and told why: too many clients, or protected mode.
                    raise NodeFailed(explain(replies[0], link.node.name, commands[0])) from lost
                raise
        return replies

    async def _connect(self, link: _Link) -> None:
        """Try each address of the node's host in turn, all within the time for one.

        The one that answered last time comes first: a name may stand for several servers by now.
        """
        node, clock = link.node, asyncio.get_running_loop().time
        username, password = self._credential(node)
        within = self._within(CONNECT_SECONDS, link)
        try:
            async with asyncio.timeout(within):
                addresses = await resolve(node.host, node.port)
        except TimeoutError as slow:
            raise NodeFailed(failures.unresolved(node)) from slow
        within = self._within(CONNECT_SECONDS, link)
        end = clock() + within
        addresses = tuple(sorted(addresses, key=lambda ip: not (link.answered and ip == link.ip)))
        link.secret = password or ""
        failed_by: dict[str, NodeFailed] = {}
        for index, ip in enumerate(addresses):
            link.ip = ip
            patience = (end - clock()) / (len(addresses) - index)
            connection = self._connection(node, ip, username, password, patience)
            try:
                async with asyncio.timeout(patience):
                    await connection.connect()
            except TimeoutError as slow:
                # A stopped process takes connections all the same: its kernel does that.
                accepted = getattr(connection, "accepted", False)
                failed_by[ip] = NodeFailed(
                    failures.silent(node, within) if accepted else failures.unreachable(node, ip, within)
                )
                failed_by[ip].__cause__ = slow
            except ResponseError as refused:
                # Without its cause: a server that knows no AUTH repeats the password in its error.
                text = _hidden(str(refused), link.secret)
                failed_by[ip] = NodeFailed(explain(text, node.name, ("AUTH",)))
            except (RedisError, OSError, ValueError) as failed:
                failed_by[ip] = NodeFailed(await self._problem(failed, link))
                failed_by[ip].__cause__ = failed
            except BaseException:
                _abort(connection)
                raise
            else:
                link.connection = connection
                return
            _abort(connection)
        told = failures.of_all(node, {ip: failure.problems[0] for ip, failure in failed_by.items()})
        raise next((one for one in failed_by.values() if told in one.problems), NodeFailed(told))

    def _connection(
        self, node: Node, ip: str, username: str | None, password: str | None, patience: float
    ) -> Any:
        made = (_TlsConnection if self._context else Connection)(
            host=ip,
            port=node.port,
            # Where no user is named the old form of AUTH is used, which servers before 6 understand as well.
            username=username if password else None,
            password=password,
            protocol=2,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=None,
            socket_connect_timeout=None,
            decode_responses=True,
            encoding_errors="replace",
            parser_class=_Parser,
            **_NO_SETINFO,
        )
        if isinstance(made, _TlsConnection) and self._context and self._tls:
            made.context = self._context
            made.server_name = self._tls.server_name or node.host
            made.patience = max(0.05, patience)
        return made

    async def _problem(self, failed: BaseException, link: _Link) -> Problem:
        found = problem(failed, link.node, link.ip, self._tls)
        if found.code != "connection-lost":
            return found
        if await probe(link.ip, link.node.port, _PROBE_SECONDS) == "refused":
            return failures.died(link.node, link.ip)
        if self._tls and not link.answered:
            # TLS 1.3 servers look at the client's certificate when the client takes the handshake for done.
            return tls.hung_up(link.node, self._tls)
        return failures.hung_up(link.node, link.ip, answered=link.answered)

    def _within(self, seconds: float, link: _Link) -> float:
        if link.answered or self._deadline is None:
            return seconds
        return max(0.05, min(seconds, self._deadline - asyncio.get_running_loop().time()))

    @staticmethod
    def _drop(link: _Link) -> None:
        connection, link.connection = link.connection, None
        if connection is not None:
            _abort(connection)


def _abort(connection: Any) -> None:
    # disconnect() would wait for a peer that may be gone; the transport is simply let go.
    if connection._writer is not None:
        connection._writer.transport.abort()
        connection._writer = connection._reader = None


def _hidden(text: str, secret: str) -> str:
    return text.replace(secret, "*****") if len(secret) >= _LONG_SECRET else text


def problem(failed: BaseException, node: Node, ip: str, security: Tls | None = None) -> Problem:
    """Return what an exception of redis-py or of the network means; exit status 5."""
    chain: list[BaseException] = []
    cause: BaseException | None = failed
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    garbled = any(isinstance(error, InvalidResponse) for error in chain)
    return failures.lost(chain, node, ip, security, garbled=garbled)
