"""`up`: bring the nodes of a topology to Ready; with --spawn, start local servers first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from clusterboot import render
from clusterboot.addresses import is_loopback
from clusterboot.commands.connect import (
    ConnectOptions,
    Deadline,
    connected,
    passwords,
    security_warnings,
    standby,
)
from clusterboot.commands.plan import with_strategy
from clusterboot.commands.shell import Shell
from clusterboot.commands.signals import run_async
from clusterboot.errors import ClusterbootError, Exit, Interrupted, usage_error
from clusterboot.wording import count

if TYPE_CHECKING:
    from clusterboot.core.results import UpResult
    from clusterboot.errors import Problem
    from clusterboot.topology import Credential, Strategy, Topology


@dataclass(frozen=True)
class UpOptions:
    """The flags of `up`; a strategy of None is that of the file."""

    dry_run: bool = False
    strategy: Strategy | None = None
    mesh_only: bool = False
    boost: bool = True
    spawn: bool = False
    rebalance: bool = False


def up(shell: Shell, file: Path, options: UpOptions, connect: ConnectOptions) -> Exit:
    """Bring the nodes of a topology to Ready."""
    from clusterboot.disk.topology_file import read

    if options.spawn and options.dry_run:
        raise usage_error(
            "--spawn starts servers and --dry-run changes nothing: they contradict each other.",
            "leave out one of them; 'clusterboot plan' needs no servers",
        )
    if options.rebalance and options.mesh_only:
        raise usage_error(
            "--rebalance moves slots and --meet-only only joins the nodes: they contradict each other.",
            "leave out one of them",
        )
    topology = with_strategy(read(file), options.strategy)
    if options.rebalance and topology.slots == "none":
        raise usage_error(
            "--rebalance moves slots, and this topology has 'slots: none'.",
            "leave out --rebalance, or remove 'slots: none' from the topology",
        )
    credentials = passwords(topology, connect)
    # While slots move, the default bounds only the time without progress.
    bounded = connect.timeout is not None or not options.rebalance
    deadline = Deadline(connect.seconds(topology))
    started, stale = _spawn(shell, topology, file, deadline, credentials) if options.spawn else (0, ())

    from clusterboot import bootstrap

    warnings = (*security_warnings(topology, file), *stale)

    async def form() -> UpResult:
        with render.github.reporter(shell.console(stderr=True), quiet=shell.quiet) as report:
            async with connected(topology, credentials, deadline.left() if bounded else None) as fleet:
                asked = bootstrap.Request(
                    topology,
                    fleet,
                    report,
                    timeout=deadline.seconds,
                    bounded=bounded,
                    helper=standby(topology, credentials, deadline.seconds, bounded=bounded),
                    spent=deadline.spent(),
                    mesh_only=options.mesh_only,
                    boost=options.boost,
                    dry_run=options.dry_run,
                    rebalance=options.rebalance,
                    warnings=warnings,
                )
                return await bootstrap.up(asked)

    # Nothing is printed before the screen is clear and the event loop has ended.
    try:
        result = run_async(form())
    except Interrupted as stopped:
        if started:
            first, *rest = stopped.problems
            hint = f"{first.hint}; 'clusterboot down {file}' stops the local servers, which still run"
            stopped.problems = (replace(first, hint=hint), *rest)
        if stopped.outcome is None:
            raise
        return _fail(shell, stopped)
    except ClusterbootError as failed:
        return _fail(shell, failed)
    result = replace(result, started=started)
    shell.summarise(lambda: render.github.summary(result))
    shell.result(lambda: render.json.up(result), lambda console: render.text.up(console, result))
    return Exit.DONE


def _fail(shell: Shell, failed: ClusterbootError) -> Exit:
    """Print why a run failed, and in JSON and the job summary also what it had done before."""
    from clusterboot.core.results import UpResult

    problems, partial = failed.problems, failed.outcome
    if not isinstance(partial, UpResult):
        return shell.fail("up", problems, render.json.failure("up", problems, failed.warnings, failed.exit))
    shell.summarise(lambda: render.github.summary(partial, problems))
    if not shell.json:
        for line in render.text.moved(partial):
            shell.note(line)
    return shell.fail("up", problems, render.json.up(partial, problems, failed.exit))


def _spawn(
    shell: Shell, topology: Topology, file: Path, deadline: Deadline, credentials: Mapping[str, Credential]
) -> tuple[int, tuple[Problem, ...]]:
    """Start a server for each loopback node without one; return how many, and warnings about running ones."""
    from clusterboot.local.clusters import spawn
    from clusterboot.local.wanted import stale_servers

    if not any(is_loopback(node.host) for node in topology.nodes):
        message = "no node of this topology has a loopback address: there is nothing to spawn."
        raise usage_error(message, "leave out --spawn and start the servers yourself")
    secrets = {name: secret for name, (_, secret) in credentials.items() if secret is not None}
    spawned = spawn(topology, file=file, timeout=deadline.left(), passwords=secrets)
    if spawned.started:
        shell.note(f"started {count(len(spawned.started), 'local server')}: {spawned.server}")
    return len(spawned.started), stale_servers(topology, file=file, passwords=secrets)
