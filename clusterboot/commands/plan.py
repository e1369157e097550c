"""`plan`: the plan for fresh nodes, without connecting."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from clusterboot.commands.connect import security_warnings
from clusterboot.commands.shell import Shell
from clusterboot.commands.streams import write
from clusterboot.errors import Exit, usage_error

if TYPE_CHECKING:
    from rich.console import Console

    from clusterboot.core.results import Validated
    from clusterboot.topology import Topology

Strategy: TypeAlias = Literal["star", "chain"]
PlanFormat: TypeAlias = Literal["table", "json", "commands"]


def plan(shell: Shell, file: Path, form: PlanFormat | None, strategy: Strategy | None) -> Exit:
    """Print the plan for fresh nodes; a `form` of None is that of the other commands."""
    from clusterboot.render import json

    if shell.json and form in ("table", "commands"):
        raise usage_error(f"--format {form} and -o json contradict each other.", "leave one of them out")
    if form == "json":
        shell = replace(shell, json=True)
    result = plan_fresh(shell, file, strategy)
    warnings = security_warnings(result.topology, file)
    shell.warn(warnings)
    if form == "commands":
        from clusterboot.render.script import script

        write(script(result.topology, result.plan, str(file)))
        return Exit.DONE

    def text(console: Console) -> None:
        from clusterboot.render.plan_text import plan as draw

        draw(console, result)

    shell.result(lambda: json.validated(result, "plan", warnings), text)
    return Exit.DONE


def with_strategy(topology: Topology, strategy: Strategy | None) -> Topology:
    """Return the topology with this strategy, without its hub if it is another one; None changes nothing."""
    if strategy is None or strategy == topology.strategy:
        return topology
    return replace(topology, strategy=strategy, hub=None)


def plan_fresh(shell: Shell, file: Path, strategy: Strategy | None = None) -> Validated:
    """Read a topology file and plan it for fresh nodes; print its warnings."""
    from clusterboot.core.placement import place
    from clusterboot.core.plan import plan as make_plan
    from clusterboot.core.results import Validated
    from clusterboot.disk.topology_file import read

    topology = with_strategy(read(file), strategy)
    placement = place(topology)
    shell.warn((*topology.warnings, *placement.warnings))
    return Validated(topology, placement, make_plan(topology, placement))
