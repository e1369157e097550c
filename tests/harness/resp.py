"""A RESP2 client over plain sockets, so that tests do not depend on clusterboot's own client."""

from __future__ import annotations

import socket
from typing import Any, BinaryIO


class Error(str):
    """An error reply, as text: `Error('ERR Unknown node x')`."""

    __slots__ = ()


def packed(*command: object) -> bytes:
    """Return a command as it is sent."""
    parts = [part if isinstance(part, bytes) else str(part).encode() for part in command]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


class Connection:
    """One blocking connection. `send` and `read` are separate so that many nodes can be asked at once.

    With `raw` the data in replies is bytes.
    """

    def __init__(
        self, address: str, *, timeout: float = 5.0, password: str | None = None, raw: bool = False
    ) -> None:
        self._raw = raw
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host.strip("[]"), int(port)), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream: BinaryIO = self.socket.makefile("rb")
        if password is not None:
            self.send("AUTH", password)
            reply = self.read()
            if reply != "OK":
                self.close()
                raise ConnectionError(f"{address} answers AUTH with {reply!r}")

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self.stream.close()
        self.socket.close()

    def send(self, *command: object) -> None:
        self.socket.sendall(packed(*command))

    def read(self) -> Any:
        """Return the next reply: str, int, None, list, or `Error` (never raised)."""
        line = self.stream.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server closed the connection")
        kind, rest = line[:1], line[1:-2].decode()
        match kind:
            case b"+":
                return rest
            case b"-":
                return Error(rest)
            case b":":
                return int(rest)
            case b"$":
                return None if rest == "-1" else self._bulk(int(rest))
            case b"*":
                return None if rest == "-1" else [self.read() for _ in range(int(rest))]
        raise ConnectionError(f"not a RESP2 reply: {line!r}")

    def _bulk(self, size: int) -> str | bytes:
        data = self.stream.read(size + 2)
        if len(data) != size + 2:
            raise ConnectionError("the server closed the connection")
        return data[:-2] if self._raw else data[:-2].decode(errors="replace")

    def call(self, *command: object) -> Any:
        """Send one command and return its reply."""
        self.send(*command)
        return self.read()


def call(address: str, *command: object, timeout: float = 5.0, password: str | None = None) -> Any:
    """Send one command on a connection of its own and return the reply; `Error` is returned, not raised."""
    with Connection(address, timeout=timeout, password=password) as connection:
        return connection.call(*command)
