"""`down`: stop what `up --spawn` started; with --reset, make live nodes standalone and empty again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from clusterboot import render
from clusterboot.commands.connect import ConnectOptions, Deadline, connected, passwords, standby
from clusterboot.commands.shell import Shell
from clusterboot.commands.signals import run_async
from clusterboot.errors import Exit, usage_error

if TYPE_CHECKING:
    from clusterboot.topology import Credential, Topology

# Seconds to wait for another clusterboot that works on the same spawned cluster.
_LOCK_SECONDS = 10.0


def down(shell: Shell, file: Path, options: ConnectOptions, *, reset: bool, yes: bool, flush: bool) -> Exit:
    """Stop the servers spawned for `file` (or its former path, or a cluster's name); or reset live nodes."""
    from clusterboot.core.results import DownResult
    from clusterboot.disk.topology_file import read
    from clusterboot.local.clusters import Stopped, stop
    from clusterboot.local.spawned import key_named, key_of

    if flush and not reset:
        raise usage_error("--flush needs --reset.", "add --reset --yes to reset the nodes too")
    if yes and not reset:
        raise usage_error("--yes needs --reset.", "leave it out, or add --reset to reset the nodes too")
    if reset and not yes:
        raise usage_error(
            "--reset permanently removes every node of the topology from its cluster.",
            "add --yes if that is what you want",
        )
    reset_nodes: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    if not reset and _missing(file):
        stopped = stop(key_named(str(file)), wait=_LOCK_SECONDS)
        if stopped is None:
            message = f"{file} is neither a topology file nor the name of a spawned cluster."
            raise usage_error(message, "run 'clusterboot ls' to list the spawned clusters")
    else:
        topology = read(file)
        credentials = passwords(topology, options) if reset else {}
        deadline = Deadline(options.seconds(topology))
        if reset:
            reset_nodes = run_async(_reset(shell, topology, credentials, deadline, flush=flush))
        stopped = stop(key_of(file, topology.reached), wait=min(_LOCK_SECONDS, deadline.left()))
        if stopped is None and not reset:
            left = tuple(node.name for node in topology.nodes)
    stopped = stopped or Stopped((), ())
    result = DownResult(stopped.stopped, stopped.gone, reset_nodes, left)
    shell.result(lambda: render.json.down(result), lambda console: render.text.down(console, result))
    return Exit.DONE


def _missing(file: Path) -> bool:
    """Return whether there is no such file; other errors are left to the one that reads it."""
    try:
        file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        pass
    return False


async def _reset(
    shell: Shell,
    topology: Topology,
    credentials: Mapping[str, Credential],
    deadline: Deadline,
    *,
    flush: bool,
) -> tuple[str, ...]:
    from clusterboot.loop.reset import reset

    with render.live.reporter(shell.console(stderr=True), quiet=shell.quiet) as report:
        async with connected(topology, credentials, deadline.left()) as fleet:
            seconds = deadline.left()
            helper = standby(topology, credentials, seconds)
            return await reset(topology, fleet, report, helper, flush=flush, timeout=seconds)
