"""Measure clusterboot, print tables, and keep JSON and a chart.

    python -m benchmarks                                   everything: about half an hour
    python -m benchmarks --sizes 6,30 --runs 1 forming     a short look
    python -m benchmarks cost startup                      no real servers

Exit status 1 when a target was missed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks import chart, cost, forming, run, startup
from benchmarks.targets import Target, targets
from tests.harness.servers import Missing, binary

RESULTS = Path(__file__).parent / "results"
PARTS = ("forming", "run", "cost", "startup")


def main() -> int:
    """Measure what the arguments say; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure clusterboot.")
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="what to measure (default: all)")
    parser.add_argument("--servers", default="redis70,valkey91", help="kinds of servers, for forming")
    parser.add_argument("--sizes", default="6,30,60,150", help="numbers of nodes, for forming")
    parser.add_argument("--fleet", default="100,300,1000", help="numbers of simulated nodes, for cost")
    parser.add_argument("--runs", type=int, default=3, help="runs of which the median is taken")
    parser.add_argument("--large-runs", type=int, default=1, help="the same above 100 nodes")
    parser.add_argument("--no-boost", action="store_true", help="measure 'up --no-boost' as well")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results; - keeps none")
    given = parser.parse_args()
    parts = given.parts or PARTS
    formed = [] if "forming" not in parts else _form(given)
    costs = [cost.measure(count) for count in _numbers(given.fleet)] if "cost" in parts else []
    starts = startup.measure(max(5, given.runs)) if "startup" in parts else []
    ran = list(run.measure(max(3, given.runs), given.servers.split(","))) if "run" in parts else []
    found = [*targets(formed, costs, starts), *run.targets(ran)]

    _table("Time to Ready", ("server", "nodes", "tool", "Ready s", "exit s", "share"), _shares(formed))
    _table("From nothing to a command in `clusterboot run`, 6 nodes", run.HEADS, map(run.row, ran))
    _table(
        "Cost on the simulated fleet",
        ("nodes", "CPU s", "MiB", "commands", "MB read", "snapshots", "whole s"),
        [(c.nodes, c.cpu, c.memory, c.commands, c.read, c.snapshots, c.seconds) for c in costs],
    )
    _table("Start-up", ("command", "seconds", "CPU s"), [(s.command, s.seconds, s.cpu) for s in starts])
    _table("Targets", ("target", "at most", "found", ""), [_row(target) for target in found])
    if str(given.out) != "-":
        given.out.mkdir(parents=True, exist_ok=True)
        for name, measured in (("forming", formed), ("cost", costs), ("startup", starts)):
            if measured:
                document = {
                    "machine": _machine(),
                    name: [each.document() for each in measured],
                    "targets": [target.document() for target in targets(*_only(name, formed, costs, starts))],
                }
                (given.out / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")
        if ran:
            run.keep(ran, given.out / "run.json", _machine())
        if formed:
            (given.out / "forming.svg").write_text(chart.svg(formed))
    return 0 if all(target.met for target in found) else 1


def _form(given: argparse.Namespace) -> list[forming.Formed]:
    tools = forming.TOOLS if given.no_boost else forming.TOOLS[:2]
    found: list[forming.Formed] = []
    for kind in given.servers.split(","):
        try:
            binary(kind)
        except Missing as reason:
            print(f"left out: {reason}", file=sys.stderr)
            continue
        for count in _numbers(given.sizes):
            runs = given.runs if count <= 100 else given.large_runs
            found += forming.measure(kind, count, tools, runs)
    return sorted(found, key=lambda each: (each.server, each.nodes))


def _only(
    name: str, formed: list[forming.Formed], costs: list[cost.Cost], starts: list[startup.Start]
) -> tuple[list[forming.Formed], list[cost.Cost], list[startup.Start]]:
    return (
        formed if name == "forming" else [],
        costs if name == "cost" else [],
        starts if name == "startup" else [],
    )


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
    found = "never" if target.found is None else target.found
    return target.what, target.limit, found, "met" if target.met else "MISSED"


def _table(title: str, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table in Markdown, ready for a page."""
    lines = [list(map(str, row)) for row in rows]
    if not lines:
        return
    widths = [max(map(len, column)) for column in zip(heads, *lines, strict=True)]
    print(f"\n{title}\n")
    for line in (list(heads), ["-" * width for width in widths], *lines):
        print("| " + " | ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)) + " |")


if __name__ == "__main__":
    sys.exit(main())
