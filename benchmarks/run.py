"""From nothing to a command within a throwaway cluster of six nodes, and to nothing again.

    python -m benchmarks.run                 five runs on each kind of server
    python -m benchmarks.run --runs 1 --out -

The clock runs from the start of clusterboot's process to the first line that the command prints, which
says what clusterboot's own word is worth: the probe of the tests finds the cluster Ready at that moment or
the run counts as failed. A server says for its first two seconds that its cluster is not fine, whatever
is done: that is the floor. Exit status 1 when a target was missed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.harness.ready import why_not_ready
from tests.harness.servers import SERVERS, Missing, binary

NODES = 6
FLOOR = 2.0
# Seconds from nothing to the command: a fifth of what cluster managers of client projects take, and less.
LIMIT = 3.0
_KEPT = Path(__file__).parent / "results" / "run.json"
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
        return {**asdict(self), "nodes": NODES, "median": self.median(), "limit": LIMIT}


def measure(runs: int, kinds: Iterable[str] = SERVERS) -> Iterator[Ran]:
    """Measure `runs` runs on each kind of server that is here."""
    for kind in kinds:
        try:
            server = binary(kind)
        except Missing as reason:
            print(f"left out: {reason}", file=sys.stderr)
            continue
        times = [_once(server) for _ in range(runs)]
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


def main() -> int:
    """Measure what the arguments say; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--servers", default=",".join(SERVERS))
    parser.add_argument("--out", type=Path, default=_KEPT, help="file of the results; - keeps none")
    given = parser.parse_args()
    found = list(measure(given.runs, given.servers.split(",")))
    print(
        f"\nFrom nothing to a command within {NODES} nodes: at most {LIMIT:g} s, the floor is {FLOOR:g} s\n"
    )
    print("| server   | median | slowest | and gone |        |")
    print("| -------- | ------ | ------- | -------- | ------ |")
    for ran in found:
        met = "met" if ran.median() <= LIMIT else "MISSED"
        gone = statistics.median(ran.gone)
        print(
            f"| {ran.server:8} | {ran.median():4.2f} s | {max(ran.began):5.2f} s | {gone:6.2f} s | {met:6} |"
        )
    if str(given.out) != "-":
        given.out.parent.mkdir(parents=True, exist_ok=True)
        machine = {"cpus": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}
        document = {"machine": machine, "run": [ran.document() for ran in found]}
        given.out.write_text(json.dumps(document, indent=1) + "\n")
    return 0 if found and all(ran.median() <= LIMIT for ran in found) else 1


if __name__ == "__main__":
    sys.exit(main())
