"""Every screen as a whole on 80 columns; other widths, ASCII, colour and pipes by what holds for all screens.

The expected screens are in tests/render/golden; CLUSTERBOOT_GOLDEN=write writes them anew: review the diff.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import Console

from clusterboot.core.plan import Plan
from clusterboot.core.results import (
    BoostReport,
    ClusterRow,
    DownResult,
    LsResult,
    ServerRow,
    StatusResult,
    UpResult,
)
from clusterboot.core.steps import SetEpoch
from clusterboot.errors import Exit, Problem
from clusterboot.render import json, plan_text, problems, text
from clusterboot.slots import Slots
from clusterboot.topology import Node, Topology
from tests.render import moving
from tests.render.paper import (
    GOLDEN,
    NOT_SEEN,
    REASONS,
    broken,
    console,
    formed,
    local,
    named,
    node_rows,
    valid,
    verdict,
    written,
)

PROBLEMS = (
    Problem(
        "topology-unknown-key",
        "unknown key 'prot', did you mean 'port'?",
        file="topologies/orders.yaml",
        line=7,
        column=5,
        exit=Exit.USAGE,
    ),
    Problem(
        "topology-replicas",
        "replicas is 7, but 6 nodes have room for at most 5.",
        hint="add nodes, or ask for fewer replicas",
        file="topologies/orders.yaml",
        line=12,
        exit=Exit.USAGE,
    ),
    Problem(
        "unreachable",
        "redis-0.redis-headless.orders.svc.cluster.local:6379 cannot be reached: connection refused.",
        hint="start it, or start local servers with --spawn",
        exit=Exit.NODE,
    ),
    Problem(
        "unreachable",
        "redis-1.redis-headless.orders.svc.cluster.local:6379 cannot be reached: connection refused.",
        hint="start it, or start local servers with --spawn",
        exit=Exit.NODE,
    ),
    Problem(
        "server-died",
        "the server on port 7001 ended at once; the last lines of its log:\nfatal: no room\nbye",
        exit=Exit.NODE,
    ),
)


def unlucky() -> UpResult:
    """An `up` that ran out of time and could not restore all timers."""
    result = formed()
    boost = BoostReport(True, {"cluster-node-timeout": "700"}, 6, 5, "127.0.0.1:7003 does not answer")
    return replace(
        result,
        verdict=verdict(result.topology, NOT_SEEN, REASONS),
        nodes=node_rows(result.topology, NOT_SEEN),
        boost=boost,
        seconds=60.04,
    )


def dry() -> UpResult:
    topology = local(6, replicas=1)
    result = valid(topology)
    steps = tuple(step for step in result.plan.steps if not isinstance(step, SetEpoch))[3:]
    return replace(
        formed(),
        plan=Plan(steps, 6),
        verdict=verdict(topology, NOT_SEEN),
        steps=(),
        boost=None,
        dry_run=True,
    )


def many(count: int, dead: int) -> StatusResult:
    """A big cluster in which one node is dead and no node sees it."""
    topology = local(count, replicas=1)
    gone = topology.nodes[dead].name
    missing = {node.name: (gone,) for node in topology.nodes}
    reasons = tuple(
        Problem("not-seen", f"{name} does not see {gone}.", node=name, peer=gone, exit=Exit.NOT_READY)
        for name in missing
        if name != gone
    )
    return StatusResult(topology, verdict(topology, missing, reasons), node_rows(topology, missing))


CLUSTERS = LsResult(
    (
        ClusterRow(
            "local",
            "/srv/topologies/local.yaml",
            "valkey 9.1.2",
            tuple(ServerRow(f"127.0.0.1:{port}", port, True) for port in range(7001, 7007)),
        ),
        ClusterRow("orders", "orders.yaml", None, (ServerRow("a:1", 1, True), ServerRow("b:2", None, False))),
        ClusterRow("old", None, None, (ServerRow("127.0.0.1:7001", None, False),)),
    )
)

SCREENS: dict[str, Callable[[Console], None]] = {
    "validate": lambda to: text.validated(to, valid(local(6, replicas=1)), "topologies/local.yaml"),
    "plan-star": lambda to: plan_text.plan(to, valid(local(6, replicas=1))),
    "plan-chain": lambda to: plan_text.plan(to, valid(local(6, replicas=1, strategy="chain"))),
    "plan-zones": lambda to: plan_text.plan(to, valid(named())),
    "plan-mesh": lambda to: plan_text.plan(to, valid(local(3, slots="none"))),
    "plan-one": lambda to: plan_text.plan(to, valid(local(1))),
    "plan-big": lambda to: plan_text.plan(to, valid(local(60, replicas=1))),
    "up": lambda to: text.up(to, formed()),
    "up-big": lambda to: text.up(to, formed(local(60, replicas=1))),
    "up-already": lambda to: text.up(to, replace(formed(), steps=(), boost=None)),
    "up-mesh": lambda to: text.up(to, replace(formed(local(3, slots="none")), boost=None)),
    "up-meet-only": lambda to: text.up(to, replace(formed(), mesh_only=True, boost=None)),
    "up-out-of-time": lambda to: text.up(to, unlucky()),
    "up-rebalance": lambda to: text.up(to, moving.rebalanced()),
    "dry-run-rebalance": lambda to: text.up(to, moving.dry()),
    "dry-run-rebalance-big": lambda to: text.up(to, moving.dry(40)),
    "plan-retire": lambda to: plan_text.plan(to, valid(moving.grown())),
    "dry-run": lambda to: text.up(to, dry()),
    "dry-run-ready": lambda to: text.up(
        to, replace(formed(), plan=Plan((), 1), steps=(), boost=None, dry_run=True)
    ),
    "status": lambda to: text.status(
        to, StatusResult(local(6, replicas=1), verdict(local(6)), node_rows(local(6, replicas=1)))
    ),
    "status-broken": lambda to: text.status(to, broken()),
    "status-32": lambda to: text.status(to, many(32, 3)),
    "status-big": lambda to: text.status(to, many(36, 3)),
    "down": lambda to: text.down(to, DownResult(("a", "b"), ("c",), ("d",), ("e", "f"))),
    "down-left": lambda to: text.down(to, DownResult(left=("a", "b"))),
    "down-nothing": lambda to: text.down(to, DownResult()),
    "ls": lambda to: text.ls(to, CLUSTERS),
    "ls-empty": lambda to: text.ls(to, LsResult(())),
    "errors": lambda to: problems.errors(to, PROBLEMS),
    "warnings": lambda to: problems.warnings(to, valid(local(2)).placement.warnings),
}


def shown(name: str, to: Console) -> str:
    SCREENS[name](to)
    return written(to)


@pytest.mark.parametrize("name", SCREENS)
def test_screen(name: str) -> None:
    path = GOLDEN / f"{name}.txt"
    found = shown(name, console(80))
    if os.environ.get("CLUSTERBOOT_GOLDEN") == "write":
        path.write_text(found, encoding="utf-8")
    assert found == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", SCREENS)
def test_colour_adds_only_escapes(name: str) -> None:
    coloured = shown(name, console(80, color=True))
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == shown(name, console(80))
    assert "\x1b" not in shown(name, console(80))


@pytest.mark.parametrize("name", SCREENS)
def test_ascii_takes_the_same_lines_as_unicode(name: str) -> None:
    plain, drawn = shown(name, console(80, encoding="ascii")), shown(name, console(80))
    assert plain.isascii()
    for ascii_line, line in zip(plain.splitlines(), drawn.splitlines(), strict=True):
        assert len(ascii_line) == len(line) or "…" in line


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("width", [160, 80, 60, 40])
@pytest.mark.parametrize("name", SCREENS)
def test_fits_its_terminal(name: str, width: int, encoding: str) -> None:
    for line in shown(name, console(width, encoding=encoding)).splitlines():
        # A name that is longer than the terminal is not cut.
        assert cell_len(line) <= width or "svc.cluster.local" in line, line


@pytest.mark.parametrize("name", SCREENS)
def test_a_pipe_gets_whole_lines(name: str) -> None:
    pipe, wide = console(40, terminal=False), console(1000, height=1000)
    SCREENS[name](pipe)
    SCREENS[name](wide)
    assert written(pipe) == written(wide)


def test_big_fragmented_slots_are_summed_up() -> None:
    topology = local(1)
    rows = (replace(node_rows(topology)[0], slots=Slots.of((n, n) for n in range(0, 16000, 2))),)
    to = console(80)
    text.status(to, StatusResult(topology, verdict(topology), rows))
    assert "0,2,… (8000 in 8000 ranges)" in written(to)


def test_hundreds_of_errors_alike_become_a_few() -> None:
    found = [Problem("unreachable", f"n{index} cannot be reached.", hint="start it") for index in range(500)]
    to = console(80)
    problems.errors(to, [*found, Problem("other", "and this.")])
    lines = written(to).splitlines()
    assert lines[problems.MAX_ALIKE - 1 :] == [
        "error: n9 cannot be reached.",
        "error: and 490 more like these; -o json lists all",
        "  → start it",
        "error: and this.",
    ]


def test_every_problem_of_a_file_is_shown() -> None:
    found = [Problem("x", "wrong.", file="t.yaml", line=index, column=1) for index in range(1, 301)]
    to = console(80)
    problems.errors(to, found)
    assert written(to).splitlines() == [f"t.yaml:{index}:1: wrong." for index in range(1, 301)]


def test_names_in_errors_are_never_cut() -> None:
    name = "redis-0." + "very-long-name." * 16 + "svc:6379"
    to = console(40)
    problems.errors(to, [Problem("x", f"{name} cannot be reached.", hint=f"start {name}")])
    assert written(to).count(name) == 2


def test_long_names_lose_their_middle_in_tables_only_where_they_do_not_fit() -> None:
    nodes = tuple(Node(f"redis-{n}.redis-headless.orders.svc.cluster.local:6379", "h", n) for n in (1, 2))
    topology = Topology(nodes, replicas=1)
    narrow, wide = console(40), console(120)
    for to in (narrow, wide):
        text.status(to, StatusResult(topology, verdict(topology), node_rows(topology)))
    assert "redis-1.redis-…al:6379  0-16383  ok" in written(narrow)
    assert nodes[0].name in written(wide)


def service(number: int = 6) -> Topology:
    """Nodes with the long names of a Kubernetes service; the addresses are the names."""
    hosts = (f"redis-cluster-{n}.redis-cluster-headless.production.svc.cluster.local" for n in range(number))
    return Topology(tuple(Node(f"{host}:6379", host, 6379) for host in hosts), replicas=1)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("width", [40, 80, 89, 90, 91, 100])
def test_who_sees_whom_fits_its_terminal_with_long_names(width: int, encoding: str) -> None:
    topology = service()
    missing = {topology.nodes[0].name: (topology.nodes[1].name,)}
    to = console(width, encoding=encoding)
    text.status(to, StatusResult(topology, verdict(topology, missing), node_rows(topology, missing)))
    lines = written(to).splitlines()
    assert max(cell_len(line) for line in lines) <= width
    assert [line[-11:] for line in lines[-7:-5]] == [
        "1 2 3 4 5 6",
        ("– ✗ · · · ·", "- x . . . .")[encoding == "ascii"],
    ]
    assert (topology.nodes[5].name in lines[-1]) == (width >= 90)
    assert ("redis-cluster-5" if width >= 80 else "redis-c") in lines[-1]
    assert ":6379" in lines[-1]


@pytest.mark.parametrize("width", [40, 60, 80])
def test_names_that_differ_at_their_end_do_not_look_alike(width: int) -> None:
    names = [f"orders-production-eu-central-1-redis-cluster-node-{n}" for n in range(6)]
    topology = Topology(tuple(Node(name, f"10.0.0.{n}", 6379) for n, name in enumerate(names)), replicas=1)
    to = console(width)
    text.status(to, StatusResult(topology, verdict(topology), node_rows(topology)))
    assert all(f"de-{n} " in written(to) for n in range(6))


@pytest.mark.parametrize(
    ("binary", "shown"),
    [
        ("Redis 7.0.15", "redis 7.0.15"),
        ("Valkey 9.1.2", "valkey 9.1.2"),
        ("valkey 9.1.2", "valkey 9.1.2"),
        ("/opt/Redis 7/redis-server", "/opt/Redis 7/redis-server"),
    ],
)
def test_ls_tells_the_server_as_status_does(binary: str, shown: str) -> None:
    found = LsResult((ClusterRow("local", None, binary, (ServerRow("a:1", 1, True),)),))
    to = console(80)
    text.ls(to, found)
    assert f"server  {shown}\n" in written(to)
    assert json.ls(found)["clusters"][0]["version"] == shown


def silent(count: int) -> StatusResult:
    """A cluster of which no node answers."""
    topology = local(count)
    missing = {node.name: (node.name,) for node in topology.nodes}
    reasons = tuple(
        Problem(
            "unreachable", f"{name} cannot be reached: refused.", node=name, hint="start it", exit=Exit.NODE
        )
        for name in missing
    )
    return StatusResult(topology, verdict(topology, missing, reasons), node_rows(topology, missing))


@pytest.mark.parametrize(("count", "more"), [(6, 0), (11, 0), (12, 2), (40, 30)])
def test_reasons_that_share_a_hint_show_it_once_below_the_last(count: int, more: int) -> None:
    to = console(80)
    text.status(to, silent(count))
    lines = written(to).splitlines()
    assert lines[1:3] == [f"  · 127.0.0.1:{port} cannot be reached: refused." for port in (7001, 7002)]
    end = lines.index("    → start it")
    last = f"  · and {more} more like these; -o json lists all" if more else lines[count]
    assert lines.count(lines[end]) == 1
    assert lines[end - 1] == last
    assert end == (problems.MAX_ALIKE + 2 if more else count + 1)


def test_hints_that_differ_stand_below_their_reasons() -> None:
    reasons = tuple(Problem("x", f"{n}.", hint=f"repair {n // 2}") for n in range(4))
    to = console(80)
    text.status(to, StatusResult(local(1), verdict(local(1), {"127.0.0.1:7001": ()}, reasons), ()))
    assert [line.strip() for line in written(to).splitlines()[1:7]] == [
        *("· 0.", "· 1.", "→ repair 0"),
        *("· 2.", "· 3.", "→ repair 1"),
    ]


def test_who_sees_whom_is_not_shown_where_no_node_answers() -> None:
    to = console(80)
    text.status(to, silent(6))
    assert "who" not in written(to)
    assert written(to).count("away") == 6


def test_of_a_primary_that_is_only_known_by_its_id_the_first_digits_are_shown() -> None:
    topology = local(2)
    rows = list(node_rows(topology))
    rows[1] = replace(rows[1], role="replica", primary="cb0d4aa4" * 5)
    for encoding, shown in (("utf-8", "replica of cb0d4aa4…  "), ("ascii", "replica of cb0d4aa4...  ")):
        to = console(80, encoding=encoding)
        text.status(to, StatusResult(topology, verdict(topology), tuple(rows)))
        assert shown in written(to)


def test_the_names_of_a_replicate_go_below_each_other_where_both_do_not_fit() -> None:
    topology = service()
    replica, primary = topology.nodes[3].name, topology.nodes[0].name
    apart, together = [f"    {replica}", f"      of {primary}"], [f"    {replica}  of {primary}"]
    enough = len(together[0])
    for width, shown in ((40, apart), (80, apart), (enough - 1, apart), (enough, together)):
        to = console(width)
        plan_text.plan(to, valid(topology))
        lines = written(to).splitlines()
        start = lines.index("  3 REPLICATEs") + 1
        assert lines[start : start + len(shown)] == shown


def test_the_verdict_stands_below_a_table_that_scrolls_it_away_too() -> None:
    result = many(32, 3)
    low, high, pipe = console(80, height=25), console(80, height=200), console(80, terminal=False)
    for to in (low, high, pipe):
        text.status(to, result)
    first = "✗ Not Ready: 32 nodes, 31 reasons; 930 of 992 links"
    assert written(low).splitlines()[0] == first
    assert written(low).splitlines()[-2:] == ["", first]
    assert written(high).count(first) == written(pipe).count(first) == 1


def test_wide_characters_keep_columns_in_line() -> None:
    topology = Topology((Node("数据库", "h", 1), Node("ab", "h", 2)))
    to = console(80)
    plan_text.plan(to, valid(topology))
    table = [line for line in written(to).splitlines() if "primary  " in line]
    assert len({cell_len(line[: line.index("primary")]) for line in table}) == 1
