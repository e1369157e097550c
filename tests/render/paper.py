"""What the tests of render share: consoles of a fixed size, sample results, a clock, and a small terminal."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from clusterboot.core.events import Done
from clusterboot.core.placement import place
from clusterboot.core.plan import plan
from clusterboot.core.results import BoostReport, NodeRow, StatusResult, UpResult, Validated
from clusterboot.core.verdict import NodeHealth, Verdict
from clusterboot.errors import Exit, Problem
from clusterboot.slots import ALL, NONE
from clusterboot.topology import Announce, Node, Topology

GOLDEN = Path(__file__).parent / "golden"


class Stream(io.StringIO):
    """A text stream that says what a test wants it to say about itself."""

    def __init__(self, *, terminal: bool, encoding: str) -> None:
        super().__init__()
        self._terminal = terminal
        self._encoding = encoding

    def isatty(self) -> bool:
        return self._terminal

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def write(self, text: str) -> int:
        # As a real stream does it: what the encoding does not have is an error.
        text.encode(self._encoding)
        return super().write(text)


def console(
    width: int = 80,
    *,
    terminal: bool = True,
    color: bool = False,
    encoding: str = "utf-8",
    height: int = 25,
    term: str = "xterm",
) -> Console:
    """Return a console whose output `written` returns."""
    return Console(
        file=Stream(terminal=terminal, encoding=encoding),
        width=width,
        height=height,
        force_terminal=terminal,
        color_system="standard" if color else None,
        legacy_windows=False,
        _environ={"TERM": term},
    )


def written(of: Console) -> str:
    file = of.file
    assert isinstance(file, Stream)
    return file.getvalue()


class Clock:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def local(count: int, **options: object) -> Topology:
    nodes = tuple(Node(f"127.0.0.1:{7001 + index}", "127.0.0.1", 7001 + index) for index in range(count))
    return Topology(nodes, **options)  # type: ignore[arg-type]


def named() -> Topology:
    """Three named nodes in zones: a host name, a bus port, an announced address, IPv6."""
    return Topology(
        (
            Node("a", "redis-0.redis.svc", 6379, None, "eu-1a"),
            Node("b", "10.0.0.2", 6379, 17000, "eu-1b"),
            Node("c", "::1", 6379, None, "eu-1c", announce=Announce("203.0.113.7", 30001, 40001)),
        )
    )


def valid(topology: Topology) -> Validated:
    placement = place(topology)
    return Validated(topology, placement, plan(topology, placement))


def node_rows(topology: Topology, missing: dict[str, Sequence[str]] | None = None) -> tuple[NodeRow, ...]:
    """Rows as planned; `missing` says whom a node does not see; a node that misses itself did not answer."""
    missing = missing or {}
    spots = place(topology).spots
    rows = []
    for node in topology.nodes:
        name, spot = node.name, spots[node.name]
        unseen = tuple(missing.get(name, ()))
        by = tuple(other for other, found in missing.items() if name in found and other != name)
        if name in unseen:
            rows.append(NodeRow(name, node.address, None, None, None, NONE, None, "away", (), by))
            continue
        rows.append(
            NodeRow(
                name,
                node.address,
                f"{len(rows):040x}",
                spot.role,
                spot.primary,
                spot.slots,
                "valkey 9.1.2",
                "fail" if unseen else "ok",
                unseen,
                by,
            )
        )
    return tuple(rows)


def verdict(
    topology: Topology, missing: dict[str, Sequence[str]] | None = None, reasons: Sequence[Problem] = ()
) -> Verdict:
    missing = missing or {}
    count = len(topology.nodes)
    nodes = {
        node.name: NodeHealth(unseen=tuple(missing.get(node.name, ())), state_ok=not missing.get(node.name))
        for node in topology.nodes
        if node.name not in missing.get(node.name, ())
    }
    links = sum(count - 1 - len(health.unseen) for health in nodes.values())
    ready = not missing
    return Verdict(ready, ready, nodes, links, count * (count - 1), ALL, tuple(reasons))


NOT_SEEN = {
    "127.0.0.1:7001": ("127.0.0.1:7003", "127.0.0.1:7005"),
    "127.0.0.1:7002": ("127.0.0.1:7003",),
    "127.0.0.1:7003": ("127.0.0.1:7003",),
}
REASONS = (
    Problem(
        "unreachable",
        "127.0.0.1:7003 cannot be reached: connection refused.",
        node="127.0.0.1:7003",
        hint="start it, or start local servers with --spawn",
        exit=Exit.NODE,
    ),
    Problem(
        "not-seen",
        "127.0.0.1:7001 does not see 127.0.0.1:7003, 127.0.0.1:7005.",
        node="127.0.0.1:7001",
        exit=Exit.NOT_READY,
    ),
)


def broken() -> StatusResult:
    topology = local(6, replicas=1)
    return StatusResult(topology, verdict(topology, NOT_SEEN, REASONS), node_rows(topology, NOT_SEEN))


def formed(topology: Topology | None = None) -> UpResult:
    """A run that formed the cluster, with one MEET repaired, two extra ones, and a boost."""
    topology = topology or local(6, replicas=1)
    result = valid(topology)
    steps = [Done(step) for step in result.plan.steps]
    steps += [Done(result.plan.meets[0], again=True)]
    steps += [Done(meet, extra=True) for meet in result.plan.meets[1:3]]
    return UpResult(
        topology,
        result.placement,
        result.plan,
        verdict(topology),
        node_rows(topology),
        tuple(steps),
        BoostReport(True, {"cluster-node-timeout": "700", "repl-diskless-sync-delay": "0"}, 6, 6),
        0.84,
    )


def screen(output: str, width: int, height: int = 25) -> tuple[list[str], bool]:
    """Return the lines that a terminal shows after `output`, scrolled-off ones included, and its cursor.

    Knows what rich's Live writes: carriage return, line feed, cursor up, erase line, show and hide.
    """
    rows: list[list[str]] = [[]]
    x = y = 0
    shown = True
    for token in re.findall(r"\x1b\[[?\d;]*[A-Za-z]|[^\x1b]", output):
        if token == "\n":
            x, y = 0, y + 1
        elif token == "\r":
            x = 0
        elif token.startswith("\x1b"):
            kind, number = token[-1], token[2:-1]
            if kind == "A":
                y = max(0, len(rows) - height, y - int(number or 1))
            elif kind == "K":
                rows[y] = []
            elif kind in "hl" and number == "?25":
                shown = kind == "h"
            else:
                assert kind == "m", f"an unexpected sequence {token!r}"
        else:
            if x == width:
                x, y = 0, y + 1
            while y >= len(rows):
                rows.append([])
            row = rows[y]
            row += [" "] * (x + 1 - len(row))
            row[x] = token
            x += 1
        while y >= len(rows):
            rows.append([])
    lines = ["".join(row).rstrip() for row in rows]
    while lines and not lines[-1]:
        lines.pop()
    return lines, shown
