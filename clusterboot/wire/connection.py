"""One connection to a node: redis-py connects and authenticates; `ReplyReader` reads replies.

A subclass of AbstractConnection opens the stream: `_connect`, `_host_error`, `_reader` and `_writer` are all
that is private here. redis-py's parsers do not fit: they drop codes such as NOAUTH from error replies, close
the connection on LOADING, and trust every length.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ResponseError

from clusterboot.wire.replies import Command, Rejected, Reply

# For all replies to one request: CLUSTER LINKS of 2,000 nodes is 1 MB of 52,000 elements.
MAX_BYTES = 8 * 2**20
MAX_ELEMENTS = 60_000
MAX_DEPTH = 8
# Bytes that are no UTF-8 become lone surrogates, and are sent as the same bytes again: keys are binary.
# Where they are shown they are escaped (render/safe, render/json).
BYTES_KEPT = "surrogateescape"


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
            encoding_errors=BYTES_KEPT,
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
        await self.send_packed_command(b"".join(map(_packed, commands)), check_health=False)

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


class ReplyReader:
    """Reads the RESP2 replies of one connection. It trusts no node: size, elements and depth are bounded."""

    def __init__(self, stream: asyncio.StreamReader) -> None:
        self._stream = stream
        self.reset_bounds()

    def reset_bounds(self) -> None:
        """Allow the replies to another request."""
        self._bytes, self._elements = MAX_BYTES, MAX_ELEMENTS

    async def read(self, depth: int = 1) -> Reply:
        """Return the next reply; error replies are `Rejected` values.

        The text of a bulk reply has all its bytes (`BYTES_KEPT`), so that it can be sent back.

        Raises ValueError when it is not RESP2 or exceeds a bound, ConnectionResetError when the stream ends.
        """
        if depth > MAX_DEPTH:
            raise ValueError("a reply that is nested too deeply")
        line = await self._line()
        kind, content = line[:1], line[1:]
        if kind == b"+":
            return _text(content)
        if kind == b"-":
            return Rejected(_text(content))
        if kind == b":":
            return int(content)
        if kind not in (b"$", b"*"):
            raise ValueError("not a reply in RESP2")
        length = int(content)
        if length == -1:
            return None
        if length < 0:
            raise ValueError(f"a reply of length {length}")
        if kind == b"$":
            self._count_bytes(length)
            return (await self._exactly(length + 2))[:-2].decode(errors=BYTES_KEPT)
        self._elements -= length
        if self._elements < 0:
            raise ValueError(f"more than {MAX_ELEMENTS} elements")
        return [await self.read(depth + 1) for _ in range(length)]

    async def _line(self) -> bytes:
        line = await self._stream.readline()  # ValueError past the limit of the stream, 64 KiB
        if not line.endswith(b"\r\n"):
            raise ConnectionResetError("the stream ended within a reply")
        self._count_bytes(len(line))
        return line[:-2]

    async def _exactly(self, length: int) -> bytes:
        try:
            return await self._stream.readexactly(length)
        except asyncio.IncompleteReadError as ended:
            raise ConnectionResetError("the stream ended within a reply") from ended

    def _count_bytes(self, length: int) -> None:
        self._bytes -= length
        if self._bytes < 0:
            raise ValueError(f"more than {MAX_BYTES} bytes")


def _packed(command: Command) -> bytes:
    """Return a command as RESP; redis-py's own packing takes three times as long, and moves send many."""
    words = [word.encode(errors=BYTES_KEPT) for word in command]
    return b"*%d\r\n%b" % (len(words), b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words))


def _text(data: bytes) -> str:
    return data.decode(errors="replace")
