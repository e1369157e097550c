"""Logins within commands, nodes that are added, and keys of any bytes, against a server that repeats all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from clusterboot.topology import Credential
from clusterboot.wire.client import Fleet
from clusterboot.wire.replies import Login, Rejected
from tests.core.world import node, topology


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer AUTH with OK, ECHO with its argument and everything else with an error that repeats it."""
    while header := await reader.readline():
        words = []
        for _ in range(int(header[1:])):
            size = int((await reader.readline())[1:])
            words.append((await reader.readexactly(size + 2))[:-2])
        if words[0] == b"AUTH":
            writer.write(b"+OK\r\n")
        elif words[0] == b"ECHO":
            writer.write(b"$%d\r\n%s\r\n" % (len(words[1]), words[1]))
        else:
            writer.write(b"-ERR " + b" ".join(words) + b"\r\n")


def asked(credentials: dict[str, Credential], work: Callable[[Fleet, int], Awaitable[None]]) -> None:
    async def run() -> None:
        answering: list[asyncio.Task[None]] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            answering.append(asyncio.ensure_future(_answer(reader, writer)))
            await asyncio.wait(answering[-1:])
            writer.transport.abort()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        top = topology(node("a", host="127.0.0.1", port=port), node("b", host="127.0.0.1", port=port))
        fleet = Fleet(top, lambda each: credentials.get(each.name, (None, None)))
        try:
            await work(fleet, port)
        finally:
            await fleet.close()
            await asyncio.wait(answering)
            server.close()
            await server.wait_closed()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("credential", "sent"),
    [
        ((None, None), "ERR MIGRATE host KEYS key"),
        (("user", None), "ERR MIGRATE host KEYS key"),
        ((None, "abc"), "ERR MIGRATE host AUTH abc KEYS key"),
        (("user", "abc"), "ERR MIGRATE host AUTH2 user abc KEYS key"),
        (("user", "long password"), "ERR MIGRATE host AUTH2 user ***** KEYS key"),
    ],
)
def test_a_login_is_the_one_of_the_node_that_it_names(credential: Credential, sent: str) -> None:
    async def work(fleet: Fleet, port: int) -> None:
        replies = await fleet.ask("a", ("MIGRATE", "host", Login("b"), "KEYS", "key"), ("PING", "b"))
        assert replies == [sent, "ERR PING b"]
        assert all(isinstance(reply, Rejected) for reply in replies)

    asked({"b": credential}, work)


def test_both_passwords_of_an_exchange_are_hidden() -> None:
    async def work(fleet: Fleet, port: int) -> None:
        [reply] = await fleet.ask("a", ("MIGRATE", Login("b"), "secret"))
        assert reply == "ERR MIGRATE AUTH ***** *****"

    asked({"a": (None, "secret"), "b": (None, "secret-of-b")}, work)


def test_a_node_that_is_added_is_asked_like_the_others() -> None:
    async def work(fleet: Fleet, port: int) -> None:
        late = node("late", host="127.0.0.1", port=port)
        fleet.add(late)
        fleet.add(late)
        assert await fleet.ask("late", ("ECHO", "x")) == ["x"]
        assert fleet.ip("late") == "127.0.0.1"
        assert await fleet.ask("a", ("PING", Login("late"))) == ["ERR PING AUTH *****"]

    asked({"late": (None, "its-password")}, work)


@pytest.mark.parametrize("key", [b"plain", "ü€".encode(), b"\xff\xfe", bytes(range(256)), b"\xed\xa0\x80"])
def test_a_key_comes_back_byte_by_byte(key: bytes) -> None:
    async def work(fleet: Fleet, port: int) -> None:
        text = key.decode(errors="surrogateescape")
        [reply] = await fleet.ask("a", ("ECHO", text))
        assert isinstance(reply, str)
        assert reply.encode(errors="surrogateescape") == key

    asked({}, work)
