"""The options and arguments that several commands share, or that take many words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

_DEFAULT = "Default: one second per node, at least 60."


def _topology(what: str) -> Any:
    return typer.Argument(metavar="TOPOLOGY", help=what, show_default=False)


def _seconds(bound: str) -> Any:
    what = f"{bound} {_DEFAULT}"
    return typer.Option("--timeout", metavar="SECONDS", min=0.1, help=what, show_default=False)


File = Annotated[Path, _topology("The topology file (YAML).")]
FileOrName = Annotated[
    Path, _topology("The topology file (YAML), or the name of a spawned cluster as 'ls' shows it.")
]
Strategy = Annotated[
    Literal["star", "chain"] | None,
    typer.Option("--strategy", help="Who meets whom; overrides the file.", show_default=False),
]
Timeout = Annotated[float | None, _seconds("Bound on the whole run.")]
LookTimeout = Annotated[float | None, _seconds("Bound on the whole run; with --watch: of each look.")]
FormingTimeout = Annotated[float | None, _seconds("Bound on forming the cluster.")]
AskPass = Annotated[
    bool, typer.Option("--ask-pass", help="Ask for the password of nodes that have no other source.")
]
