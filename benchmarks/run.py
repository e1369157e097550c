"""Time until the command of `clusterboot run` starts on six nodes, and until everything is stopped again.

    python -m benchmarks run

Time starts with clusterboot's process and stops at the first line that the command prints. The run fails if
the probe of the tests does not find the cluster Ready then. The minimum is two seconds: servers report
`cluster_state:fail` for that long after they start.
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
# Seconds until the command starts: at most a fifth of what the cluster scripts of client projects take.
LIMIT = 3.0
# Prints the nodes, and waits until the benchmark has probed them.
_COMMAND = ("sh", "-c", 'echo "$CLUSTERBOOT_NODES"; cat >/dev/null')


@dataclass(frozen=True)
class Ran:
    """All runs on one server kind: seconds until the command ran, and from its end to the end of `run`."""

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
        started = time.perf_counter() - began
        why_not = why_not_ready(line.strip().split(",")) if line else "the command never ran"
        process.stdin.close()
        ending = time.perf_counter()
        process.wait()
        if why_not or process.returncode:
            raise SystemExit(f"{server}: {why_not or f'exit status {process.returncode}'}")
    return started, time.perf_counter() - ending


def targets(results: Iterable[Ran]) -> Iterator[Target]:
    """Compare the results with their targets."""
    for ran in results:
        yield Target(
            f"run, {ran.server}, {NODES} nodes: seconds until the command starts", LIMIT, ran.median()
        )


HEADS = ("server", "median s", "slowest s", "until gone s")


def row(ran: Ran) -> tuple[object, ...]:
    """Return one row of the table with HEADS."""
    return ran.server, ran.median(), max(ran.began), round(statistics.median(ran.gone), 2)
