"""clusterboot as its users meet it: a process with an exit status, stdout and stderr."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.harness import forks
from tests.harness.forks import ROOT, Forked


@dataclass(frozen=True)
class Outcome:
    """How a command ended. Its repr is made to be read in the report of a failed assertion."""

    args: tuple[str, ...]
    exit: int
    out: str
    err: str

    def __repr__(self) -> str:
        return (
            f"\n$ clusterboot {' '.join(self.args)}\nexit {self.exit}\n"
            f"--- stdout\n{self.out}\n--- stderr\n{self.err}\n---"
        )

    def json(self) -> Any:
        """Return stdout as JSON; fails unless it is exactly one document."""
        try:
            return json.loads(self.out)
        except ValueError as error:
            raise AssertionError(f"stdout is not exactly one JSON document ({error}): {self!r}") from None

    def named(self, kind: str = "errors") -> list[tuple[str, str | None, str | None]]:
        """Return code, node and peer of each error (`kind`: warnings, reasons) of the JSON document."""
        return [(problem["code"], problem["node"], problem["peer"]) for problem in self.json()[kind]]


def environment() -> dict[str, str]:
    """Return this process's environment with the project on the path of Python, wherever it is run."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path}


def launch(
    *args: str | Path,
    env: Mapping[str, str | None] | None = None,
    cwd: Path | None = None,
    module: str = "clusterboot",
) -> subprocess.Popen[str] | Forked:
    """Start clusterboot (or a module that drives it) in a session of its own and return the process.

    All three streams are pipes. `env` is laid over this process's environment; None removes a variable.
    """
    laid: dict[str, str | None] = {**environment(), "COLUMNS": "120", **(env or {})}
    words = [str(arg) for arg in args]
    whole = {name: value for name, value in laid.items() if value is not None}
    if "PYTHONPATH" not in (env or {}) and forks.possible(whole):
        return Forked(module, words, whole, cwd)
    return subprocess.Popen(
        [sys.executable, "-m", module, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=whole,
        cwd=cwd,
        start_new_session=True,
    )


def clusterboot(
    *args: str | Path,
    timeout: float = 60.0,
    env: Mapping[str, str | None] | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
    module: str = "clusterboot",
) -> Outcome:
    """Run clusterboot to its end; after `timeout` seconds its process group is killed and the test fails."""
    words = tuple(map(str, args))
    with launch(*args, env=env, cwd=cwd, module=module) as process:
        try:
            out, err = process.communicate(stdin, timeout)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            ended = Outcome(words, -signal.SIGKILL, out, err)
            raise AssertionError(f"not done after {timeout:g} s: {ended!r}") from None
    return Outcome(words, process.returncode, out, err)
