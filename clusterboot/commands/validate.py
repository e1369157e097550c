"""`validate`: check a topology file, without connecting."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from clusterboot.commands.connect import security_warnings
from clusterboot.commands.plan import plan_fresh
from clusterboot.commands.shell import Shell
from clusterboot.errors import Exit

if TYPE_CHECKING:
    from rich.console import Console


def validate(shell: Shell, file: Path) -> Exit:
    """Check a topology file and summarise the cluster that it describes."""
    from clusterboot.render import json

    result = plan_fresh(shell, file)
    warnings = security_warnings(result.topology, file)
    shell.warn(warnings)

    def text(console: Console) -> None:
        from clusterboot.render.text import validated

        validated(console, result, str(file))

    shell.result(lambda: json.validated(result, warnings=warnings), text)
    return Exit.DONE
