"""The commands: each reads its topology, does its work and hands a result to the shell for printing.

Everything heavy (redis-py, asyncio, rich, yaml) is imported where it is used, so that a command pays
only for what it needs.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from clusterboot.errors import ClusterbootError, Exit, Problem, UsageError
from clusterboot.shell import Shell, run_async, write

if TYPE_CHECKING:
    from rich.console import Console

    from clusterboot.client import Fleet
    from clusterboot.results import StatusResult, UpResult, Validated
    from clusterboot.topology import Topology


Work: TypeAlias = "Callable[[], Exit]"

# How long `down` waits for another clusterboot that is at work on the same spawned cluster.
_LOCK_SECONDS = 10.0


@dataclass(frozen=True)
class Reach:
    """How commands that talk to nodes do it: the deadline in seconds, and a password from the prompt."""

    timeout: float | None = None
    ask_pass: bool = False

    def deadline(self, topology: Topology) -> float:
        """Return the deadline: the one given, else a second per node and at least a minute."""
        return self.timeout if self.timeout is not None else max(60.0, len(topology.nodes))

    @cached_property
    def _began(self) -> float:
        return time.monotonic()

    def spent(self) -> float:
        """Return the seconds since this was first asked: the parts of one command share its deadline."""
        return time.monotonic() - self._began

    def left(self, topology: Topology) -> float:
        """Return how much of the deadline is left, and a moment at least."""
        return max(0.1, self.deadline(topology) - self.spent())


def validate(shell: Shell, file: Path) -> Exit:
    """Check a topology file and tell what it comes to."""
    from clusterboot.render import json

    result = _fresh(shell, file)

    def text(console: Console) -> None:
        from clusterboot.render.text import validated

        validated(console, result, str(file))

    shell.result(lambda: json.validated(result), text)
    return Exit.DONE


def plan(shell: Shell, file: Path, form: Literal["table", "json", "commands"]) -> Exit:
    """Print the plan for fresh nodes, without touching any."""
    from clusterboot.render import json

    if form == "json":
        shell = replace(shell, json=True)
    result = _fresh(shell, file)
    if form == "commands" and not shell.json:
        from clusterboot.render.commands import script

        write(script(result.topology, result.plan, str(file)))
        return Exit.DONE

    def text(console: Console) -> None:
        from clusterboot.render.plan_text import plan as draw

        draw(console, result)

    shell.result(lambda: json.validated(result, "plan"), text)
    return Exit.DONE


def _fresh(shell: Shell, file: Path) -> Validated:
    from clusterboot.files import read
    from clusterboot.placement import place
    from clusterboot.plan import plan as make_plan
    from clusterboot.results import Validated

    topology = read(file)
    placement = place(topology)
    shell.warn((*topology.warnings, *placement.warnings))
    return Validated(topology, placement, make_plan(topology, placement))


@dataclass(frozen=True)
class UpOptions:
    """The flags of `up`; None leaves the strategy to the file."""

    dry_run: bool = False
    strategy: Literal["star", "chain"] | None = None
    mesh_only: bool = False
    boost: bool = True
    spawn: bool = False


def up(shell: Shell, file: Path, options: UpOptions, reach: Reach) -> Exit:
    """Bring the nodes of a topology to Ready."""
    from clusterboot.files import read

    topology = read(file)
    if options.strategy is not None and options.strategy != topology.strategy:
        topology = replace(topology, strategy=options.strategy, hub=None)
    passwords = _password(reach)
    if options.spawn:
        _spawn(shell, topology, file, reach, passwords)

    from clusterboot import bootstrap
    from clusterboot.ledger import FileLedger
    from clusterboot.render import github, json

    async def work() -> Callable[[], Exit]:
        # What is printed is printed after the screen is clear and the loop has ended.
        with github.reporter(shell.console(stderr=True), quiet=shell.quiet) as report:
            async with _fleet(topology, passwords, reach.left(topology)) as fleet:
                run = bootstrap.Run(
                    topology,
                    fleet,
                    report,
                    FileLedger(topology),
                    timeout=reach.deadline(topology),
                    spent=reach.spent(),
                    mesh_only=options.mesh_only,
                    boost=options.boost,
                    dry_run=options.dry_run,
                )
                run.warn(_careless(topology, file))
                try:
                    result = await bootstrap.up(run)
                except ClusterbootError as failed:
                    if run.goal is None or not run.actor.done:
                        raise
                    # Part of it was done: the document tells which steps, beside why it ended.
                    problems = failed.problems
                    far = bootstrap.outcome(run)
                    shell.summarise(lambda: github.summary(far, problems))
                    document = json.up(far, problems, failed.exit)
                    return lambda: shell.fail("up", problems, document)
        return lambda: _show(shell, result)

    return run_async(work())()


def _show(shell: Shell, result: UpResult) -> Exit:
    from clusterboot.render import github, json

    shell.summarise(lambda: github.summary(result))

    def text(console: Console) -> None:
        from clusterboot.render.text import up as draw

        draw(console, result)

    shell.result(lambda: json.up(result), text)
    return Exit.DONE


def status(shell: Shell, file: Path, reach: Reach, *, watch: bool) -> Exit:
    """Tell whether a cluster is Ready, and why not; with `watch`, again and again until Ctrl-C."""
    import asyncio

    from clusterboot.errors import worst
    from clusterboot.files import read
    from clusterboot.render import json
    from clusterboot.status import status as look

    if watch and shell.json:
        raise _usage("--watch shows text only", "leave out --watch or -o json")
    topology = read(file)
    passwords = _password(reach)

    async def once() -> StatusResult:
        seconds = reach.left(topology)
        # A moment more than the nodes have: enough to find out why they are not Ready.
        async with _fleet(topology, passwords, seconds) as fleet, _bounded(seconds + 1.0):
            result = await look(topology, fleet)
        return replace(result, warnings=(*result.warnings, *_careless(topology, file)))

    async def again_and_again() -> None:
        from clusterboot.render.live import watch as screen

        async with _fleet(topology, passwords) as fleet:
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


def down(shell: Shell, file: Path, reach: Reach, *, reset: bool, yes: bool, flush: bool) -> Exit:
    """Stop what `--spawn` started; with `reset`, return live nodes to single, empty-handed ones.

    Where there is no such file, it may be the name of a spawned cluster, or one whose file is gone.
    """
    from clusterboot import local
    from clusterboot.files import read
    from clusterboot.render import json
    from clusterboot.results import DownResult

    if flush and not reset:
        raise _usage("--flush goes with --reset", "add --reset --yes to reset the nodes as well")
    if reset and not yes:
        raise _usage(
            "--reset takes every node of the topology out of its cluster for good",
            "add --yes if that is what you want",
        )
    result = DownResult()
    named = None
    if not reset and not file.exists():
        named = local.stop_named(str(file), wait=_LOCK_SECONDS)
    if named is not None:
        result = replace(result, stopped=named.stopped, gone=named.gone)
    else:
        topology = read(file)
        if reset:
            result = replace(result, reset=run_async(_reset(shell, topology, reach, flush=flush)))
        stopped = local.stop(topology, file=file, wait=min(_LOCK_SECONDS, reach.left(topology)))
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


async def _reset(shell: Shell, topology: Topology, reach: Reach, *, flush: bool) -> tuple[str, ...]:
    from clusterboot.ledger import FileLedger
    from clusterboot.render.live import reporter
    from clusterboot.reset import reset

    password = _password(reach)
    with reporter(shell.console(stderr=True), quiet=shell.quiet) as report:
        async with _fleet(topology, password, reach.left(topology)) as fleet:
            return await reset(
                topology, fleet, report, FileLedger(topology), flush=flush, timeout=reach.left(topology)
            )


def ls(shell: Shell) -> Exit:
    """List the spawned clusters, and which of their servers run."""
    from clusterboot import local
    from clusterboot.render import json
    from clusterboot.results import ClusterRow, LsResult, ServerRow

    found, problems = local.spawned()
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


@contextlib.asynccontextmanager
async def _fleet(
    topology: Topology, password: str | None, seconds: float | None = None
) -> AsyncIterator[Fleet]:
    import asyncio

    from clusterboot import credentials
    from clusterboot.client import Fleet

    found = credentials.load(topology, password)
    # Before the deadline of the whole, so that the end of it can still name who did not answer.
    deadline = asyncio.get_running_loop().time() + 0.9 * seconds if seconds is not None else None
    fleet = Fleet(topology, lambda node: found[node.name], deadline)
    try:
        yield fleet
    finally:
        await fleet.close()


@contextlib.asynccontextmanager
async def _bounded(seconds: float) -> AsyncIterator[None]:
    import asyncio

    from clusterboot.errors import OutOfTime

    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as over:
        raise OutOfTime(
            Problem(
                "out-of-time",
                f"not all nodes answered within {seconds:g} s.",
                hint="--timeout gives them longer",
                exit=Exit.NOT_READY,
            )
        ) from over


def _spawn(shell: Shell, topology: Topology, file: Path, reach: Reach, password: str | None) -> None:
    """Start a local server for every loopback node that does not answer."""
    from clusterboot import credentials, local

    found = credentials.load(topology, password)
    mine = [node for node in topology.nodes if local.is_loopback(node.host)]
    passwords = {name: secret for name, (_, secret) in found.items() if secret is not None}
    spawned = local.spawn(topology, mine, file=file, timeout=reach.left(topology), passwords=passwords)
    if spawned.started:
        count = len(spawned.started)
        shell.note(f"started {count} local server{'' if count == 1 else 's'}: {spawned.server}")


def _careless(topology: Topology, file: Path) -> tuple[Problem, ...]:
    from clusterboot import credentials

    found = credentials.warnings(topology, str(file))
    if topology.tls is not None and not topology.tls.verify:
        found += (
            Problem(
                "tls-unverified",
                "certificates are not checked (tls.verify: false): anybody on the way can read and change "
                "everything, passwords included.",
                hint="give tls.ca instead",
                exit=Exit.DONE,
            ),
        )
    return found


def _password(reach: Reach) -> str | None:
    if not reach.ask_pass:
        return None
    if not sys.stdin.isatty():
        raise _usage("--ask-pass needs a terminal", "use password_env or password_file in the topology")
    import getpass

    try:
        password = getpass.getpass("Password: ", stream=sys.stderr)
    except EOFError:
        password = ""
    if not password:
        raise _usage("no password was typed", "type it, or leave out --ask-pass")
    return password


def _usage(message: str, hint: str) -> UsageError:
    return UsageError(Problem("usage", f"{message}.", hint=hint, exit=Exit.USAGE))
