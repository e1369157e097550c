"""Host names to numeric addresses, and whether a port takes connections; always within a time limit.

Daemon threads look names up: getaddrinfo cannot be cancelled, and asyncio would join its threads on exit.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Literal

from clusterboot.errors import Exit, NodeFailed, Problem
from clusterboot.topology import Node, Topology


def is_numeric(host: str) -> bool:
    """Return whether `host` is an IP address."""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


async def resolve(host: str, port: int) -> tuple[str, ...]:
    """Return the addresses of `host` in the order of the resolver, each once.

    Raises OSError (socket.gaierror) when the name does not resolve. May be cancelled at any time.
    """
    if is_numeric(host):
        return (host,)
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[tuple[str, ...]] = loop.create_future()

    def look_up() -> None:
        try:
            infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            deliver = partial(answer.set_result, tuple(dict.fromkeys(str(info[4][0]) for info in infos)))
        except OSError as failed:
            deliver = partial(answer.set_exception, failed)
        except UnicodeError as failed:
            deliver = partial(answer.set_exception, socket.gaierror(str(failed)))
        with suppress(RuntimeError):  # the loop may be closed by now
            loop.call_soon_threadsafe(lambda: answer.done() or deliver())

    threading.Thread(target=look_up, name=f"resolve {host}", daemon=True).start()
    return await answer


async def resolve_announced(topology: Topology, until: float | None = None) -> Topology:
    """Return the topology with the names in `announce` resolved: CLUSTER MEET takes numeric addresses only.

    Raises NodeFailed with every name that does not resolve, or has not by `until` (in the loop's time).
    """

    async def resolved(node: Node) -> Node | Problem:
        if node.announce is None or is_numeric(node.announce.host):
            return node
        try:
            async with asyncio.timeout_at(until):
                ip = (await resolve(node.announce.host, node.port))[0]
            return replace(node, announce=replace(node.announce, host=ip))
        except TimeoutError:
            why = "has no answer from a name server"
        except OSError:
            why = "does not resolve"
        return Problem(
            "name-not-resolved",
            f"{node.name} cannot be met: the name {node.announce.host}, under which it is announced, {why}.",
            node=node.name,
            hint="check announce.host in the topology, and the name server of this machine",
            exit=Exit.NODE,
        )

    if all(node.announce is None for node in topology.nodes):
        return topology
    results = await asyncio.gather(*map(resolved, topology.nodes))
    if problems := [each for each in results if isinstance(each, Problem)]:
        raise NodeFailed(*problems)
    return replace(topology, nodes=tuple(each for each in results if isinstance(each, Node)))


async def probe(ip: str, port: int, seconds: float) -> Literal["open", "refused", "silent", "unreachable"]:
    """Return what a TCP connection to `ip` comes to within `seconds`; an open one is closed at once."""
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(ip, port)
        writer.transport.abort()
    except ConnectionRefusedError:
        return "refused"
    except TimeoutError:
        return "silent"
    except OSError:
        return "unreachable"
    return "open"
