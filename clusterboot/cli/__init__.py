"""The command line: flags and wiring, from the arguments to an exit status.

May import: commands, errors.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

import typer
from typer.exceptions import TyperException

from clusterboot.cli.arguments import EXTRA, formats, globals_first, plainly
from clusterboot.cli.flags import app, shell
from clusterboot.commands.shell import leave
from clusterboot.commands.streams import open_streams, unwritable
from clusterboot.errors import Exit, Problem

__all__ = ["app", "main"]

_NAMES = frozenset(info.callback.__name__ for info in app.registered_commands if info.callback)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and end the process with the exit status of the contract."""
    open_streams()
    given = list(sys.argv[1:] if arguments is None else arguments)
    ordered, user_command = globals_first(given), []
    command = next((word for word in ordered if word in _NAMES), "clusterboot")
    if command == "run" and "--" in ordered:
        # The rest is the user's command, unchanged.
        cut = ordered.index("--")
        ordered, user_command = ordered[:cut], ordered[cut + 1 :]
    shell.json = command != "run" and "json" in formats(ordered)
    try:
        if not given:
            app(["--help"], prog_name="clusterboot", standalone_mode=False)
            leave(Exit.USAGE)
        status = app(ordered, prog_name="clusterboot", standalone_mode=False, obj=user_command)
    except TyperException as wrong:
        message = plainly(wrong.format_message())
        hint = f"run 'clusterboot {command} --help'" if command in _NAMES else "run 'clusterboot --help'"
        if command == "run" and "--" not in given and message.startswith(EXTRA):
            from clusterboot.commands.run import no_command

            status = shell.fail(command, no_command().problems)
        else:
            status = shell.fail(command, [Problem("usage", message, hint=hint, exit=Exit.USAGE)])
        # 2 could be the status of the user's command; env(1) and timeout(1) use 125 too.
        leave(125 if command == "run" else status)
    except (typer.Abort, KeyboardInterrupt):
        leave(Exit.SIGINT)
    except BrokenPipeError:
        leave(Exit.DONE)
    except OSError as error:  # of --help and --version; `Shell.guard` handles those of commands
        leave(shell.fail(command, unwritable(error).problems))
    leave(status or 0)
