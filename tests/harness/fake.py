"""A fake node that sends the bytes a test wants, on a socket of loopback.

    with Fake({("CLUSTER", "NODES"): b"$1000000000\r\n"}) as fake:
        clusterboot("status", file_with(fake.address))

What is not given is answered as a fresh lone node does. A value may be bytes, or a function that gets the
connection and writes to it itself.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import BinaryIO

Answer = bytes | Callable[[socket.socket], None]
ID = "1" * 40


def bulk(text: str | bytes) -> bytes:
    """Return a bulk reply."""
    data = text if isinstance(text, bytes) else text.encode(errors="surrogatepass")
    return b"$%d\r\n%s\r\n" % (len(data), data)


def array(*items: bytes) -> bytes:
    """Return an array of replies."""
    return b"*%d\r\n%s" % (len(items), b"".join(items))


def info(**fields: str) -> bytes:
    """Return a reply to INFO; `fields` are added to it or replace what is there."""
    known = {"redis_version": "7.0.15", "run_id": "2" * 40, "role": "master", **fields}
    return bulk("# Server\r\n" + "".join(f"{name}:{value}\r\n" for name, value in known.items()))


class Fake:
    """One node on a free port; `asked` are the commands that it got."""

    def __init__(self, answers: Mapping[tuple[str, ...], Answer]) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        line = f"{ID} :{self.port}@{self.port + 10000} myself,master - 0 0 0 connected\n"
        self._answers: dict[tuple[str, ...], Answer] = {
            ("INFO",): info(),
            ("INFO", "REPLICATION"): info(),
            ("CLUSTER", "INFO"): bulk("cluster_state:fail\r\ncluster_known_nodes:1\r\n"),
            ("CLUSTER", "NODES"): bulk(line),
            **answers,
        }
        self.asked: list[tuple[str, ...]] = []
        self._open: list[socket.socket] = []

    def __enter__(self) -> Fake:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        for each in (self._listener, *self._open):
            # close() does not wake the thread that waits at the socket.
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, connection.makefile("rb") as stream:
                while command := _command(stream):
                    self.asked.append(command)
                    answer = self._answer(command)
                    if callable(answer):
                        answer(connection)
                    else:
                        connection.sendall(answer)
        except (OSError, ValueError):
            pass  # hung up on, or closed by the test

    def _answer(self, command: tuple[str, ...]) -> Answer:
        upper = tuple(word.upper() for word in command[:2])
        for key in (upper, upper[:1]):
            if key in self._answers:
                return self._answers[key]
        return array() if upper[0] == "CONFIG" else b"+OK\r\n"


def _command(stream: BinaryIO) -> tuple[str, ...]:
    words = []
    head = stream.readline()
    for _ in range(int(head[1:] or b"0")):
        size = int(stream.readline()[1:])
        words.append(stream.read(size + 2)[:-2].decode(errors="replace"))
    return tuple(words)
