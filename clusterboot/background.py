"""Python processes whose command line does not contain "clusterboot": 'pkill -f clusterboot' spares them.

With `-I -S` they import nothing of the user's environment or of site-packages, so they start fast.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

_START = "import os; exec(os.environ.pop('START'))"


def python_command(function: str, *arguments: object) -> tuple[list[str], dict[str, str]]:
    """Return the command and the environment of a process that calls `function` ("package.module.name").

    `arguments` are literals, passed in the environment: no secrets.
    """
    module, _, name = function.rpartition(".")
    root = str(Path(__file__).parents[1].absolute())
    given = ", ".join(map(repr, arguments))
    code = f"import sys; sys.path.append({root!r}); from {module} import {name}; {name}({given})"
    # Not the Python of a virtual environment, whose path may name clusterboot.
    executable = getattr(sys, "_base_executable", sys.executable)
    return [executable, "-I", "-S", "-c", _START], {**os.environ, "START": code}
