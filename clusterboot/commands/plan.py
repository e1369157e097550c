"""`validate` and `plan`: what a topology file comes to on fresh nodes, without touching any."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from clusterboot.commands.connect import careless
from clusterboot.commands.shell import Shell, write
from clusterboot.errors import Exit, Problem, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from clusterboot.core.results import Validated
    from clusterboot.topology import Topology

Strategy: TypeAlias = Literal["star", "chain"]


def validate(shell: Shell, file: Path) -> Exit:
    """Check a topology file and tell what it comes to."""
    from clusterboot.render import json

    result = _fresh(shell, file)
    found = careless(result.topology, file)
    shell.warn(found)

    def text(console: Console) -> None:
        from clusterboot.render.text import validated

        validated(console, result, str(file))

    shell.result(lambda: json.validated(result, warnings=found), text)
    return Exit.DONE


def plan(
    shell: Shell, file: Path, form: Literal["table", "json", "commands"] | None, strategy: Strategy | None
) -> Exit:
    """Print the plan for fresh nodes, without touching any; without a `form` as all commands print."""
    from clusterboot.render import json

    if shell.json and form in ("table", "commands"):
        raise UsageError(
            Problem(
                "usage",
                f"--format {form} and -o json contradict each other.",
                hint="leave one of them out",
                exit=Exit.USAGE,
            )
        )
    if form == "json":
        shell = replace(shell, json=True)
    result = _fresh(shell, file, strategy)
    found = careless(result.topology, file)
    shell.warn(found)
    if form == "commands":
        from clusterboot.render.script import script

        write(script(result.topology, result.plan, str(file)))
        return Exit.DONE

    def text(console: Console) -> None:
        from clusterboot.render.plan_text import plan as draw

        draw(console, result)

    shell.result(lambda: json.validated(result, "plan", found), text)
    return Exit.DONE


def restyled(topology: Topology, strategy: Strategy | None) -> Topology:
    """Return the topology with the strategy asked for, without the hub of another; None leaves the file's."""
    if strategy is None or strategy == topology.strategy:
        return topology
    return replace(topology, strategy=strategy, hub=None)


def _fresh(shell: Shell, file: Path, strategy: Strategy | None = None) -> Validated:
    from clusterboot.core.placement import place
    from clusterboot.core.plan import plan as make_plan
    from clusterboot.core.results import Validated
    from clusterboot.disk.topology_file import read

    topology = restyled(read(file), strategy)
    placement = place(topology)
    shell.warn((*topology.warnings, *placement.warnings))
    return Validated(topology, placement, make_plan(topology, placement))
