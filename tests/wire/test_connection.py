"""What `Connection` takes from redis-py. Another version of redis-py that differs there fails here first."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from typing import Any

import pytest
import redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError, ResponseError

from clusterboot.wire.connection import Connection
from clusterboot.wire.replies import Rejected
from tests.harness.fake import Fake, bulk


def connection(port: int, username: str | None = "u", password: str | None = "secret") -> Connection:
    return Connection("127.0.0.1", port, username, password, {})


def test_redis_py_has_the_version_that_is_tested() -> None:
    """`make redis-py` runs these tests with the oldest version that pyproject.toml allows."""
    major, minor = map(int, redis.__version__.split(".")[:2])
    assert (6, 2) <= (major, minor) < (9, 0)
    assert redis.__version__.startswith(os.environ.get("CLUSTERBOOT_REDIS_PY", ""))


def test_redis_py_leaves_to_subclasses_what_connection_overrides() -> None:
    """These private names are all that is used; what they are for has to be read again if this fails."""
    for name in ("_connect", "_host_error", "repr_pieces"):
        assert getattr(vars(AbstractConnection)[name], "__isabstractmethod__", False), name
    assert {"_reader", "_writer"} <= set(AbstractConnection.__slots__)
    for name in ("connect", "disconnect", "read_response", "send_packed_command", "pack_commands"):
        assert callable(vars(AbstractConnection)[name]), name
    assert isinstance(vars(AbstractConnection)["is_connected"], property)


@pytest.mark.parametrize(
    ("username", "password", "sent"),
    [
        ("u", "secret", [("AUTH", "u", "secret")]),
        (None, "secret", [("AUTH", "secret")]),
        ("u", None, []),
        (None, None, []),
    ],
)
def test_nothing_but_auth_is_sent_before_the_first_command(
    username: str | None, password: str | None, sent: list[tuple[str, ...]]
) -> None:
    async def use(made: Connection) -> None:
        await made.connect()  # type: ignore[no-untyped-call]
        assert made.is_connected
        await made.send([("GET", "a b"), ("SET", "é", "")])
        assert [await made.receive(), await made.receive()] == ["ä", Rejected("LOADING really")]
        made.abort()
        assert not made.is_connected

    with Fake({("GET",): bulk("ä"), ("SET",): b"-LOADING really\r\n"}) as fake:
        asyncio.run(use(connection(fake.port, username, password)))
        assert fake.asked == [*sent, ("GET", "a b"), ("SET", "é", "")]


def _hang_up(client: socket.socket) -> None:
    client.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        (b"-NOAUTH with its code\r\n", ResponseError, "NOAUTH with its code"),
        (b"-LOADING with its code\r\n", ResponseError, "LOADING with its code"),
        (b"-ERR wrong number of arguments for 'auth' command\r\n", ResponseError, "ERR wrong number"),
        (b"HTTP/1.1 400\r\n", ValueError, ""),
        (_hang_up, OSError, ""),
    ],
)
def test_a_failed_auth_is_raised_as_it_came_and_never_tried_again(
    answer: bytes | Callable[[socket.socket], None], error: type[Exception], text: str
) -> None:
    async def use(made: Connection) -> None:
        try:
            with pytest.raises((error, RedisError)) as caught:
                await made.connect()  # type: ignore[no-untyped-call]
            assert str(caught.value).startswith(text)
            assert made.accepted
        finally:
            made.abort()

    with Fake({("AUTH",): answer}) as fake:
        asyncio.run(use(connection(fake.port)))
        assert fake.asked == [("AUTH", "u", "secret")]


class _Stuck:
    """The writer of a connection whose other end never reads: its end would be waited for without limit."""

    def __init__(self) -> None:
        self.transport = self
        self.aborted = False

    def abort(self) -> None:
        self.aborted = True

    def writelines(self, data: object) -> None: ...

    async def drain(self) -> None: ...

    def close(self) -> None:
        raise AssertionError("close() leaves unsent data to be sent")

    wait_closed = drain


@pytest.mark.parametrize("reply", [b"-WRONGPASS no\r\n", b"?", b""])
def test_redis_py_does_not_wait_for_the_end_of_a_connection_after_an_error(
    reply: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = _Stuck()

    async def opened(**_: Any) -> tuple[asyncio.StreamReader, _Stuck]:
        stream = asyncio.StreamReader()
        stream.feed_data(reply)
        stream.feed_eof()
        return stream, writer

    async def use() -> None:
        made = connection(1)
        with pytest.raises((RedisError, OSError)):
            await made.connect()  # type: ignore[no-untyped-call]
        await made.disconnect()
        assert not made.is_connected

    monkeypatch.setattr(asyncio, "open_connection", opened)
    asyncio.run(use())
    assert writer.aborted


def test_a_connection_is_shown_without_its_password() -> None:
    assert "secret" not in repr(connection(7001))
    assert "port=7001" in repr(connection(7001))
