"""Host names to numeric addresses, without ever waiting longer than the caller does.

getaddrinfo cannot be cancelled, and asyncio joins its worker threads on exit, so one name server that
does not answer would hold up the end of the program. Names are therefore looked up in daemon threads
of our own, which nobody waits for.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from contextlib import suppress


def numeric(host: str) -> bool:
    """Return whether `host` is an IP address already."""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


async def resolve(host: str, port: int) -> tuple[str, ...]:
    """Return every address of `host` in the order of the resolver, without doubles.

    Raises OSError (socket.gaierror) when the name does not resolve. May be cancelled at any time.
    """
    if numeric(host):
        return (host,)
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[tuple[str, ...]] = loop.create_future()

    def deliver(found: tuple[str, ...] | None, error: OSError | None) -> None:
        if answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        elif found is not None:
            answer.set_result(found)

    def work() -> None:
        found, error = None, None
        try:
            infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found = tuple(dict.fromkeys(str(info[4][0]) for info in infos))
        except (OSError, UnicodeError) as failed:
            error = failed if isinstance(failed, OSError) else socket.gaierror(str(failed))
        with suppress(RuntimeError):  # the loop may be closed by now
            loop.call_soon_threadsafe(deliver, found, error)

    threading.Thread(target=work, name=f"resolve {host}", daemon=True).start()
    return await answer
