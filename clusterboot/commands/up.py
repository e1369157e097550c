"""`up`: bring the nodes of a topology to Ready; with --spawn, start local servers first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from clusterboot.addresses import is_loopback
from clusterboot.commands.connect import (
    ConnectOptions,
    Deadline,
    connected,
    passwords,
    security_warnings,
    standby,
)
from clusterboot.commands.plan import Strategy, with_strategy
from clusterboot.commands.shell import Shell
from clusterboot.commands.signals import run_async
from clusterboot.errors import ClusterbootError, Exit, Interrupted, usage_error
from clusterboot.wording import count

if TYPE_CHECKING:
    from rich.console import Console

    from clusterboot.core.results import UpResult
    from clusterboot.errors import Problem
    from clusterboot.topology import Topology
    from clusterboot.wire.client import Credential


@dataclass(frozen=True)
class UpOptions:
    """The flags of `up`; a strategy of None is that of the file."""

    dry_run: bool = False
    strategy: Strategy | None = None
    mesh_only: bool = False
    boost: bool = True
    spawn: bool = False


def up(shell: Shell, file: Path, options: UpOptions, connect: ConnectOptions) -> Exit:
    """Bring the nodes of a topology to Ready."""
    from clusterboot.disk.topology_file import read

    if options.spawn and options.dry_run:
        raise usage_error(
            "--spawn starts servers and --dry-run changes nothing: they contradict each other.",
            "leave out one of them; 'clusterboot plan' needs no servers",
        )
    topology = with_strategy(read(file), options.strategy)
    credentials = passwords(topology, connect)
    deadline = Deadline(connect.seconds(topology))
    started, stale = _spawn(shell, topology, file, deadline, credentials) if options.spawn else (0, ())

    from clusterboot import bootstrap
    from clusterboot.render import github, json

    async def work() -> Callable[[], Exit]:
        # What is printed is printed after the screen is clear and the loop has ended.
        with github.reporter(shell.console(stderr=True), quiet=shell.quiet) as report:
            async with connected(topology, credentials, deadline.left()) as fleet:
                run = bootstrap.Run(
                    topology,
                    fleet,
                    report,
                    timeout=deadline.seconds,
                    helper=standby(topology, credentials, deadline.seconds),
                    spent=deadline.spent(),
                    mesh_only=options.mesh_only,
                    boost=options.boost,
                    dry_run=options.dry_run,
                )
                run.warn(security_warnings(topology, file))
                run.warn(stale)
                try:
                    result = await bootstrap.up(run)
                except Interrupted:
                    raise
                except ClusterbootError as failed:
                    problems = failed.problems
                    if run.goal is None or not run.actor.done:
                        failure = json.failure("up", problems, tuple(run.warned), failed.exit)
                        return lambda: shell.fail("up", problems, failure)
                    # Part of it was done: the document tells which steps, beside why it ended.
                    far = bootstrap.outcome(run)
                    shell.summarise(lambda: github.summary(far, problems))
                    document = json.up(far, problems, failed.exit)
                    return lambda: shell.fail("up", problems, document)
        return lambda: _show(shell, replace(result, started=started))

    try:
        return run_async(work())()
    except Interrupted as stopped:
        if not started:
            raise
        first, *rest = stopped.problems
        hint = f"{first.hint}; 'clusterboot down {file}' stops the local servers, which still run"
        raise Interrupted(replace(first, hint=hint), *rest) from stopped


def _show(shell: Shell, result: UpResult) -> Exit:
    from clusterboot.render import github, json

    shell.summarise(lambda: github.summary(result))

    def text(console: Console) -> None:
        from clusterboot.render.text import up as draw

        draw(console, result)

    shell.result(lambda: json.up(result), text)
    return Exit.DONE


def _spawn(
    shell: Shell, topology: Topology, file: Path, deadline: Deadline, credentials: Mapping[str, Credential]
) -> tuple[int, tuple[Problem, ...]]:
    """Start a server for each loopback node without one; return how many, and warnings about running ones."""
    from clusterboot.local.clusters import spawn
    from clusterboot.local.wanted import stale_servers

    local = [node for node in topology.nodes if is_loopback(node.host)]
    if not local:
        message = "no node of this topology has a loopback address: there is nothing to spawn."
        raise usage_error(message, "leave out --spawn and start the servers yourself")
    secrets = {name: secret for name, (_, secret) in credentials.items() if secret is not None}
    spawned = spawn(topology, local, file=file, timeout=deadline.left(), passwords=secrets)
    if spawned.started:
        shell.note(f"started {count(len(spawned.started), 'local server')}: {spawned.server}")
    return len(spawned.started), stale_servers(topology, file=file, passwords=secrets)
