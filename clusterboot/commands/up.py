"""`up`: bring the nodes of a topology to Ready, after starting local servers where that is asked for."""

from __future__ import annotations

from collections.abc import Mapping
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
    from clusterboot.render import github

    warnings = (*careless(topology, file), *started.warnings)

    async def form() -> UpResult:
        with github.reporter(shell.console(stderr=True), quiet=shell.quiet) as report:
            async with connected(topology, credentials, reach.left(topology)) as fleet:
                asked = bootstrap.Request(
                    topology,
                    fleet,
                    report,
                    timeout=reach.deadline(topology),
                    helper=standby(topology, credentials, reach.deadline(topology)),
                    spent=reach.spent(),
                    mesh_only=options.mesh_only,
                    boost=options.boost,
                    dry_run=options.dry_run,
                    warnings=warnings,
                )
                return await bootstrap.up(asked)

    # Nothing is printed before the screen is clear and the event loop has ended.
    try:
        result = run_async(form())
    except Interrupted:
        raise
    except ClusterbootError as failed:
        return _fail(shell, failed)
    return _show(shell, replace(result, started=started.servers))


def _fail(shell: Shell, failed: ClusterbootError) -> Exit:
    """Print why a run failed, and in JSON and the job summary also what it had done before."""
    from clusterboot.core.results import UpResult
    from clusterboot.render import github, json

    problems, partial = failed.problems, failed.outcome
    if not isinstance(partial, UpResult):
        return shell.fail("up", problems, json.failure("up", problems, failed.warnings, failed.exit))
    shell.summarise(lambda: github.summary(partial, problems))
    return shell.fail("up", problems, json.up(partial, problems, failed.exit))


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
    from clusterboot import local

    mine = [node for node in topology.nodes if is_loopback(node.host)]
    if not mine:
        message = "no node of this topology is on this machine (loopback): there is nothing to spawn"
        raise usage(message, "leave out --spawn and start the servers yourself")
    secrets = {name: secret for name, (_, secret) in credentials.items() if secret is not None}
    spawned = local.spawn(topology, mine, file=file, timeout=reach.left(topology), passwords=secrets)
    if spawned.started:
        shell.note(f"started {count(len(spawned.started), 'local server')}: {spawned.server}")
    return _Started(len(spawned.started), local.changed(topology, file=file, passwords=secrets))
