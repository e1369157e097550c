"""`plan`: the plan for fresh nodes, without connecting."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from clusterboot import render
from clusterboot.commands.connect import security_warnings
from clusterboot.commands.shell import Shell
from clusterboot.commands.streams import write
from clusterboot.errors import Exit, usage_error

if TYPE_CHECKING:
    from clusterboot.core.results import Validated
    from clusterboot.topology import Strategy, Topology


def plan(
    shell: Shell, file: Path, form: Literal["table", "json", "commands"] | None, strategy: Strategy | None
) -> Exit:
    """Print the plan for fresh nodes; a `form` of None is that of the other commands."""
    if shell.json and form in ("table", "commands"):
        raise usage_error(f"--format {form} and -o json contradict each other.", "leave one of them out")
    if form == "json":
        shell = replace(shell, json=True)
    result = plan_fresh(shell, file, strategy)
    warnings = security_warnings(result.topology, file)
    shell.warn(warnings)
    if form == "commands":
        write(render.script.script(result.topology, result.plan, str(file)))
        return Exit.DONE
    shell.result(
        lambda: render.json.validated(result, "plan", warnings),
        lambda console: render.plan_text.plan(console, result),
    )
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
