"""The app: the global options, and the flags of each command; commands import what they need as they run."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer
from typer.core import TyperCommand

from clusterboot import __version__, commands
from clusterboot.cli.options import AskPass, File, FileOrName, FormingTimeout, LookTimeout, Strategy, Timeout
from clusterboot.commands import Reach, UpOptions
from clusterboot.commands.shell import Shell, leave

app = typer.Typer(
    name="clusterboot",
    help="Make a Redis or Valkey Cluster out of running nodes: declarative, safe to repeat, never hanging.",
    epilog="Global options may stand before or after the command.",
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
shell = Shell()
_GLOBAL = "Global options, before or after the command: {}-q/--quiet, --no-color, --debug."


class _Command(TyperCommand):
    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        # typer puts braces around an argument that has to be there.
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]


_command = partial(app.command, cls=_Command, epilog=_GLOBAL.format("-o/--output text|json, "))


def _version(wanted: bool) -> None:
    if wanted:
        print(f"clusterboot {__version__}")
        raise typer.Exit


@app.callback()
def _globals(
    output: Annotated[
        Literal["text", "json"], typer.Option("--output", "-o", help="What goes to stdout.")
    ] = "text",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Nothing but errors.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colour; NO_COLOR does the same.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    shell.json = output == "json"
    shell.quiet, shell.debug, shell.color = quiet, debug, not no_color


@_command()
def validate(topology: File) -> None:
    """Check a topology file. All its problems are told at once, each with line and column."""
    _run("validate", lambda: commands.validate(shell, topology))


@_command()
def plan(
    topology: File,
    form: Annotated[
        Literal["table", "json", "commands"] | None,
        typer.Option(
            "--format",
            help="'commands' is a shell script of redis-cli lines that does the same. Default: table.",
            show_default=False,
        ),
    ] = None,
    strategy: Strategy = None,
) -> None:
    """Print the plan for fresh nodes, without touching any."""
    _run("plan", lambda: commands.plan(shell, topology, form, strategy))


@_command()
def up(
    topology: File,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Look at the live nodes and print what is missing; change nothing."),
    ] = False,
    strategy: Strategy = None,
    meet_only: Annotated[bool, typer.Option("--meet-only", help="Stop at the full mesh.")] = False,
    no_boost: Annotated[
        bool, typer.Option("--no-boost", help="Leave the timers of fresh nodes alone; much slower.")
    ] = False,
    spawn: Annotated[
        bool, typer.Option("--spawn", help="First start a local server for every loopback node without one.")
    ] = False,
    timeout: Timeout = None,
    ask_pass: AskPass = False,
) -> None:
    """Make the nodes one cluster, and end when it is Ready. Safe to run again, at any time."""
    options = UpOptions(dry_run, strategy, meet_only, not no_boost, spawn)
    _run("up", lambda: commands.up(shell, topology, options, Reach(timeout, ask_pass)))


@_command()
def status(
    topology: File,
    watch: Annotated[
        bool, typer.Option("--watch", help="Keep looking and refresh in place, until Ctrl-C.")
    ] = False,
    timeout: LookTimeout = None,
    ask_pass: AskPass = False,
) -> None:
    """Tell whether the cluster is Ready, and every reason why not. Changes nothing."""
    _run("status", lambda: commands.status(shell, topology, Reach(timeout, ask_pass), watch=watch))


@_command()
def down(
    topology: FileOrName,
    reset: Annotated[
        bool, typer.Option("--reset", help="Return live nodes to single nodes that know nobody. Needs --yes.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
    flush: Annotated[bool, typer.Option("--flush", help="With --reset: delete all keys as well.")] = False,
    timeout: Timeout = None,
    ask_pass: AskPass = False,
) -> None:
    """Stop what 'up --spawn' started; with --reset: empty live nodes."""
    _run(
        "down",
        lambda: commands.down(shell, topology, Reach(timeout, ask_pass), reset=reset, yes=yes, flush=flush),
    )


@_command()
def ls() -> None:
    """List what 'up --spawn' started, and whether it runs."""
    _run("ls", lambda: commands.ls(shell))


class _Run(_Command):
    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "-- COMMAND [ARGS]..."]


# Its stdout is the command's: no --output.
@app.command(cls=_Run, epilog=_GLOBAL.format(""))
def run(
    context: typer.Context,
    topology: Annotated[
        Path | None,
        typer.Argument(
            metavar="TOPOLOGY",
            help="Names, roles, slots, replicas, zones and servers of this file; its addresses are replaced "
            "by free ports of loopback, without auth and TLS.",
            show_default=False,
        ),
    ] = None,
    primaries: Annotated[
        int | None, typer.Option("--primaries", metavar="N", help="Default: 3.", show_default=False)
    ] = None,
    replicas: Annotated[
        int | None,
        typer.Option("--replicas", metavar="N", help="For each primary. Default: 1.", show_default=False),
    ] = None,
    server: Annotated[
        str | None,
        typer.Option("--server", metavar="PATH", help="The server to start.", show_default=False),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="K=V", help="A setting of all servers; repeat it.", show_default=False),
    ] = None,
    info: Annotated[
        Path | None,
        typer.Option("--info", metavar="FILE", help="Write the nodes there as JSON.", show_default=False),
    ] = None,
    keep_logs: Annotated[
        Path | None,
        typer.Option(
            "--keep-logs",
            metavar="DIR",
            help="Where to keep the servers' logs when it fails.",
            show_default=False,
        ),
    ] = None,
    timeout: FormingTimeout = None,
) -> None:
    """Run a command with a throwaway cluster of its own.

    The command is written behind two dashes: clusterboot run -- pytest -q. It finds the cluster in
    CLUSTERBOOT_NODES and REDIS_CLUSTER_NODES (host:port,...) and in CLUSTERBOOT_URL and REDIS_URL
    (redis://host:port). Its exit status is the one of `run`; 125 means that clusterboot itself failed,
    126 that the command cannot be executed, 127 that it is not there.
    """
    from clusterboot.commands.run import RunOptions
    from clusterboot.commands.run import run as throwaway

    options = RunOptions(
        context.obj or (), topology, primaries, replicas, server, settings or (), info, keep_logs, timeout
    )
    leave(throwaway(shell, options))


def _run(command: str, work: commands.Work) -> NoReturn:
    leave(shell.guard(command, work))
