"""The command line before it is parsed, and the error messages of the parser. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

_FLAGS = frozenset({"-q", "--quiet", "--debug", "--no-color"})


def globals_first(arguments: Sequence[str]) -> list[str]:
    """Move the global options before the command, so that they can be given anywhere before `--`."""
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


EXTRA = "unexpected argument"
_PLAINLY = (
    (r"Value error, ", ""),
    (r"Got unexpected extra arguments?(?:\(s\))? \((.*)\)\.?$", rf"{EXTRA}: \1."),
    (r"Input should be a valid number.*", "it is not a number."),
    (r"Input should be a finite number.*", "it is not a finite number."),
    (r"Input should be a valid integer.*", "it is not a whole number."),
    (r"Input should be greater than or equal to (.*)", r"it must be \1 or more."),
)


def plainly(message: str) -> str:
    """Return an error message of the parser in plain English."""
    for technical, plain in _PLAINLY:
        message = re.sub(technical, plain, message, flags=re.DOTALL)
    return message if message.endswith((".", "?")) else f"{message}."


def formats(arguments: Sequence[str]) -> set[str]:
    """Return the values of --output, which apply to errors of the parser too."""
    return {
        *(value for flag, value in pairwise(arguments) if flag in ("-o", "--output")),
        *(word.removeprefix("--output=") for word in arguments if word.startswith("--output=")),
    }
