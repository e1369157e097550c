"""`status`: whether a cluster is Ready, and why not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from clusterboot.commands.reaching import Reach, ask, bounded, careless, connected, usage
from clusterboot.errors import Exit
from clusterboot.shell import Shell, run_async

if TYPE_CHECKING:
    from rich.console import Console

    from clusterboot.results import StatusResult


def status(shell: Shell, file: Path, reach: Reach, *, watch: bool) -> Exit:
    """Tell whether a cluster is Ready, and why not; with `watch`, again and again until Ctrl-C."""
    import asyncio

    from clusterboot.errors import worst
    from clusterboot.files import read
    from clusterboot.render import json
    from clusterboot.status import status as look

    if watch and shell.json:
        raise usage("--watch shows text only", "leave out --watch or -o json")
    topology = read(file)
    passwords = ask(reach)

    async def once() -> StatusResult:
        seconds = reach.left(topology)
        # A moment more than the nodes have: enough to find out why they are not Ready.
        async with connected(topology, passwords, seconds) as fleet, bounded(seconds + 1.0):
            result = await look(topology, fleet)
        return replace(result, warnings=(*result.warnings, *careless(topology, file)))

    async def again_and_again() -> None:
        from clusterboot.render.live import watch as screen

        async with connected(topology, passwords) as fleet:
            with screen(shell.console()) as show:
                while True:
                    show(await look(topology, fleet))
                    await asyncio.sleep(1.0)

    if watch:
        run_async(again_and_again())
    result = run_async(once())

    def text(console: Console) -> None:
        from clusterboot.render.text import status as draw

        draw(console, result)

    shell.warn(result.warnings)
    shell.result(lambda: json.status(result), text)
    if result.verdict.ready:
        return Exit.DONE
    return worst((Exit.NOT_READY, *(reason.exit for reason in result.verdict.reasons)))
