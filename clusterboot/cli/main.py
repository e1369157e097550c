"""Run the command line: order the arguments, run the command, report what the parser refuses."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from itertools import islice, pairwise
from typing import NoReturn

import typer
from typer.exceptions import TyperException

from clusterboot.cli.flags import app, shell
from clusterboot.commands.shell import leave
from clusterboot.commands.streams import open_streams, unwritable
from clusterboot.errors import Exit, Problem

_COMMANDS = frozenset(info.callback.__name__ for info in app.registered_commands if info.callback)
_GLOBAL_FLAGS = frozenset({"-q", "--quiet", "--debug", "--no-color"})
_UNEXPECTED = "unexpected argument"
_PLAIN_ENGLISH = (
    (r"Value error, ", ""),
    (r"Got unexpected extra arguments?(?:\(s\))? \((.*)\)\.?$", rf"{_UNEXPECTED}: \1."),
    (r"Input should be a valid number.*", "it is not a number."),
    (r"Input should be a finite number.*", "it is not a finite number."),
    (r"Input should be a valid integer.*", "it is not a whole number."),
    (r"Input should be greater than or equal to (.*)", r"it must be \1 or more."),
)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and end the process with the exit status of the contract."""
    open_streams()
    given = list(sys.argv[1:] if arguments is None else arguments)
    ordered, user_command = _globals_first(given), []
    command = next((word for word in ordered if word in _COMMANDS), "clusterboot")
    if command == "run" and "--" in ordered:
        # The rest is the user's command, unchanged.
        cut = ordered.index("--")
        ordered, user_command = ordered[:cut], ordered[cut + 1 :]
    # For errors of the parser too.
    shell.json = command != "run" and _wants_json(ordered)
    try:
        status = app(ordered or ["--help"], prog_name="clusterboot", standalone_mode=False, obj=user_command)
    except TyperException as wrong:
        message = _plainly(wrong.format_message())
        hint = f"run 'clusterboot {command} --help'" if command in _COMMANDS else "run 'clusterboot --help'"
        if command == "run" and "--" not in given and message.startswith(_UNEXPECTED):
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
    leave((status or Exit.DONE) if given else Exit.USAGE)


def _globals_first(arguments: Sequence[str]) -> list[str]:
    """Move the global options before the command, so that they can be given anywhere before `--`."""
    front: list[str] = []
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--":
            rest += [word, *words]
        elif word in _GLOBAL_FLAGS or word.startswith("--output="):
            front.append(word)
        elif word in ("-o", "--output"):
            front += [word, *islice(words, 1)]
        else:
            rest.append(word)
    return front + rest


def _plainly(message: str) -> str:
    """Return an error message of the parser in plain English."""
    for technical, plain in _PLAIN_ENGLISH:
        message = re.sub(technical, plain, message, flags=re.DOTALL)
    return message if message.endswith((".", "?")) else f"{message}."


def _wants_json(arguments: Sequence[str]) -> bool:
    pairs = {("-o", "json"), ("--output", "json")}
    return "--output=json" in arguments or not pairs.isdisjoint(pairwise(arguments))
