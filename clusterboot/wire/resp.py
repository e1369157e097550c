"""Read replies in RESP2. A node is not trusted: size, number of elements and depth are bounded."""

from __future__ import annotations

import asyncio

from clusterboot.wire.replies import Rejected, Reply

# For all replies to one request: CLUSTER LINKS of 2,000 nodes is 1 MB of 52,000 elements.
MAX_BYTES = 8 * 2**20
MAX_ELEMENTS = 60_000
MAX_DEPTH = 8


class ReplyReader:
    """Reads the replies of one connection; error replies are `Rejected` values."""

    def __init__(self, stream: asyncio.StreamReader) -> None:
        self._stream = stream
        self.reset_bounds()

    def reset_bounds(self) -> None:
        """Allow the replies to another request."""
        self._bytes, self._elements = MAX_BYTES, MAX_ELEMENTS

    async def read(self, depth: int = 1) -> Reply:
        """Return the next reply.

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
            return _text((await self._exactly(length + 2))[:-2])
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


def _text(data: bytes) -> str:
    return data.decode(errors="replace")
