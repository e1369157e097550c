"""Workflow commands, which GitHub's runner obeys: `::` at the start of a line and `##[` anywhere."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

from clusterboot.errors import Problem
from clusterboot.render.safe import MAX_MESSAGE, clean

_COMMAND = re.compile(r"^([ \t]*):(?=:)|##(?=\[)", re.MULTILINE)


def active() -> bool:
    """Return whether this process runs under GitHub Actions."""
    return os.environ.get("GITHUB_ACTIONS") == "true"


class Defused:
    """A text stream on which no text is a command to the runner; `raw` is the stream below."""

    def __init__(self, raw: TextIO) -> None:
        self.raw = raw

    def write(self, text: str) -> int:
        """Write text with a space in what would be a command."""
        return self.raw.write(_COMMAND.sub(lambda found: f"{found[0]} ", text))

    def __getattr__(self, name: str) -> object:
        return getattr(self.raw, name)


def error_lines(problems: Iterable[Problem]) -> list[str]:
    """Return a line for each problem that is in a file, which makes GitHub show it there."""
    lines = []
    for problem in problems:
        if problem.file is not None:
            place = {"file": _from_workspace(problem.file), "line": problem.line, "col": problem.column}
            lines.append(command("error", problem.message, **place, title=problem.code))
    return lines


def command(name: str, message: str = "", **properties: object) -> str:
    """Return a workflow command, escaped as the runner's own toolkit does it (command.ts)."""
    shown = ",".join(
        f"{key}={_escaped(str(value)).replace(':', '%3A').replace(',', '%2C')}"
        for key, value in properties.items()
        if value is not None
    )
    return f"::{name}{' ' if shown else ''}{shown}::{_escaped(message)}"


def _escaped(text: str) -> str:
    return clean(text, MAX_MESSAGE).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _from_workspace(file: str) -> str:
    """Return the path of a file as GitHub wants it: from the root of the repository."""
    root = os.environ.get("GITHUB_WORKSPACE")
    if root and (path := Path(file).absolute()).is_relative_to(root):
        return str(path.relative_to(root))
    return file
