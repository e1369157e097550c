"""`status`: whether a cluster is Ready, and why not."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from clusterboot import render
from clusterboot.commands.connect import ConnectOptions, connected, passwords, security_warnings
from clusterboot.commands.shell import Shell
from clusterboot.commands.signals import run_async
from clusterboot.commands.streams import ignoring_closed_pipe, reader_gone
from clusterboot.errors import Exit, Interrupted, usage_error

if TYPE_CHECKING:
    from clusterboot.core.results import StatusResult

WATCH_INTERVAL = 1.0  # seconds between two looks of --watch


def status(shell: Shell, file: Path, options: ConnectOptions, *, watch: bool) -> Exit:
    """Report whether a cluster is Ready, and why not; with `watch`, repeatedly until Ctrl-C."""
    import asyncio

    from clusterboot.disk.topology_file import read
    from clusterboot.loop.status import status as look

    if watch and shell.json:
        raise usage_error("--watch shows text only.", "leave out --watch or -o json")
    if watch and shell.quiet:
        raise usage_error("--watch with --quiet shows nothing.", "leave out --watch or --quiet")
    topology = read(file)
    credentials = passwords(topology, options)

    async def once(seconds: float) -> StatusResult:
        async with connected(topology, credentials, seconds) as fleet:
            return await look(topology, fleet, seconds)

    async def looks() -> AsyncGenerator[StatusResult, None]:
        if options.timeout is not None:
            # A fleet has one deadline for all it does, so each look gets a fleet.
            while True:
                yield await once(options.timeout)
        async with connected(topology, credentials) as fleet:
            while True:
                yield await look(topology, fleet, options.seconds(topology))

    async def keep_looking() -> None:
        async with contextlib.aclosing(looks()) as results:
            with ignoring_closed_pipe(), render.live.watch(shell.console(), WATCH_INTERVAL) as show:
                async for result in results:
                    show(result)
                    await asyncio.sleep(WATCH_INTERVAL)
                    if reader_gone():
                        return

    if watch:
        try:
            run_async(keep_looking())
        except Interrupted as stopped:
            # Ctrl-C is the normal end.
            if stopped.exit is not Exit.SIGINT:
                raise
            return Exit.SIGINT
        return Exit.DONE
    result = run_async(once(options.seconds(topology)))
    result = replace(result, warnings=(*result.warnings, *security_warnings(topology, file)))
    shell.warn(result.warnings)
    shell.result(lambda: render.json.status(result), lambda console: render.text.status(console, result))
    return result.exit
