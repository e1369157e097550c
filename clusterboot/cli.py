"""The command line: flags and wiring, nothing else. Commands import what they need when they run."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer
from typer.core import TyperCommand
from typer.exceptions import TyperException

from clusterboot import __version__, commands
from clusterboot.commands import Reach, UpOptions
from clusterboot.errors import Exit, Problem
from clusterboot.shell import Shell, leave, open_streams, unwritable

app = typer.Typer(
    name="clusterboot",
    help="Make a Redis or Valkey Cluster out of running nodes: declarative, safe to repeat, never hanging.",
    epilog="Global options may stand before or after the command.",
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
_shell = Shell()
_GLOBAL = "Global options, before or after the command: {}-q/--quiet, --no-color, --debug."
_command = partial(app.command, epilog=_GLOBAL.format("-o/--output text|json, "))

File = Annotated[
    Path, typer.Argument(metavar="TOPOLOGY", help="The topology file (YAML).", show_default=False)
]
Strategy = Annotated[
    Literal["star", "chain"] | None,
    typer.Option("--strategy", help="Who meets whom; overrides the file.", show_default=False),
]
Timeout = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        metavar="SECONDS",
        min=0.1,
        help="Bound on the whole run. Default: one second per node, at least 60.",
        show_default=False,
    ),
]
AskPass = Annotated[
    bool, typer.Option("--ask-pass", help="Ask for the password of nodes that have no other source.")
]


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
    _shell.json = output == "json"
    _shell.quiet, _shell.debug, _shell.color = quiet, debug, not no_color


@_command()
def validate(topology: File) -> None:
    """Check a topology file. All its problems are told at once, each with line and column."""
    _run("validate", lambda: commands.validate(_shell, topology))


@_command()
def plan(
    topology: File,
    form: Annotated[
        Literal["table", "json", "commands"],
        typer.Option("--format", help="'commands' is a shell script of redis-cli lines that does the same."),
    ] = "table",
    strategy: Strategy = None,
) -> None:
    """Print the plan for fresh nodes, without touching any."""
    _run("plan", lambda: commands.plan(_shell, topology, form, strategy))


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
    _run("up", lambda: commands.up(_shell, topology, options, Reach(timeout, ask_pass)))


@_command()
def status(
    topology: File,
    watch: Annotated[
        bool, typer.Option("--watch", help="Keep looking and refresh in place, until Ctrl-C.")
    ] = False,
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout",
            metavar="SECONDS",
            min=0.1,
            help="Bound on the whole run; with --watch: of each look. "
            "Default: one second per node, at least 60.",
            show_default=False,
        ),
    ] = None,
    ask_pass: AskPass = False,
) -> None:
    """Tell whether the cluster is Ready, and every reason why not. Changes nothing."""
    _run("status", lambda: commands.status(_shell, topology, Reach(timeout, ask_pass), watch=watch))


@_command()
def down(
    topology: Annotated[
        Path,
        typer.Argument(
            metavar="TOPOLOGY",
            help="The topology file (YAML), or the name of a spawned cluster as 'ls' shows it.",
            show_default=False,
        ),
    ],
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
        lambda: commands.down(_shell, topology, Reach(timeout, ask_pass), reset=reset, yes=yes, flush=flush),
    )


@_command()
def ls() -> None:
    """List what 'up --spawn' started, and whether it runs."""
    _run("ls", lambda: commands.ls(_shell))


class _Run(TyperCommand):
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
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout",
            metavar="SECONDS",
            min=0.1,
            help="Bound on forming the cluster. Default: one second per node, at least 60.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Run a command with a throwaway cluster of its own.

    The command is written behind two dashes: clusterboot run -- pytest -q. It finds the cluster in
    CLUSTERBOOT_NODES and REDIS_CLUSTER_NODES (host:port,...) and in CLUSTERBOOT_URL and REDIS_URL
    (redis://host:port). Its exit status is the one of `run`; 125 means that clusterboot itself failed,
    126 that the command cannot be executed, 127 that it is not there.
    """
    from clusterboot.run.command import RunOptions
    from clusterboot.run.command import run as throwaway

    options = RunOptions(
        context.obj or (), topology, primaries, replicas, server, settings or (), info, keep_logs, timeout
    )
    leave(throwaway(_shell, options))


def _run(command: str, work: commands.Work) -> NoReturn:
    leave(_shell.guard(command, work))


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and end the process with the exit status of the contract."""
    open_streams()
    given = list(sys.argv[1:] if arguments is None else arguments)
    ordered, behind = globals_first(given), []
    command = next((word for word in ordered if word in _NAMES), "clusterboot")
    if command == "run" and "--" in ordered:
        # What stands behind is the user's command, word for word.
        cut = ordered.index("--")
        ordered, behind = ordered[:cut], ordered[cut + 1 :]
    _shell.json = command != "run" and "json" in _output(ordered)
    try:
        if not given:
            app(["--help"], prog_name="clusterboot", standalone_mode=False)
            leave(Exit.USAGE)
        status = app(ordered, prog_name="clusterboot", standalone_mode=False, obj=behind)
    except TyperException as wrong:
        message = plainly(wrong.format_message())
        hint = f"clusterboot {command} --help" if command in _NAMES else "clusterboot --help"
        if command == "run" and "--" not in given and message.startswith(_EXTRA):
            from clusterboot.run.command import no_command

            status = _shell.fail(command, no_command().problems)
        else:
            status = _shell.fail(command, [Problem("usage", message, hint=hint, exit=Exit.USAGE)])
        # Status 2 may be one of the user's command; env(1) and others of its kind end with 125.
        leave(125 if command == "run" else status)
    except (typer.Abort, KeyboardInterrupt):
        leave(Exit.SIGINT)
    except BrokenPipeError:
        leave(Exit.DONE)
    except OSError as error:  # of --help and --version; commands have a guard
        leave(_shell.fail(command, unwritable(error).problems))
    leave(status or 0)


_NAMES = frozenset(info.callback.__name__ for info in app.registered_commands if info.callback)
_FLAGS = frozenset({"-q", "--quiet", "--debug", "--no-color"})


def globals_first(arguments: Sequence[str]) -> list[str]:
    """Move the global options in front of the command, so that they may stand anywhere before `--`."""
    front: list[str] = []
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--":
            rest += [word, *words]
        elif word in _FLAGS or word.startswith("--output="):
            front.append(word)
        elif word in ("-o", "--output"):
            front += [word, *([value] if (value := next(words, None)) is not None else [])]
        else:
            rest.append(word)
    return front + rest


_EXTRA = "unexpected argument"
_PLAINLY = (
    (r"Value error, ", ""),
    (r"Got unexpected extra arguments?(?:\(s\))? \((.*)\)\.?$", rf"{_EXTRA}: \1."),
    (r"Input should be a valid number.*", "it is not a number."),
    (r"Input should be a finite number.*", "it is not a finite number."),
    (r"Input should be a valid integer.*", "it is not a whole number."),
    (r"Input should be greater than or equal to (.*)", r"it has to be \1 or more."),
)


def plainly(message: str) -> str:
    """Return what the parser of options says, without the words of its own trade."""
    for technical, plain in _PLAINLY:
        message = re.sub(technical, plain, message, flags=re.DOTALL)
    return message if message.endswith((".", "?")) else f"{message}."


def _output(arguments: Sequence[str]) -> set[str]:
    """The output formats asked for, known before the options are parsed: also for errors in them."""
    return {
        *(value for flag, value in pairwise(arguments) if flag in ("-o", "--output")),
        *(word.removeprefix("--output=") for word in arguments if word.startswith("--output=")),
    }
