"""The figures in the README are those in benchmarks/results."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from tests.harness.cli import ROOT

_README = (ROOT / "README.md").read_text()


def _results(part: str) -> list[Mapping[str, Any]]:
    results: list[Mapping[str, Any]] = json.loads((ROOT / "benchmarks/results" / f"{part}.json").read_text())[
        part
    ]
    return results


def _rows(heading: str) -> list[str]:
    """The rows of the README's table below the line `heading`."""
    _, _, table = _README.partition(f"{heading}\n")
    rows = []
    for line in table.splitlines()[1:]:
        if not line.startswith("|"):
            break
        rows.append(line)
    return rows


def test_the_times_to_ready() -> None:
    ready = {(each["server"], each["nodes"], each["tool"]): each["ready"] for each in _results("forming")}
    columns = [(server, tool) for server in ("redis70", "valkey91") for tool in ("redis-cli", "clusterboot")]
    sizes = sorted({nodes for _, nodes, _ in ready})
    assert _rows("| nodes | Redis 7.0: redis-cli | clusterboot | Valkey 9.1: redis-cli | clusterboot |") == [
        f"| {nodes} | " + " | ".join(f"{ready[server, nodes, tool]:.1f}" for server, tool in columns) + " |"
        for nodes in sizes
    ]


def test_the_times_to_join() -> None:
    joined = {(each["server"], each["nodes"], each["role"]): each for each in _results("joining")}
    columns = [
        (server, what) for server in ("redis62", "redis70", "valkey91") for what in ("agreed", "ready")
    ]
    rows = sorted({(nodes, role) for _, nodes, role in joined}, key=lambda row: (row[0], row[1] == "primary"))
    names = {"replica": "a replica", "primary": "a primary without slots"}
    assert _rows(
        "| joins | Redis 6.2: agreed | Ready | Redis 7.0: agreed | Ready | Valkey 9.1: agreed | Ready |"
    ) == [
        f"| {nodes} nodes: {names[role]} | "
        + " | ".join(f"{joined[server, nodes, role][what]:.1f}" for server, what in columns)
        + " |"
        for nodes, role in rows
    ]


def test_the_chart_shows_the_times_to_ready() -> None:
    chart = (ROOT / "benchmarks/results/forming.svg").read_text()
    shown = re.findall(r">([0-9.]+) s(?:, \d+ times faster)?<", chart)
    assert shown == [f"{each['ready']:.1f}" for each in _results("forming")]
