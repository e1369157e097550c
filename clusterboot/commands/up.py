"""`up`: bring the nodes of a topology to Ready, after starting local servers where that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from clusterboot.addresses import is_loopback
from clusterboot.commands.connect import Reach, careless, connected, passwords, standby, usage
from clusterboot.commands.plan import Strategy, restyled
from clusterboot.commands.shell import Shell, run_async
from clusterboot.errors import ClusterbootError, Exit, Interrupted
from clusterboot.wording import count

if TYPE_CHECKING:
    from rich.console import Console

    from clusterboot.core.results import UpResult
    from clusterboot.errors import Problem
    from clusterboot.topology import Topology
    from clusterboot.wire.client import Credential


@dataclass(frozen=True)
class UpOptions:
    """The flags of `up`; None leaves the strategy to the file."""

    dry_run: bool = False
    strategy: Strategy | None = None
    mesh_only: bool = False
    boost: bool = True
    spawn: bool = False


@dataclass(frozen=True)
class _Started:
    """How many servers were started, and warnings about those that ran already."""

    servers: int = 0
    warnings: tuple[Problem, ...] = ()


_NOTHING = _Started()


def up(shell: Shell, file: Path, options: UpOptions, reach: Reach) -> Exit:
    """Bring the nodes of a topology to Ready."""
    from clusterboot.disk.topology_file import read

    if options.spawn and options.dry_run:
        raise usage(
            "--spawn starts servers and --dry-run changes nothing: they do not go together",
            "leave out one of them; 'clusterboot plan' needs no servers",
        )
    topology = restyled(read(file), options.strategy)
    credentials = passwords(topology, reach)
    started = _spawn(shell, topology, file, reach, credentials) if options.spawn else _NOTHING

    from clusterboot import bootstrap
    from clusterboot.render import github, json

    async def work() -> Callable[[], Exit]:
        # What is printed is printed after the screen is clear and the loop has ended.
        with github.reporter(shell.console(stderr=True), quiet=shell.quiet) as report:
            async with connected(topology, credentials, reach.left(topology)) as fleet:
                run = bootstrap.Run(
                    topology,
                    fleet,
                    report,
                    timeout=reach.deadline(topology),
                    helper=standby(topology, credentials, reach.deadline(topology)),
                    spent=reach.spent(),
                    mesh_only=options.mesh_only,
                    boost=options.boost,
                    dry_run=options.dry_run,
                )
                run.warn(careless(topology, file))
                run.warn(started.warnings)
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
        return lambda: _show(shell, replace(result, started=started.servers))

    return run_async(work())()


def _show(shell: Shell, result: UpResult) -> Exit:
    from clusterboot.render import github, json

    shell.summarise(lambda: github.summary(result))

    def text(console: Console) -> None:
        from clusterboot.render.text import up as draw

        draw(console, result)

    shell.result(lambda: json.up(result), text)
    return Exit.DONE


def _spawn(
    shell: Shell, topology: Topology, file: Path, reach: Reach, credentials: Mapping[str, Credential]
) -> _Started:
    """Start a local server for every loopback node that does not answer."""
    from clusterboot.local.clusters import spawn
    from clusterboot.local.wanted import stale_servers

    mine = [node for node in topology.nodes if is_loopback(node.host)]
    if not mine:
        message = "no node of this topology is on this machine (loopback): there is nothing to spawn"
        raise usage(message, "leave out --spawn and start the servers yourself")
    secrets = {name: secret for name, (_, secret) in credentials.items() if secret is not None}
    spawned = spawn(topology, mine, file=file, timeout=reach.left(topology), passwords=secrets)
    if spawned.started:
        shell.note(f"started {count(len(spawned.started), 'local server')}: {spawned.server}")
    return _Started(len(spawned.started), stale_servers(topology, file=file, passwords=secrets))
