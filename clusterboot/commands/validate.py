"""`validate`: check a topology file, without connecting."""

from __future__ import annotations

from pathlib import Path

from clusterboot import render
from clusterboot.commands.connect import security_warnings
from clusterboot.commands.plan import plan_fresh
from clusterboot.commands.shell import Shell
from clusterboot.errors import Exit


def validate(shell: Shell, file: Path) -> Exit:
    """Check a topology file and summarise the cluster that it describes."""
    result = plan_fresh(shell, file)
    warnings = security_warnings(result.topology, file)
    shell.warn(warnings)
    shell.result(
        lambda: render.json.validated(result, warnings=warnings),
        lambda console: render.text.validated(console, result, str(file)),
    )
    return Exit.DONE
