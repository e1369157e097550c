"""A Python process whose command line does not name clusterboot, so that `pkill -f clusterboot` passes it by.

It runs a function of clusterboot with `-I -S`: nothing of the user's environment or of site-packages is
imported, which also makes it start fast.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

_START = "import os; exec(os.environ.pop('START'))"


def python(function: str, *arguments: object) -> tuple[list[str], dict[str, str]]:
    """Return the command and the environment of a process that calls `function` ("package.module.name").

    `arguments` are literals. They travel in the environment, which the process drops at once: nothing secret
    belongs there.
    """
    module, _, name = function.rpartition(".")
    root = str(Path(__file__).parents[1].absolute())
    given = ", ".join(map(repr, arguments))
    code = f"import sys; sys.path.append({root!r}); from {module} import {name}; {name}({given})"
    # Not the Python of a virtual environment, whose path may name clusterboot.
    executable = getattr(sys, "_base_executable", sys.executable)
    return [executable, "-I", "-S", "-c", _START], {**os.environ, "START": code}
