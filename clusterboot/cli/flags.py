"""The app: the global options, and the flags of each command. Commands import what they need as they run."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer
from typer.core import TyperCommand

from clusterboot import __version__, commands
from clusterboot.commands import ConnectOptions, UpOptions
from clusterboot.commands.shell import Shell, leave

app = typer.Typer(
    name="clusterboot",
    help="Join running Redis or Valkey nodes into a cluster: declarative, safe to repeat, never hanging.",
    epilog="Global options can be given before or after the command.",
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
shell = Shell()
_GLOBAL = "Global options, before or after the command: {}-q/--quiet, --no-color, --debug."


def _topology(text: str) -> Any:
    return typer.Argument(metavar="TOPOLOGY", help=text, show_default=False)


def _seconds(limit: str, *, more: str = "") -> Any:
    text = f"{limit} Default: one second per node, at least 60{more}."
    return typer.Option("--timeout", metavar="SECONDS", min=0.1, help=text, show_default=False)


def _option(name: str, text: str, metavar: str | None = None) -> Any:
    return typer.Option(name, metavar=metavar, help=text, show_default=False)


File = Annotated[Path, _topology("The topology file (YAML).")]
FileOrName = Annotated[
    Path, _topology("The topology file (YAML), or the name of a spawned cluster as 'ls' shows it.")
]
Strategy = Annotated[
    Literal["star", "chain"] | None, _option("--strategy", "How the nodes meet; overrides the file.")
]
Timeout = Annotated[float | None, _seconds("Time limit for the run.")]
UpTimeout = Annotated[
    float | None,
    _seconds("Time limit for the run.", more="; with --rebalance only while nothing moves"),
]
LookTimeout = Annotated[float | None, _seconds("Time limit for the run; with --watch, for each look.")]
FormingTimeout = Annotated[float | None, _seconds("Time limit for forming the cluster.")]
AskPass = Annotated[
    bool, _option("--ask-pass", "Prompt for the password of nodes without one in the topology.")
]


class _Command(TyperCommand):
    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        # typer puts braces around a required argument.
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]


_command = partial(app.command, cls=_Command, epilog=_GLOBAL.format("-o/--output text|json, "))


def _version(wanted: bool) -> None:
    if wanted:
        print(f"clusterboot {__version__}")
        raise typer.Exit


@app.callback()
def _globals(
    output: Annotated[
        Literal["text", "json"], typer.Option("--output", "-o", help="Output format.")
    ] = "text",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors.")] = False,
    debug: Annotated[bool, _option("--debug", "Show tracebacks.")] = False,
    no_color: Annotated[bool, _option("--no-color", "No colour; NO_COLOR does the same.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    shell.json = output == "json"
    shell.quiet, shell.debug, shell.color = quiet, debug, not no_color


@_command()
def validate(topology: File) -> None:
    """Check a topology file. Reports problems with line and column."""
    _run("validate", lambda: commands.validate(shell, topology))


@_command()
def plan(
    topology: File,
    form: Annotated[
        Literal["table", "json", "commands"] | None,
        _option("--format", "'commands' is a shell script of equivalent redis-cli commands. Default: table."),
    ] = None,
    strategy: Strategy = None,
) -> None:
    """Print the plan for fresh nodes, without connecting."""
    _run("plan", lambda: commands.plan(shell, topology, form, strategy))


@_command()
def up(
    topology: File,
    dry_run: Annotated[
        bool, _option("--dry-run", "Print the steps that are missing on the live nodes; change nothing.")
    ] = False,
    strategy: Strategy = None,
    meet_only: Annotated[
        bool, _option("--meet-only", "Only join the nodes; assign no slots or replicas.")
    ] = False,
    no_boost: Annotated[
        bool, _option("--no-boost", "Do not lower the timers of fresh nodes; much slower.")
    ] = False,
    spawn: Annotated[
        bool, _option("--spawn", "First start a local server for each loopback node that does not answer.")
    ] = False,
    rebalance: Annotated[
        bool,
        _option(
            "--rebalance",
            "Then move slots as the file says, and let the members under 'retire' leave.",
        ),
    ] = False,
    timeout: UpTimeout = None,
    ask_pass: AskPass = False,
) -> None:
    """Join the nodes into one cluster, and exit once it is usable. Safe to run again at any time."""
    options = UpOptions(dry_run, strategy, meet_only, not no_boost, spawn, rebalance)
    _run("up", lambda: commands.up(shell, topology, options, ConnectOptions(timeout, ask_pass)))


@_command()
def status(
    topology: File,
    watch: Annotated[bool, _option("--watch", "Refresh the report in place until Ctrl-C.")] = False,
    timeout: LookTimeout = None,
    ask_pass: AskPass = False,
) -> None:
    """Report whether the cluster is Ready, and every reason why not. Changes nothing."""
    _run("status", lambda: commands.status(shell, topology, ConnectOptions(timeout, ask_pass), watch=watch))


@_command()
def down(
    topology: FileOrName,
    reset: Annotated[
        bool, _option("--reset", "Reset live nodes to standalone nodes without slots. Needs --yes.")
    ] = False,
    yes: Annotated[bool, _option("--yes", "Confirm --reset.")] = False,
    flush: Annotated[bool, _option("--flush", "With --reset: also delete all keys.")] = False,
    timeout: Timeout = None,
    ask_pass: AskPass = False,
) -> None:
    """Stop what 'up --spawn' started; with --reset, reset live nodes."""
    options = ConnectOptions(timeout, ask_pass)
    _run("down", lambda: commands.down(shell, topology, options, reset=reset, yes=yes, flush=flush))


@_command()
def ls() -> None:
    """List what 'up --spawn' started, and whether it runs."""
    _run("ls", lambda: commands.ls(shell))


class _Run(_Command):
    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "-- COMMAND [ARGS]..."]


# No --output: stdout belongs to the user's command.
@app.command(cls=_Run, epilog=_GLOBAL.format(""))
def run(
    context: typer.Context,
    topology: Annotated[
        Path | None,
        _topology(
            "Take names, roles, slots, replicas, zones and servers from this file; free loopback ports "
            "replace its addresses, and auth and TLS are left out."
        ),
    ] = None,
    primaries: Annotated[int | None, _option("--primaries", "Number of primaries. Default: 3.", "N")] = None,
    replicas: Annotated[int | None, _option("--replicas", "Replicas per primary. Default: 1.", "N")] = None,
    server: Annotated[str | None, _option("--server", "The server to start.", "PATH")] = None,
    settings: Annotated[
        list[str] | None, _option("--set", "A setting of all servers; can be repeated.", "K=V")
    ] = None,
    info: Annotated[Path | None, _option("--info", "Write the nodes to this file as JSON.", "FILE")] = None,
    keep_logs: Annotated[
        Path | None, _option("--keep-logs", "Copy the servers' logs there if the run fails.", "DIR")
    ] = None,
    timeout: FormingTimeout = None,
) -> None:
    """Run a command with a throwaway cluster, which is always removed.

    The command follows two dashes: clusterboot run -- pytest -q. It finds the cluster in CLUSTERBOOT_NODES
    and REDIS_CLUSTER_NODES (host:port,...) and in CLUSTERBOOT_URL and REDIS_URL (redis://host:port). 'run'
    exits with the status of the command; 125 means that clusterboot itself failed, 126 that the command
    cannot be executed, 127 that it was not found.
    """
    from clusterboot.commands.run import RunOptions
    from clusterboot.commands.run import run as run_command

    options = RunOptions(
        context.obj or (), topology, primaries, replicas, server, settings or (), info, keep_logs, timeout
    )
    leave(run_command(shell, options))


def _run(command: str, work: Callable[[], int]) -> NoReturn:
    leave(shell.guard(command, work))
