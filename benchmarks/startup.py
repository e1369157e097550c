"""Start-up time: `--version` compared with a bare typer program, and `plan`."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

_BARE = """
import typer
app = typer.Typer()
@app.command()
def main(version: bool = False) -> None:
    print("bare 1.0")
app()
"""


@dataclass(frozen=True)
class Start:
    """The medians of all runs of one command: seconds until it exited, and CPU seconds."""

    command: str
    seconds: float
    cpu: float

    def document(self) -> dict[str, object]:
        """Return it for the JSON file."""
        return asdict(self)


def measure(runs: int) -> list[Start]:
    """Run each command `runs` times, in turn, after one warm-up run for the file cache."""
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder) / "bare.py"
        bare.write_text(_BARE)
        commands = {
            "bare typer program": [str(bare), "--version"],
            "clusterboot --version": ["-m", "clusterboot", "--version"],
        }
        for count in (6, 1000):
            file = Path(folder) / f"{count}.yaml"
            file.write_text(f"version: 1\nreplicas: 1\nnodes:\n  - 127.0.0.1:10001-{10000 + count}\n")
            commands[f"clusterboot plan, {count} nodes"] = ["-m", "clusterboot", "plan", str(file)]
        measured: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for turn in range(runs + 1):
            for name, words in commands.items():
                times = _once(words)
                if turn:
                    measured[name].append(times)
    return [
        Start(name, *(round(statistics.median(column), 3) for column in zip(*times, strict=True)))
        for name, times in measured.items()
    ]


def _once(words: list[str]) -> tuple[float, float]:
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {process.returncode}")
    return seconds, used.ru_utime + used.ru_stime
