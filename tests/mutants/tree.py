"""A copy of the package and its tests, to be changed, and pytest in there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_NEEDED = ("clusterboot", "tests", "topologies", "docs", "pyproject.toml", "README.md")


def copy(to: Path) -> Path:
    """Copy what tests without servers need to the folder `to`, and return it."""
    to.mkdir(parents=True, exist_ok=True)
    for name in _NEEDED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, to / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, to / name)
    return to


def environment(folder: Path) -> Mapping[str, str]:
    """Return the environment for Python in a copy: its modules win over installed ones."""
    return {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}


def pytest(folder: Path, tests: Iterable[str], *, seconds: float) -> subprocess.CompletedProcess[str]:
    """Run tests in a copy up to the first failure. Raises TimeoutExpired after `seconds`."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "--tb=no", "-p", "no:cacheprovider", *tests],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=seconds,
    )
