"""`status`: whether a cluster is Ready, and why not."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from clusterboot.commands.connect import Reach, careless, connected, passwords, usage
from clusterboot.commands.shell import Shell, reader_gone, run_async, unread
from clusterboot.errors import Exit, Interrupted

if TYPE_CHECKING:
    from rich.console import Console

    from clusterboot.core.results import StatusResult

WATCH_INTERVAL = 1.0  # seconds between two looks of --watch


def status(shell: Shell, file: Path, reach: Reach, *, watch: bool) -> Exit:
    """Tell whether a cluster is Ready, and why not; with `watch`, again and again until Ctrl-C."""
    import asyncio

    from clusterboot.disk.topology_file import read
    from clusterboot.loop.status import status as look
    from clusterboot.render import json

    if watch and shell.json:
        raise usage("--watch shows text only", "leave out --watch or -o json")
    if watch and shell.quiet:
        raise usage("--watch does nothing but show", "leave out --watch or --quiet")
    topology = read(file)
    credentials = passwords(topology, reach)

    async def once(seconds: float) -> StatusResult:
        async with connected(topology, credentials, seconds) as fleet:
            return await look(topology, fleet, seconds)

    async def looks() -> AsyncGenerator[StatusResult, None]:
        if reach.timeout is not None:
            # The deadline of a fleet is one for all it does: each look gets one of its own.
            while True:
                yield await once(reach.timeout)
        async with connected(topology, credentials) as fleet:
            while True:
                yield await look(topology, fleet, reach.deadline(topology))

    async def again_and_again() -> None:
        from clusterboot.render.live import watch as screen

        async with contextlib.aclosing(looks()) as results:
            with unread(), screen(shell.console(), WATCH_INTERVAL) as show:
                async for result in results:
                    show(result)
                    await asyncio.sleep(WATCH_INTERVAL)
                    if reader_gone():
                        return

    if watch:
        try:
            run_async(again_and_again())
        except Interrupted as stopped:
            # Ctrl-C is the way out, and nothing was borrowed.
            if stopped.exit is not Exit.SIGINT:
                raise
            return Exit.SIGINT
        return Exit.DONE
    result = run_async(once(reach.left(topology)))
    result = replace(result, warnings=(*result.warnings, *careless(topology, file)))

    def text(console: Console) -> None:
        from clusterboot.render.text import status as draw

        draw(console, result)

    shell.warn(result.warnings)
    shell.result(lambda: json.status(result), text)
    return result.exit
