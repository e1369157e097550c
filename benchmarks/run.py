"""From nothing to a command within a throwaway cluster of six nodes, and to nothing again.

    python -m benchmarks run

The clock runs from the start of clusterboot's process to the first line that the command prints, which
says what clusterboot's own word is worth: the probe of the tests finds the cluster Ready at that moment or
the run counts as failed. A server says for its first two seconds that its cluster is not fine, whatever
is done: that is the floor.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

from benchmarks.targets import Target
from tests.harness.ready import why_not_ready
from tests.harness.servers import binary

NODES = 6
# Seconds from nothing to the command: a fifth of what cluster managers of client projects take, and less.
LIMIT = 3.0
# Says where the cluster is, and holds on until somebody has looked at it.
_COMMAND = ("sh", "-c", 'echo "$CLUSTERBOOT_NODES"; cat >/dev/null')


@dataclass(frozen=True)
class Ran:
    """All runs on one kind of server: seconds until the command ran, and from its end to ours."""

    server: str
    began: tuple[float, ...]
    gone: tuple[float, ...]

    def median(self) -> float:
        """Return the median of the seconds until the command ran."""
        return round(statistics.median(self.began), 2)

    def document(self) -> dict[str, object]:
        """Return it for the JSON file."""
        return {**asdict(self), "nodes": NODES, "median": self.median()}


def measure(runs: int, kinds: Iterable[str]) -> Iterator[Ran]:
    """Measure `runs` runs on each kind of server."""
    for kind in kinds:
        times = [_once(binary(kind)) for _ in range(runs)]
        yield Ran(kind, *(tuple(round(each, 3) for each in column) for column in zip(*times, strict=True)))


def _once(server: str) -> tuple[float, float]:
    began = time.perf_counter()
    words = [sys.executable, "-m", "clusterboot", "run", "--server", server, "--", *_COMMAND]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        line = process.stdout.readline()
        there = time.perf_counter() - began
        why_not = why_not_ready(line.strip().split(",")) if line else "the command never ran"
        process.stdin.close()
        ending = time.perf_counter()
        process.wait()
        if why_not or process.returncode:
            raise SystemExit(f"{server}: {why_not or f'exit status {process.returncode}'}")
    return there, time.perf_counter() - ending


def targets(found: Iterable[Ran]) -> Iterator[Target]:
    """Compare what was measured with the target for it."""
    for ran in found:
        yield Target(
            f"run, {ran.server}, {NODES} nodes: seconds from nothing to the command", LIMIT, ran.median()
        )


HEADS = ("server", "median s", "slowest s", "until gone s")


def row(ran: Ran) -> tuple[object, ...]:
    """Return one row of the table below HEADS."""
    return ran.server, ran.median(), max(ran.began), round(statistics.median(ran.gone), 2)
