"""Every error of redis-py and of the network becomes a problem of the node."""

from __future__ import annotations

import asyncio
import inspect
import socket
import ssl
import threading
from collections.abc import Callable

import pytest
import redis.exceptions
from redis.exceptions import RedisError

from clusterboot.addresses import BUS_OFFSET
from clusterboot.errors import Exit, NodeFailed
from clusterboot.topology import Retire, Tls
from clusterboot.wire.client import Fleet
from clusterboot.wire.failures import explain
from tests.core.world import node, topology
from tests.harness.servers import Servers

FOREIGN: list[type[Exception]] = [
    *(
        found
        for _, found in inspect.getmembers(redis.exceptions, inspect.isclass)
        if issubclass(found, RedisError)
    ),
    *(
        OSError,
        ConnectionRefusedError,
        ConnectionResetError,
        BrokenPipeError,
        TimeoutError,
        asyncio.TimeoutError,
    ),
    *(socket.gaierror, ssl.SSLError, ssl.SSLCertVerificationError, UnicodeDecodeError, ValueError),
]


def raised(kind: type[Exception]) -> Exception:
    """Return an instance of `kind`, whatever arguments its constructor takes."""
    for arguments in (("gone",), (1, "gone"), ("utf-8", b"x", 0, 1, "gone"), ("7000 10.0.0.2:7002",)):
        try:
            error = kind(*arguments)
        except (TypeError, ValueError, AttributeError):
            continue
        if isinstance(error, ssl.SSLError):  # as the ssl module itself fills it in
            error.reason = "CERTIFICATE_VERIFY_FAILED"
        if isinstance(error, ssl.SSLCertVerificationError):
            error.verify_code, error.verify_message = 18, "self-signed certificate"
        return error
    raise AssertionError(f"no way to make a {kind}")


@pytest.mark.parametrize("kind", FOREIGN, ids=lambda kind: kind.__name__)
def test_every_error_of_redis_py_and_of_the_network_is_a_problem_of_the_node(kind: type[Exception]) -> None:
    found = explain(raised(kind), node("a"), "10.0.0.1", None)
    assert found.exit is Exit.NODE
    assert found.node == "a"
    assert found.message.startswith("a ")
    assert found.message.endswith(".")
    assert found.hint


def test_an_error_is_known_by_its_cause_too() -> None:
    error = redis.exceptions.ConnectionError("Error 111 connecting to 10.0.0.1:7001.")
    error.__cause__ = ConnectionRefusedError(111, "Connection refused")
    assert explain(error, node("a"), "10.0.0.1", None).message == (
        "a cannot be reached: nothing listens at 10.0.0.1:7001."
    )


def test_a_chain_of_causes_that_bites_its_tail_comes_to_an_end() -> None:
    one, other = redis.exceptions.ConnectionError("one"), OSError("other")
    one.__context__, other.__context__ = other, one
    assert explain(one, node("a"), "10.0.0.1", None).exit is Exit.NODE


def test_a_port_where_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: the port stays free and refuses
        top = topology(node("a", host="127.0.0.1", port=taken.getsockname()[1]))

        async def ask() -> None:
            fleet = Fleet(top, lambda _: (None, None))
            await fleet.ask("a", ("PING",))

        with pytest.raises(NodeFailed) as caught:
            asyncio.run(ask())
    assert caught.value.problems[0].code == "connection-refused"
    assert caught.value.exit is Exit.NODE


@pytest.mark.parametrize(
    ("stays", "answers", "message", "hint"),
    [
        (
            False,
            0,
            "closed the connection, and nothing listens there any more.",
            "look at its log, and start it again: it died or was stopped",
        ),
        (
            True,
            0,
            "closed the connection.",
            "look at its log and check the port: bus ports close connections, and so do TLS ports without "
            "'tls' in the topology",
        ),
        # A node that has answered before has the right port.
        (True, 1, "closed the connection.", "look at its log"),
    ],
)
def test_a_node_that_hangs_up(stays: bool, answers: int, message: str, hint: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def serve() -> None:
            caller, _ = listener.accept()
            with caller:
                for _ in range(answers):
                    caller.recv(1000)
                    caller.sendall(b"+PONG\r\n")
                caller.recv(1000)
                if not stays:
                    listener.close()

        async def ask() -> None:
            fleet = Fleet(topology(node("a", host="127.0.0.1", port=port)), lambda _: (None, None))
            for _ in range(answers + 1):
                await fleet.ask("a", ("PING",))

        server = threading.Thread(target=serve, daemon=True)
        server.start()
        with pytest.raises(NodeFailed) as caught:
            asyncio.run(ask())
        server.join(10)
    (found,) = caught.value.problems
    assert (found.code, found.message, found.hint) == (
        "connection-lost",
        f"a at 127.0.0.1:{port} {message}",
        hint,
    )


@pytest.mark.parametrize("tls", [None, Tls(verify=False)], ids=["plain", "tls"])
def test_a_bus_port_closes_the_connection_and_the_hint_says_so(
    tls: Tls | None, server_kind: str, servers: Callable[..., Servers]
) -> None:
    port = servers(server_kind, 1).ports[0] + BUS_OFFSET

    async def ask() -> None:
        fleet = Fleet(topology(node("a", host="127.0.0.1", port=port), tls=tls), lambda _: (None, None))
        await fleet.ask("a", ("INFO",), ("CLUSTER", "INFO"))

    with pytest.raises(NodeFailed) as caught:
        asyncio.run(ask())
    (found,) = caught.value.problems
    assert found.code == "connection-lost"
    assert "bus ports close connections" in (found.hint or "")


def test_members_that_leave_have_connections_too() -> None:
    leaving = Retire("b", None, node("b", host="127.0.0.1", port=1))
    fleet = Fleet(topology("a", retire=(leaving, Retire("c", "c" * 40))), lambda node: (None, None))
    with pytest.raises(NodeFailed, match="b cannot be reached: nothing listens"):
        asyncio.run(fleet.ask("b", ("PING",)))
    with pytest.raises(KeyError):
        fleet.ip("c")
