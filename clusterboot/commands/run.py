"""The command `run`: a throwaway cluster around one command of the user's."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from clusterboot.commands.shell import Shell, check_interrupted, run_async
from clusterboot.errors import SIGNALS, ClusterbootError, Exit, Interrupted, Problem, UsageError
from clusterboot.throwaway import child, shape

if TYPE_CHECKING:
    from clusterboot.core.results import UpResult
    from clusterboot.throwaway.cluster import Throwaway
    from clusterboot.topology import Topology


@dataclass(frozen=True)
class RunOptions:
    """What `run` was told; numbers are None where they were not, `timeout` is in seconds."""

    command: Sequence[str]
    topology: Path | None = None
    primaries: int | None = None
    replicas: int | None = None
    server: str | None = None
    settings: Sequence[str] = ()
    info: Path | None = None
    keep_logs: Path | None = None
    timeout: float | None = None


def run(shell: Shell, options: RunOptions) -> int:
    """Run the user's command within a throwaway cluster and return the exit status of `run`.

    That is the command's own (128 + n where signal n killed it); 126 and 127 where it cannot be run, 130
    or 143 where a signal came before it began, 125 where clusterboot itself failed.
    """
    ended: list[int] = []
    # Asked before anybody here catches signals for himself.
    ignore = child.ignored()

    def work() -> Exit:
        try:
            ended.append(_run(options, ignore))
        except Interrupted as stopped:
            first = stopped.problems[0]
            message = f"stopped by {first.exit.name} before the command began; the servers are gone."
            raise Interrupted(replace(first, message=message, hint=None)) from stopped
        except child.NotStarted as failed:
            ended.append(failed.status)
            shell.fail("run", failed.problems)
        return Exit.DONE

    if shell.json:
        shell.json = False
        refused = _usage("`run` has no JSON output: stdout is the command's.", "--info FILE writes JSON")
        shell.fail("run", refused.problems)
        return child.FAILED
    failed = shell.guard("run", work)
    if ended:
        return ended[0]
    return failed if failed in SIGNALS else child.FAILED


def _run(options: RunOptions, ignore: frozenset[signal.Signals]) -> int:
    if not options.command:
        raise no_command()
    child.find(options.command[0])
    topology = _topology(options)
    settings = shape.settings(topology, options.settings)

    from clusterboot.local.binary import find_server
    from clusterboot.throwaway.cluster import Throwaway

    server = find_server(options.server or topology.servers.command)
    with Throwaway(topology, server, settings, command=True) as cluster:
        status = child.FAILED
        try:
            result = _form(cluster, options.timeout or max(60.0, len(topology.nodes)))
            if options.info is not None:
                _write(options.info, result, cluster.url)
            env = {**os.environ, **cluster.environment}
            check_interrupted()
            status = child.execute(options.command, env, cluster.keeper, ignore)
        finally:
            if status != 0 and options.keep_logs is not None:
                _keep_logs(cluster, options.keep_logs)
        return status


def _topology(options: RunOptions) -> Topology:
    if options.topology is None:
        primaries = 3 if options.primaries is None else options.primaries
        return shape.plain(primaries, 1 if options.replicas is None else options.replicas)
    if options.primaries is not None or options.replicas is not None:
        raise _usage("the topology says how many nodes there are.", "leave out --primaries and --replicas")
    from clusterboot.disk.topology_file import read

    return read(options.topology)


def _form(cluster: Throwaway, timeout: float) -> UpResult:
    """Form the cluster; on one that is gone then, nobody is told to run `up` again."""
    try:
        cluster.wait(timeout)
        return run_async(cluster.form(timeout))
    except ClusterbootError as failed:
        first, *rest = failed.problems
        if first.code == "out-of-time":
            first = replace(first, hint="--timeout gives it longer")
        raise type(failed)(first, *rest) from failed


def _keep_logs(cluster: Throwaway, folder: Path) -> None:
    """Keep the logs; where that fails the user is told, and what ended the run stays what it was."""
    try:
        cluster.keep_logs(folder)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        print(f"clusterboot: the logs cannot be kept in {folder}: {reason}", file=sys.stderr)
    else:
        print(f"clusterboot: the logs of the servers are in {folder}", file=sys.stderr)


def _write(file: Path, result: UpResult, url: str) -> None:
    """Write where the cluster is, whole or not at all: somebody may be waiting for the file."""
    from clusterboot.render import json

    document = {"schema": json.SCHEMA, "url": url, "nodes": json.nodes(result.nodes, result.topology)}
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        temporary.write_text(json.dumps(document) + "\n")
        temporary.replace(file)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        reason = (error.strerror or str(error)).lower()
        raise _usage(f"--info {file} cannot be written: {reason}.", "name another file") from error


def no_command() -> UsageError:
    """Return what is said where nothing stands behind two dashes."""
    return _usage("there is no command to run.", "write it behind two dashes: clusterboot run -- pytest -q")


def _usage(message: str, hint: str) -> UsageError:
    return UsageError(Problem("usage", message, hint=hint, exit=Exit.USAGE))
