"""Run the benchmarks, print tables, and write JSON and a chart.

    python -m benchmarks                                   everything: about 70 minutes
    python -m benchmarks --sizes 6,30 --runs 1 forming     a quick run
    python -m benchmarks cost startup                      without real servers

Exits with status 1 if a target was missed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from benchmarks import chart, cost, forming, joining, moving, run, startup
from benchmarks.targets import Target, targets
from tests.harness.servers import SERVERS, Missing, binary

RESULTS = Path(__file__).parent / "results"
PARTS = ("forming", "joining", "moving", "run", "cost", "startup")


def main() -> int:
    """Run the benchmarks given in the arguments and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Run the benchmarks.")
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="what to measure (default: all)")
    parser.add_argument("--servers", help="server kinds (default: all; forming: redis70,valkey91)")
    parser.add_argument("--sizes", default="6,30,60,150", help="cluster sizes for forming")
    parser.add_argument("--serving", default="30,60", help="cluster sizes for joining")
    parser.add_argument("--keys", type=int, default=moving.KEYS, help="number of keys for moving")
    parser.add_argument("--fleet", default="100,300,1000", help="numbers of simulated nodes for cost")
    parser.add_argument("--runs", type=int, default=3, help="number of runs per median")
    parser.add_argument("--large-runs", type=int, default=1, help="number of runs above 100 nodes")
    parser.add_argument("--no-boost", action="store_true", help="also measure 'up --no-boost'")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the results; - writes none")
    given = parser.parse_args()
    parts = given.parts or PARTS
    formed = _form(given) if "forming" in parts else []
    joined = _join(given) if "joining" in parts else []
    moved = _move(given) if "moving" in parts else []
    ran = list(run.measure(max(3, given.runs), _kinds(given, SERVERS))) if "run" in parts else []
    costs = [cost.measure(count) for count in _numbers(given.fleet)] if "cost" in parts else []
    starts = startup.measure(max(5, given.runs)) if "startup" in parts else []
    results: list[tuple[str, Sequence[_Measured], list[Target]]] = [
        ("forming", formed, list(targets(formed=formed))),
        ("joining", joined, list(targets(joined=joined))),
        ("moving", moved, list(moving.targets(moved))),
        ("run", ran, list(run.targets(ran))),
        ("cost", costs, list(targets(costs=costs))),
        ("startup", starts, list(targets(starts=starts))),
    ]
    compared = [target for _, _, some in results for target in some]

    _table("Time to Ready", ("server", "nodes", "tool", "Ready s", "exit s", "share"), _shares(formed))
    _table("Joining a serving cluster, from the first MEET on", joining.HEADS, map(joining.row, joined))
    _table("Moving slots", moving.HEADS, moving.rows(moved))
    _table("Time until the command of `clusterboot run` starts, 6 nodes", run.HEADS, map(run.row, ran))
    _table(
        "Cost on the simulated fleet",
        ("nodes", "CPU s", "MiB", "commands", "MB read", "snapshots", "whole s"),
        [(c.nodes, c.cpu, c.memory, c.commands, c.read, c.snapshots, c.seconds) for c in costs],
    )
    _table("Start-up", ("command", "seconds", "CPU s"), [(s.command, s.seconds, s.cpu) for s in starts])
    _table("Targets", ("target", "at most", "measured", ""), [_row(target) for target in compared])
    if str(given.out) != "-":
        given.out.mkdir(parents=True, exist_ok=True)
        for name, measured, some in results:
            if measured:
                document = {
                    "machine": _machine(),
                    name: [each.document() for each in measured],
                    "targets": [target.document() for target in some],
                }
                (given.out / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")
        if formed:
            (given.out / "forming.svg").write_text(chart.formed_svg(formed))
        if moved:
            (given.out / "moving.svg").write_text(chart.moved_svg(moved))
    return 0 if all(target.met for target in compared) else 1


class _Measured(Protocol):
    def document(self) -> dict[str, object]: ...


def _form(given: argparse.Namespace) -> list[forming.Formed]:
    tools = forming.TOOLS if given.no_boost else forming.TOOLS[:2]
    formed: list[forming.Formed] = []
    for kind in _kinds(given, ("redis70", "valkey91")):
        for count in _numbers(given.sizes):
            runs = given.runs if count <= 100 else given.large_runs
            formed += forming.measure(kind, count, tools, runs)
    return sorted(formed, key=lambda each: (each.server, each.nodes))


def _join(given: argparse.Namespace) -> list[joining.Joined]:
    return [
        joined
        for kind in _kinds(given, SERVERS)
        for count in _numbers(given.serving)
        for joined in joining.measure(kind, count, given.runs)
    ]


def _move(given: argparse.Namespace) -> list[moving.Moved]:
    return [
        moved
        for kind in _kinds(given, SERVERS)
        for replicas in (0, 1)
        for moved in moving.measure(kind, replicas, given.runs, given.keys)
    ]


def _kinds(given: argparse.Namespace, default: Sequence[str]) -> list[str]:
    """Return the installed server kinds; prints which are missing."""
    installed = []
    for kind in given.servers.split(",") if given.servers else default:
        try:
            binary(kind)
        except Missing as reason:
            print(f"skipped: {reason}", file=sys.stderr)
        else:
            installed.append(kind)
    return installed


def _numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(",")]


def _machine() -> dict[str, object]:
    return {
        "cpus": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
    }


def _shares(formed: Sequence[forming.Formed]) -> list[tuple[object, ...]]:
    theirs = {(each.server, each.nodes): each.median("ready") for each in formed if each.tool == "redis-cli"}
    rows: list[tuple[object, ...]] = []
    for each in formed:
        ready, other = each.median("ready"), theirs.get((each.server, each.nodes))
        share = f"{ready / other:.3f}" if ready is not None and other else "-"
        rows.append(
            (each.server, each.nodes, each.tool, ready or "never", each.median("exit") or "never", share)
        )
    return rows


def _row(target: Target) -> tuple[object, ...]:
    measured = "never" if target.found is None else target.found
    return target.what, target.limit, measured, "met" if target.met else "MISSED"


def _table(title: str, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a Markdown table."""
    lines = [list(map(str, row)) for row in rows]
    if not lines:
        return
    widths = [max(map(len, column)) for column in zip(heads, *lines, strict=True)]
    print(f"\n{title}\n")
    for line in (list(heads), ["-" * width for width in widths], *lines):
        print("| " + " | ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)) + " |")


if __name__ == "__main__":
    sys.exit(main())
