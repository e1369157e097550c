"""`down` and `ls`: what was spawned, and returning live nodes to single ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from clusterboot.commands.connect import Reach, connected, passwords, standby, usage
from clusterboot.commands.shell import Shell, run_async
from clusterboot.errors import Exit

if TYPE_CHECKING:
    from rich.console import Console

    from clusterboot.topology import Topology

# How long `down` waits for another clusterboot that is at work on the same spawned cluster.
_LOCK_SECONDS = 10.0


def down(shell: Shell, file: Path, reach: Reach, *, reset: bool, yes: bool, flush: bool) -> Exit:
    """Stop what `--spawn` started; with `reset`, return live nodes to single, empty-handed ones.

    Where there is no such file, it may be the name of a spawned cluster, or one whose file is gone.
    """
    from clusterboot.core.results import DownResult
    from clusterboot.disk.topology_file import read
    from clusterboot.local.clusters import stop, stop_named
    from clusterboot.render import json

    if flush and not reset:
        raise usage("--flush goes with --reset", "add --reset --yes to reset the nodes as well")
    if yes and not reset:
        raise usage("--yes goes with --reset", "leave it out, or add --reset to reset the nodes as well")
    if reset and not yes:
        raise usage(
            "--reset takes every node of the topology out of its cluster for good",
            "add --yes if that is what you want",
        )
    result = DownResult()
    named = None
    if not reset and _missing(file):
        named = stop_named(str(file), wait=_LOCK_SECONDS)
        if named is None:
            message = f"{file} is neither a topology file nor the name of a spawned cluster"
            raise usage(message, "'clusterboot ls' shows what was spawned")
    if named is not None:
        result = replace(result, stopped=named.stopped, gone=named.gone)
    else:
        topology = read(file)
        if reset:
            result = replace(result, reset=run_async(_reset(shell, topology, reach, flush=flush)))
        stopped = stop(topology, file=file, wait=min(_LOCK_SECONDS, reach.left(topology)))
        if stopped is not None:
            result = replace(result, stopped=stopped.stopped, gone=stopped.gone)
        elif not reset:
            result = replace(result, left=tuple(node.name for node in topology.nodes))

    def text(console: Console) -> None:
        from clusterboot.render.text import down as draw

        draw(console, result)

    shell.warn(result.warnings)
    shell.result(lambda: json.down(result), text)
    return Exit.DONE


def _missing(file: Path) -> bool:
    """Whether there is no such file; one that may not be looked at is left to whoever reads it."""
    try:
        file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
    return False


async def _reset(shell: Shell, topology: Topology, reach: Reach, *, flush: bool) -> tuple[str, ...]:
    from clusterboot.loop.reset import reset
    from clusterboot.render.live import reporter

    credentials = passwords(topology, reach)
    with reporter(shell.console(stderr=True), quiet=shell.quiet) as report:
        async with connected(topology, credentials, reach.left(topology)) as fleet:
            seconds = reach.left(topology)
            helper = standby(topology, credentials, seconds)
            return await reset(topology, fleet, report, helper, flush=flush, timeout=seconds)


def ls(shell: Shell) -> Exit:
    """List the spawned clusters, and which of their servers run."""
    from clusterboot.core.results import ClusterRow, LsResult, ServerRow
    from clusterboot.local.spawned import spawned_clusters
    from clusterboot.render import json

    found, problems = spawned_clusters()
    result = LsResult(
        tuple(
            ClusterRow(
                cluster.name,
                str(cluster.file),
                next((node.version for node in cluster.nodes), None),
                tuple(
                    ServerRow(node.address, node.process.pid if node.process else None, node.running)
                    for node in cluster.nodes
                ),
            )
            for cluster in found
        ),
        warnings=tuple(problems),
    )

    def text(console: Console) -> None:
        from clusterboot.render.text import ls as draw

        draw(console, result)

    shell.warn(result.warnings)
    shell.result(lambda: json.ls(result), text)
    return Exit.DONE
