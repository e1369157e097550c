"""A TCP connection that is closed at once: the server sees no more than a caller who hangs up."""

from __future__ import annotations

import asyncio
from typing import Literal


async def probe(host: str, port: int, seconds: float) -> Literal["open", "refused", "silent", "unreachable"]:
    """Return what a connection to a numeric address comes to within `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(host, port)
        writer.transport.abort()
    except ConnectionRefusedError:
        return "refused"
    except TimeoutError:
        return "silent"
    except OSError:
        return "unreachable"
    return "open"
