"""The connections to all nodes of a topology: connect, send commands, explain failures.

Nothing is sent twice: the loop looks at the nodes first, and then decides.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import ExitStack, asynccontextmanager
from typing import Any

from redis.exceptions import RedisError, ResponseError

from clusterboot.errors import NodeFailed, Problem
from clusterboot.topology import Credential, Node, Topology
from clusterboot.wire import failures, tls
from clusterboot.wire.connection import Connection
from clusterboot.wire.replies import Command, Login, Rejected, Reply, explain
from clusterboot.wire.resolve import probe, resolve

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 5.0
_PROBE_SECONDS = 0.3
# Shorter passwords are not hidden in error replies: they would be found within other words.
_MIN_HIDDEN_LENGTH = 4
# Open files besides the connections: streams, event loop, records, probes of bus ports, name servers.
_OTHER_FILES = 100


class _Link:
    """The connection to one node; never used by two tasks at once."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.lock = asyncio.Lock()
        self.connection: Connection | None = None
        self.ip = ""
        self.secret = ""
        self.answered = False

    def drop(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.abort()


class Fleet:
    """All nodes of a topology, with one connection each, which is kept."""

    def __init__(
        self, topology: Topology, credential: Callable[[Node], Credential], deadline: float | None = None
    ) -> None:
        """Take the topology and a function that returns a node's user name and password.

        Nodes that have not answered yet get time until `deadline` (loop time), so that they are named at the
        end of a run shorter than CONNECT_SECONDS. Raises UsageError when a file under `tls` cannot be used,
        NodeFailed when the limit on open files is too low.
        """
        allow_open_files(len(topology.reached))
        self._tls = topology.tls
        # One for all connections: reading the certificates takes longer than a handshake.
        self._context = None if topology.tls is None else tls.context(topology.tls)
        self._credential = credential
        self._deadline = deadline
        self._links = {node.name: _Link(node) for node in topology.reached}

    def add(self, node: Node) -> None:
        """Let `node`, which is not in the topology, be asked as well; `credential` is called with it too.

        Nothing happens if its name is known. Raises NodeFailed when the limit on open files is too low.
        """
        if node.name not in self._links:
            allow_open_files(len(self._links) + 1)
            self._links[node.name] = _Link(node)

    def ip(self, name: str) -> str:
        """Return the numeric address at which the node answered; empty before that."""
        return self._links[name].ip

    async def ask(self, name: str, *commands: Command, timeout: float = ANSWER_SECONDS) -> list[Reply]:
        """Send `commands` to a node in one pipeline and return one reply for each; `timeout` in seconds.

        Connects first if there is no connection, which may take CONNECT_SECONDS more. A `Login` in a command
        becomes AUTH with the credentials of the node that it names. Error replies are `Rejected` values.
        Raises NodeFailed when the node cannot be reached, does not accept the credentials or does not answer
        in time; the next `ask` then connects again.
        """
        link = self._links[name]
        async with link.lock, self._dropped_on_failure(link):
            if link.connection is None:
                await self._connect(link)
            timeout = self._within(timeout, link)
            filled, secrets = self._with_logins(commands)
            try:
                async with asyncio.timeout(timeout):
                    replies = await _exchange(link, filled, (link.secret, *secrets))
            except TimeoutError as slow:
                raise NodeFailed(failures.silent(link.node, timeout)) from slow
            link.answered = True
            return replies

    async def close(self) -> None:
        """Drop every connection; never waits and never raises."""
        for link in self._links.values():
            link.drop()

    @asynccontextmanager
    async def _dropped_on_failure(self, link: _Link) -> AsyncIterator[None]:
        """Drop the connection when anything fails; raise NodeFailed for failures of redis-py and network."""
        with ExitStack() as failed:
            failed.callback(link.drop)
            try:
                yield
            except (RedisError, OSError, ValueError) as error:
                raise NodeFailed(await self._explain(error, link)) from error
            failed.pop_all()

    async def _connect(self, link: _Link) -> None:
        """Try the addresses of the node's host in turn, within CONNECT_SECONDS for all of them.

        The address that answered last comes first: a name may stand for several servers by now.
        """
        node, clock = link.node, asyncio.get_running_loop().time
        username, password = self._credential(node)
        link.secret = password or ""
        try:
            async with asyncio.timeout(self._within(CONNECT_SECONDS, link)):
                addresses = await resolve(node.host, node.port)
        except TimeoutError as slow:
            raise NodeFailed(failures.unresolved(node)) from slow
        seconds = self._within(CONNECT_SECONDS, link)
        end = clock() + seconds
        addresses = tuple(sorted(addresses, key=lambda ip: not (link.answered and ip == link.ip)))
        problems: dict[str, Problem] = {}
        for index, ip in enumerate(addresses):
            link.ip = ip
            share = (end - clock()) / (len(addresses) - index)
            connection = Connection(ip, node.port, username, password, self._tls_arguments(node, share))
            try:
                async with self._dropped_on_failure(link):
                    link.connection = connection
                    await _open(connection, link, share, seconds)
                return
            except NodeFailed as failed:
                problems[ip] = failed.problems[0]
        raise NodeFailed(failures.of_all(node, problems))

    def _with_logins(self, commands: tuple[Command, ...]) -> tuple[tuple[Command, ...], set[str]]:
        """Return the commands with every `Login` filled in, and the passwords that they have now."""
        secrets: set[str] = set()

        def filled(command: Command) -> Command:
            words: list[str] = []
            for word in command:
                if not isinstance(word, Login):
                    words.append(word)
                    continue
                username, password = self._credential(self._links[word].node)
                if password:
                    secrets.add(password)
                    words += ["AUTH2", username, password] if username else ["AUTH", password]
            return tuple(words)

        return tuple(
            filled(command) if Login in map(type, command) else command for command in commands
        ), secrets

    def _tls_arguments(self, node: Node, seconds: float) -> dict[str, Any]:
        if self._context is None or self._tls is None:
            return {}
        return {
            "ssl": self._context,
            # The connection goes to a numeric address; the certificate is checked against the name.
            "server_hostname": self._tls.server_name or node.host,
            # Shorter than `seconds`: a server without TLS accepts the connection and never answers.
            "ssl_handshake_timeout": max(0.05, seconds) * 0.8,
        }

    async def _explain(self, error: Exception, link: _Link) -> Problem:
        problem = failures.explain(error, link.node, link.ip, self._tls)
        if problem.code != "connection-lost":
            return problem
        if await probe(link.ip, link.node.port, _PROBE_SECONDS) == "refused":
            return failures.died(link.node, link.ip)
        if self._tls and not link.answered and link.connection and link.connection.accepted:
            # A TLS 1.3 server checks the client's certificate after the client has completed the handshake.
            return tls.hung_up(link.node, self._tls)
        return failures.hung_up(link.node, link.ip, answered=link.answered)

    def _within(self, seconds: float, link: _Link) -> float:
        if link.answered or self._deadline is None:
            return seconds
        return max(0.05, min(seconds, self._deadline - asyncio.get_running_loop().time()))


async def _open(connection: Connection, link: _Link, share: float, seconds: float) -> None:
    """Connect within `share` seconds; a failure names `seconds`, the time for all addresses."""
    node = link.node
    try:
        async with asyncio.timeout(share):
            await connection.connect()  # type: ignore[no-untyped-call]  # redis-py has no type here
    except TimeoutError as slow:
        # The kernel accepts connections for a stopped process too.
        if connection.accepted:
            raise NodeFailed(failures.silent(node, seconds)) from slow
        raise NodeFailed(failures.unreachable(node, link.ip, seconds)) from slow
    except ResponseError as refused:
        # Without its cause: a server without AUTH repeats the password in its error reply.
        text = _hide((link.secret,), str(refused))
        raise NodeFailed(explain(text, node.name, ("AUTH",))) from None


async def _exchange(link: _Link, commands: tuple[Command, ...], secrets: tuple[str, ...]) -> list[Reply]:
    assert link.connection is not None
    await link.connection.send(commands)
    replies: list[Reply] = []
    for _ in commands:
        try:
            reply = await link.connection.receive()
        except (OSError, ValueError) as lost:
            if replies and isinstance(replies[0], Rejected):
                # The server gave the reason and hung up: too many clients, or protected mode.
                raise NodeFailed(explain(replies[0], link.node.name, commands[0])) from lost
            raise
        replies.append(Rejected(_hide(secrets, reply)) if isinstance(reply, Rejected) else reply)
    return replies


def _hide(secrets: Iterable[str], text: str) -> str:
    # The longest first: a shorter one may be part of it.
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _MIN_HIDDEN_LENGTH:
            text = text.replace(secret, "*****")
    return text


def allow_open_files(connections: int) -> None:
    """Raise the soft limit on open files as far as needed; NodeFailed if the hard limit is too low."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + _OTHER_FILES
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    except (ValueError, OSError) as refused:
        raise NodeFailed.of(
            "too-few-open-files",
            f"{connections} nodes need {needed} open files at once, and this process may have no more "
            f"than {soft if hard == resource.RLIM_INFINITY else hard}.",
            hint=f"raise the limit first, with 'ulimit -n {needed}' or LimitNOFILE= of a service",
        ) from refused
