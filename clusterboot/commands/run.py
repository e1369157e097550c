"""`run`: a throwaway cluster for one command."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from clusterboot import render
from clusterboot.commands.shell import Shell
from clusterboot.commands.signals import check_interrupted, run_async
from clusterboot.errors import ClusterbootError, Interrupted, UsageError, usage_error
from clusterboot.throwaway import child, shape

if TYPE_CHECKING:
    from clusterboot.core.results import UpResult
    from clusterboot.throwaway.cluster import Throwaway
    from clusterboot.topology import Topology


@dataclass(frozen=True)
class RunOptions:
    """The arguments of `run`; those not given are None or empty, `timeout` is in seconds."""

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
    """Run a command in a throwaway cluster and return the exit status of `run`.

    This is the command's own status, or 128 + n if signal n killed it; 126 or 127 if it cannot be executed or
    found; 128 + n if signal n came before it began; 125 if clusterboot itself failed.
    """
    if shell.json:
        shell.json = False
        refused = usage_error("'run' has no JSON output: stdout is the command's.", "use --info FILE")
        shell.fail("run", refused.problems)
        return child.FAILED
    # Before clusterboot sets its handlers.
    ignored = child.ignored_signals()
    return shell.guard("run", lambda: _run(shell, options, ignored), failed=child.FAILED)


def _run(shell: Shell, options: RunOptions, ignored: frozenset[signal.Signals]) -> int:
    try:
        return _run_in_cluster(options, ignored)
    except child.NotStarted as failed:
        shell.fail("run", failed.problems)
        return failed.status
    except Interrupted as stopped:
        first = stopped.problems[0]
        message = f"stopped by {first.exit.name} before the command began; all servers are stopped."
        raise Interrupted(replace(first, message=message, hint=None)) from stopped


def _run_in_cluster(options: RunOptions, ignored: frozenset[signal.Signals]) -> int:
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
                _write_info(options.info, result, cluster.url)
            env = {**os.environ, **cluster.environment}
            check_interrupted()
            status = child.execute(options.command, env, cluster.keeper, ignored)
        finally:
            if status != 0 and options.keep_logs is not None:
                _keep_logs(cluster, options.keep_logs)
        return status


def _topology(options: RunOptions) -> Topology:
    if options.topology is None:
        primaries = 3 if options.primaries is None else options.primaries
        return shape.plain(primaries, 1 if options.replicas is None else options.replicas)
    if options.primaries is not None or options.replicas is not None:
        raise usage_error(
            "the topology file determines the number of nodes.", "leave out --primaries and --replicas"
        )
    from clusterboot.disk.topology_file import read

    return read(options.topology)


def _form(cluster: Throwaway, timeout: float) -> UpResult:
    """Form the cluster; replace a hint to run `up` again, because its servers are stopped by then."""
    try:
        cluster.wait(timeout)
        return run_async(cluster.form(timeout))
    except ClusterbootError as failed:
        first, *rest = failed.problems
        if first.code == "out-of-time":
            first = replace(first, hint="give it more time with --timeout")
        raise type(failed)(first, *rest) from failed


def _keep_logs(cluster: Throwaway, folder: Path) -> None:
    """Keep the logs; if that fails, print why and let the run end as it would."""
    try:
        cluster.keep_logs(folder)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        print(f"clusterboot: the logs cannot be written to {folder}: {reason}", file=sys.stderr)
    else:
        print(f"clusterboot: the logs of the servers are in {folder}", file=sys.stderr)


def _write_info(file: Path, result: UpResult, url: str) -> None:
    """Write the addresses of the cluster in one step, because another program may wait for the file."""
    document = {
        "schema": render.json.SCHEMA,
        "url": url,
        "nodes": render.json.nodes(result.nodes, result.topology),
    }
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        temporary.write_text(render.json.dumps(document) + "\n")
        temporary.replace(file)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        reason = (error.strerror or str(error)).lower()
        raise usage_error(f"--info {file} cannot be written: {reason}.", "name another file") from error


def no_command() -> UsageError:
    """Return the error for a `run` without a command after the two dashes."""
    return usage_error(
        "there is no command to run.", "write it after two dashes: clusterboot run -- pytest -q"
    )
