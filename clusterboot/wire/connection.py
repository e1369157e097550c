"""One connection to a node: redis-py connects, authenticates and packs commands; `resp` reads the replies.

redis-py leaves it to the subclasses of AbstractConnection how the stream is opened. What they override and
set for that (`_connect`, `_host_error`, `_reader`, `_writer`) is all that is private here. redis-py's own
parsers do not fit: they drop codes such as NOAUTH from error replies, close the connection on LOADING, and
believe every length that a server names.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ResponseError

from clusterboot.wire.replies import Command, Rejected, Reply
from clusterboot.wire.resp import ReplyReader


class Connection(AbstractConnection):
    """A connection that never retries and never waits for its end; `connect` opens it, with AUTH."""

    def __init__(
        self, ip: str, port: int, username: str | None, password: str | None, tls: dict[str, Any]
    ) -> None:
        """Take a numeric address, and for TLS the arguments of `asyncio.open_connection`."""
        super().__init__(
            # Without a user name the old form of AUTH is sent, which servers before 6 understand too.
            username=username if password else None,
            password=password,
            protocol=2,
            socket_timeout=None,
            socket_connect_timeout=None,
            encoding_errors="replace",
        )
        # No CLIENT SETINFO, which a node might refuse. redis-py 7 replaced the two by driver_info.
        self.driver_info = self.lib_name = self.lib_version = None
        self._target = {"host": ip, "port": port, **tls}
        self.accepted = False

    async def _connect(self) -> None:
        self._reader, self._writer = await asyncio.open_connection(**self._target)
        self._replies = ReplyReader(self._reader)
        self.accepted = True

    def _host_error(self) -> str:
        return f"{self._target['host']}:{self._target['port']}"

    def repr_pieces(self) -> list[tuple[str, Any]]:
        """Return what redis-py shows of a connection."""
        return [("host", self._target["host"]), ("port", self._target["port"])]

    async def send(self, commands: Iterable[Command]) -> None:
        """Send `commands` in one go; each brings one reply, to be read with `receive`."""
        self._replies.reset_bounds()
        await self.send_packed_command(self.pack_commands(commands), check_health=False)

    async def receive(self) -> Reply:
        """Return the next reply; errors as in `ReplyReader.read`."""
        return await self._replies.read()

    async def read_response(self, *_: Any, **__: Any) -> Any:
        """Return the next reply for redis-py, which reads the one to AUTH; an error reply is raised."""
        reply = await self.receive()
        if isinstance(reply, Rejected):
            raise ResponseError(reply)
        return reply

    def abort(self) -> None:
        """Close the connection at once, without waiting for a node that may be gone."""
        if self._writer is not None:
            self._writer.transport.abort()
            self._writer = self._reader = None

    async def disconnect(self, *_: Any, **__: Any) -> None:
        """Do as `abort`; redis-py calls this after errors, and would wait."""
        self.abort()
