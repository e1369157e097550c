"""Any bytes from a node become replies or a `NodeFailed`, in bounded memory."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterboot.errors import NodeFailed
from clusterboot.topology import load
from clusterboot.wire.client import Fleet
from clusterboot.wire.replies import Rejected, Reply

NODE = load("version: 1\nnodes: ['192.0.2.1:6379']\n", "t.yaml")
NAME = "192.0.2.1:6379"
MIB = 2**20

bounded = settings(max_examples=300, derandomize=True, database=None, deadline=None)
long = settings(max_examples=20_000, database=None, deadline=None)


class _Writer:
    """A writer that drops the commands."""

    def __init__(self) -> None:
        self.transport = self

    def abort(self) -> None: ...

    def close(self) -> None: ...

    def writelines(self, lines: object) -> None: ...

    async def drain(self) -> None: ...


async def unreachable(*_: object) -> str:
    return "unreachable"


# One event loop for all tests: making one takes longer than a test.
_loop: list[asyncio.Runner] = []


@pytest.fixture(scope="module", autouse=True)
def _one_loop() -> Iterator[None]:
    with asyncio.Runner() as runner:
        _loop.append(runner)
        yield
        _loop.clear()


def answered(data: bytes, commands: int = 2, secret: str | None = None) -> list[Reply] | str:
    """Let a node answer `commands` with `data` and hang up; the replies, or the code of the problem."""

    async def connect(**_: object) -> tuple[asyncio.StreamReader, _Writer]:
        stream = asyncio.StreamReader()
        stream.feed_data(b"+OK\r\n" + data if secret else data)
        stream.feed_eof()
        return stream, _Writer()

    async def ask() -> list[Reply] | str:
        fleet = Fleet(NODE, lambda node: (None, secret))
        try:
            return await fleet.ask(NAME, *[("CLUSTER", "NODES")] * commands)
        except NodeFailed as failed:
            (problem,) = failed.problems
            assert problem.node == NAME
            return problem.code
        finally:
            await fleet.close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio, "open_connection", connect)
        patch.setattr("clusterboot.wire.client.probe", unreachable)
        return _loop[0].run(ask())


LINES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [b"", b"OK", b"0", b"1", b"-1", b"-2", b"1_0", b"+5", b" 3", b"9" * 18, b"9" * 5000, b"\xff", b"x"]
    ),
)
FRAMES = st.builds(
    lambda kind, line, end: kind + line + end,
    st.sampled_from(
        [b"+", b"-", b":", b"$", b"*", b"%", b"~", b"_", b"(", b"!", b"=", b">", b"|", b"#", b""]
    ),
    LINES,
    st.sampled_from([b"\r\n", b"\n", b"\r", b""]),
)
VALID = st.recursive(
    st.one_of(
        st.binary(max_size=30).map(lambda data: b"$%d\r\n%s\r\n" % (len(data), data)),
        st.integers(-(10**6), 10**6).map(lambda number: b":%d\r\n" % number),
        st.sampled_from([b"$-1\r\n", b"*-1\r\n", b"*0\r\n", b"+OK\r\n", b"-ERR no\r\n"]),
    ),
    lambda inner: st.lists(inner, max_size=4).map(lambda some: b"*%d\r\n%s" % (len(some), b"".join(some))),
    max_leaves=20,
)
STREAMS = st.lists(st.one_of(FRAMES, VALID, st.binary(max_size=20)), max_size=12).map(b"".join)


@bounded
@given(STREAMS)
def test_any_bytes_are_replies_or_a_problem_of_the_node(data: bytes) -> None:
    answered(data)


@pytest.mark.soak
@long
@given(STREAMS)
def test_any_bytes_for_longer(data: bytes) -> None:
    answered(data)


@bounded
@given(st.lists(VALID, min_size=2, max_size=2))
def test_what_a_server_sends_is_understood(replies: list[bytes]) -> None:
    found = answered(b"".join(replies))
    assert isinstance(found, list)
    assert len(found) == 2
    for reply, sent in zip(found, replies, strict=True):
        assert isinstance(reply, Rejected) == sent.startswith(b"-")


@pytest.mark.parametrize(
    "data",
    [
        b"$9000000\r\n",
        b"$99999999999999999999\r\n",
        b"*300000\r\n",
        b"*2147483647\r\n" + b"$-1\r\n" * 60_001,
        b"*2\r\n" * 100_000,
        b"*1\r\n" * 9 + b"+OK\r\n",
        b"*20000\r\n" + b"*3\r\n:1\r\n:2\r\n:3\r\n" * 20_000,
        b"+" + b"x" * 100_000,
        b"-" + b"x" * 10 * MIB,
        b"$" + b"9" * 100_000 + b"\r\n",
        b"$-5\r\n",
        b"*-7\r\n",
        b":1e9\r\n:\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
    ],
    ids=lambda data: repr(data[:14]),
)
def test_what_no_server_sends_is_told_as_such_and_takes_little_memory(data: bytes) -> None:
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        found = answered(data)
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert found in ("not-redis", "connection-lost"), found
    # The stream holds `data` itself, and once more while a line is looked for.
    assert peak < 8 * MIB + 3 * len(data)


def test_many_replies_of_one_request_share_one_bound() -> None:
    reply = b"$5000000\r\n" + b"x" * 5_000_000 + b"\r\n"
    assert isinstance(answered(reply, commands=1), list)
    assert answered(reply * 2) == "not-redis"


def test_an_error_that_repeats_the_password_is_shown_without_it() -> None:
    reply = b"-ERR unknown command 'AUTH', with args beginning with: 'hunter22'\r\n"
    assert answered(reply, 1, secret="hunter22") == [
        "ERR unknown command 'AUTH', with args beginning with: '*****'"
    ]
