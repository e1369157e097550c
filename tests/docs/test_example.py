"""The built wheel in a fresh environment runs the example project, without the source tree."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.cli import ROOT

pytestmark = pytest.mark.server
PROJECT = ROOT / "examples" / "pytest-project"


def test_the_example_project_runs_on_the_wheel_alone(tmp_path: Path) -> None:
    source, home, project = (tmp_path / name for name in ("source", "home", "project"))
    source.mkdir()
    # Exactly the files that the Dockerfile copies, so this also tests that they are enough for a wheel.
    for name in re.findall(r"^COPY (?!--from)(.*) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE):
        for each in name.split():
            if (ROOT / each).is_dir():
                shutil.copytree(ROOT / each, source / each, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / each, source)
    shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns("__pycache__", ".pytest_cache"))
    pip("wheel", "--no-deps", "--wheel-dir", tmp_path, source)
    (wheel,) = tmp_path.glob("clusterboot-*.whl")
    run(sys.executable, "-m", "venv", "--without-pip", home)
    python = home / "bin" / "python"
    pip("--python", python, "install", "--no-compile", f"{wheel}[embedded]", "pytest")
    # With nothing else on PATH, the server is the embedded one.
    only = {"PATH": str(home / "bin")}
    shown = run(home / "bin" / "pytest", "-q", "-W", "error", cwd=project, **only)
    assert "3 passed" in shown
    code = "import os; from redis import Redis; print(Redis.from_url(os.environ['REDIS_URL']).info('server'))"
    where = run(home / "bin" / "clusterboot", "run", "--", "python", "-c", code, **only)
    assert "'valkey_version'" in where


def pip(*args: str | Path) -> str:
    return run(sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *args)


def run(*args: str | Path, cwd: Path | None = None, **env: str) -> str:
    """Run a command without this source tree on its path; on failure, the test shows its output."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | env
    done = subprocess.run(args, capture_output=True, text=True, cwd=cwd or Path("/"), env=clean, timeout=300)
    assert done.returncode == 0, f"{args}\n{done.stdout}\n{done.stderr}"
    return done.stdout
