"""A run on a terminal draws a small screen and leaves one line; elsewhere it is a few plain lines."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from clusterboot.core.events import Done, Event, Looked, Moved, Note, Phase, Planned, Warned
from clusterboot.core.placement import Placement
from clusterboot.core.plan import Plan
from clusterboot.core.verdict import NodeHealth, Verdict
from clusterboot.errors import NodeFailed, Problem
from clusterboot.render import live
from clusterboot.render.reporter import RunReporter
from clusterboot.slots import ALL
from clusterboot.topology import Topology
from tests.render.moving import moving
from tests.render.paper import (
    NOT_SEEN,
    REASONS,
    Clock,
    Stream,
    broken,
    console,
    local,
    screen,
    valid,
    verdict,
    written,
)

SIX = local(6, replicas=1)
WARNING = Problem("few", "only two primaries.", hint="use three")


def partly(topology: Topology, seen: int) -> Verdict:
    """Every node sees the first `seen` of its peers."""
    names = [node.name for node in topology.nodes]
    nodes = {}
    for name in names:
        unseen = tuple(other for other in names if other != name)[seen:]
        nodes[name] = NodeHealth(unseen=unseen, state_ok=not unseen)
    total = len(names) * (len(names) - 1)
    return Verdict(False, False, nodes, len(names) * seen, total, ALL, ())


def story(topology: Topology = SIX) -> list[tuple[float, Event]]:
    """Seconds after the one before, and the event: a run with a repair, a note and a warning."""
    result = valid(topology)
    steps = result.plan.steps
    return [
        (0.0, Phase("look", f"{len(topology.nodes)} nodes")),
        (0.1, Planned(result.placement, result.plan)),
        (0.0, Warned(WARNING)),
        (0.0, Phase("meet", "5 MEETs, star around 127.0.0.1:7001")),
        *((0.0, Done(step)) for step in steps if step.kind != "replicate"),
        (0.2, Phase("mesh")),
        (0.2, Looked(partly(topology, 1))),
        (0.2, Looked(partly(topology, 2), ("127.0.0.1:7003",))),
        (0.0, Note("waiting for 127.0.0.1:7003: loading data")),
        (0.2, Note("waiting for 127.0.0.1:7003: loading data")),
        (0.2, Done(result.plan.meets[0], again=True)),
        (0.2, Looked(partly(topology, 5))),
        (0.1, Phase("replicate")),
        *((0.0, Done(step)) for step in steps if step.kind == "replicate"),
        (0.1, Phase("ready")),
        (0.4, Looked(verdict(topology))),
    ]


def tell(to: Console, events: Sequence[tuple[float, Event]], *, quiet: bool = False) -> RunReporter:
    clock = Clock()
    with live.reporter(to, quiet=quiet, clock=clock) as reporter:
        for seconds, event in events:
            clock.now += seconds
            reporter(event)
    return reporter


def test_plain_lines_without_a_terminal() -> None:
    to = console(terminal=False)
    reporter = tell(to, story())
    assert reporter.warned == [WARNING]
    assert written(to) == (
        "   0.0 s  look: 6 nodes\n"
        "   0.1 s  plan: 6 config epochs, 3 slot ranges, 5 MEETs, 3 REPLICATEs\n"
        "warning: only two primaries.\n"
        "  → use three\n"
        "   0.1 s  meet: 5 MEETs, star around 127.0.0.1:7001\n"
        "   0.3 s    6 config epochs, 3 slot ranges, 5 MEETs\n"
        "   0.3 s  wait for mesh\n"
        "   0.7 s    waiting for 127.0.0.1:7003: loading data\n"
        "   1.4 s    1 MEET sent again, 30 of 30 links, 6 of 6 nodes ready\n"
        "   1.4 s  replicate\n"
        "   1.5 s    3 REPLICATEs\n"
        "   1.5 s  wait for Ready\n"
        "   1.9 s    30 of 30 links, 6 of 6 nodes ready\n"
    )


def test_a_dumb_terminal_gets_the_same_lines() -> None:
    dumb, pipe = console(term="dumb"), console(terminal=False)
    tell(dumb, story())
    tell(pipe, story())
    assert written(dumb) == written(pipe)


def test_forced_colour_in_a_pipe_makes_no_screen() -> None:
    stream = Stream(terminal=False, encoding="utf-8")
    to = Console(file=stream, _environ={"TERM": "xterm", "FORCE_COLOR": "1"})
    tell(to, story())
    assert "\x1b[?25l" not in stream.getvalue()
    assert "look: 6 nodes" in stream.getvalue()


def test_quiet_says_nothing() -> None:
    for terminal in (True, False):
        to = console(terminal=terminal)
        tell(to, story(), quiet=True)
        assert written(to) == ""


def test_a_long_phase_tells_how_far_it_is_now_and_then() -> None:
    to = console(terminal=False)
    polls = [(0.125, Looked(partly(SIX, 1 + index // 48))) for index in range(96)]
    tell(to, [(0.0, Phase("mesh")), *polls])
    assert written(to) == (
        "   0.0 s  wait for mesh\n"
        "   5.0 s    6 of 30 links, 0 of 6 nodes ready\n"
        "  10.0 s    12 of 30 links, 0 of 6 nodes ready\n"
    )


def test_plain_lines_while_slots_move() -> None:
    to = console(terminal=False)
    tell(to, moving(12))
    assert written(to) == (
        "   0.0 s  look: 8 nodes\n"
        "   0.1 s  plan: 1 MEET, 1 REPLICATE, 1 FAILOVER, 4 slot moves, 10 FORGETs, 2 RESETs\n"
        "   0.1 s    56 of 56 links, 8 of 8 nodes ready\n"
        "   0.1 s  rebalance: 4,096 slots\n"
        "   5.1 s    1,706 of 4,096 slots, 20,833 of about 50,000 keys, 4,167 keys/s, about 7 s left\n"
        "  10.1 s    3,413 of 4,096 slots, 41,666 of about 50,000 keys, 4,167 keys/s, about 2 s left\n"
        "  12.1 s    4,096 of 4,096 slots, 50,000 keys, 4,167 keys/s\n"
        "  12.1 s  retire: 127.0.0.1:7009, 127.0.0.1:7010\n"
        "  13.3 s    10 FORGETs, 2 RESETs\n"
    )


def test_every_stage_of_a_rebalance_has_its_line() -> None:
    to = console(terminal=False)
    stages = [Phase("move", "b takes the place of a"), Phase("move", "10 slots to c"), Phase("mesh", "x")]
    reporter = tell(to, [(1.0, stages[0]), (1.0, stages[1]), (2.0, stages[2]), (1.0, Phase("mesh", "y"))])
    assert [line[10:] for line in written(to).splitlines()] == [
        "rebalance: b takes the place of a",
        "rebalance: 10 slots to c",
        "wait for mesh: x",
    ]
    assert reporter.spent() == "rebalance 3.0s · mesh 1.0s"


def frame(
    width: int, events: Sequence[tuple[float, Event]], height: int = 25, **options: bool | str
) -> list[str]:
    """Return what the terminal shows after `events`."""
    to = console(width, height=height, **options)  # type: ignore[arg-type]
    clock = Clock()
    with live.Screen(to, clock) as reporter:
        for seconds, event in events:
            clock.now += seconds
            reporter(event)
        assert reporter.live is not None
        reporter.live.refresh()
        return screen(written(to), width, height)[0]


def events_until(kind: type) -> int:
    return max(index for index, (_, event) in enumerate(story()) if isinstance(event, kind)) + 1


def test_the_screen_in_the_middle_of_a_run() -> None:
    shown = frame(80, story()[: events_until(Note) + 2])
    assert shown[2][1:] == " wait for mesh  1.3 s"
    assert shown[:2] + shown[3:] == [
        "warning: only two primaries.",
        "  → use three",
        "  links ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━ 30 of 30",
        "  nodes ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━ 6 of 6",
        "",
        "  127.0.0.1:7001  primary  sees 5/5  ready",
        "  127.0.0.1:7002  primary  sees 5/5  ready",
        "  127.0.0.1:7003  primary  sees 5/5  ready",
        "  127.0.0.1:7004  replica  sees 5/5  ready",
        "  127.0.0.1:7005  replica  sees 5/5  ready",
        "  127.0.0.1:7006  replica  sees 5/5  ready",
        "  waiting for 127.0.0.1:7003: loading data",
    ]


def test_the_screen_on_40_columns_in_ascii() -> None:
    shown = frame(40, story()[: events_until(Note) - 2], encoding="ascii")
    assert shown[2][1:] == " wait for mesh  0.7 s"
    assert shown[:2] + shown[3:] == [
        "warning: only two primaries.",
        "  > use three",
        "  links ---------               12 of 30",
        "  nodes                         0 of 6",
        "",
        "  127.0.0.1:7001  sees 2/5  joining",
        "  127.0.0.1:7002  sees 2/5  joining",
        "  127.0.0.1:7003            away",
        "  127.0.0.1:7004  sees 2/5  joining",
        "  127.0.0.1:7005  sees 2/5  joining",
        "  127.0.0.1:7006  sees 2/5  joining",
    ]


@pytest.mark.parametrize("color", [True, False])
def test_the_screen_while_slots_move(color: bool) -> None:
    shown = frame(80, moving()[:12], color=color)
    half = "━" * 20 + ("╺" + "━" * 19 if color else " " * 20)  # with colour the rest of the bar is dim
    assert shown[0][1:] == " rebalance: 4,096 slots  2.1 s"
    assert shown[1:] == [
        f"  slots {half} 2,048 of 4,096",
        "  25,000 of about 50,000 keys, 12,500 keys/s, about 2 s left",
    ]


def test_the_screen_on_40_columns_while_slots_without_keys_move() -> None:
    away = Looked(verdict(local(8)), ("127.0.0.1:7003",))
    shown = frame(40, [*moving(400, keys=0)[:104], (0.0, away)], encoding="ascii")
    assert shown[0][1:] == " rebalance: 4,096 slots  25.1 s"
    assert shown[1:] == [
        "  slots -                   256 of 4,096",
        "  10 slots/s, about 6 min left",
        "  away: 127.0.0.1:7003",
    ]


def test_an_interrupted_move_tells_how_far_it_got() -> None:
    for error, told in ((KeyboardInterrupt(), True), (NodeFailed.of("x", "no."), False)):
        to, clock = console(80), Clock()
        with suppress(KeyboardInterrupt, NodeFailed), live.reporter(to, clock=clock) as reporter:
            for seconds, event in moving()[:12]:
                clock.now += seconds
                reporter(event)
            raise error
        lines = screen(written(to), 80)[0]
        assert lines[0] == "look 0.1s · rebalance 2.0s"
        assert lines[1:] == ["2,048 of 4,096 slots moved"] * told


def test_the_screen_after_a_move_is_that_of_the_nodes_again() -> None:
    shown = frame(80, moving())
    assert shown[0][1:] == " retire: 127.0.0.1:7009, 127.0.0.1:7010  5.3 s"
    assert shown[-1] == "  10 FORGETs, 2 RESETs"
    assert shown[2].endswith("8 of 8")


def test_a_phase_under_way_never_wears_the_sign_of_the_verdict() -> None:
    for end in range(1, len(story()) + 1):
        assert not any("●" in line for line in frame(80, story()[:end]))


def test_the_bar_of_nodes_does_not_go_back() -> None:
    nodes = {node.name: NodeHealth() for node in SIX.nodes}
    worse = Verdict(False, False, dict.fromkeys(nodes, NodeHealth(stale=("a",))), 30, 30, ALL, ())
    better = Verdict(True, True, nodes, 30, 30, ALL, ())
    shown = frame(80, [*story()[:2], (0.1, Looked(better)), (0.1, Looked(worse))])
    assert shown[2].endswith(" 6 of 6")
    assert [line.split()[-2:] for line in shown[4:]] == [["learning", "roles"]] * 6


@pytest.mark.parametrize(("count", "height"), [(17, 25), (6, 12)])
def test_without_room_for_all_nodes_those_that_are_not_ready_are_named(count: int, height: int) -> None:
    topology = local(count)
    first, *_, last = (node.name for node in topology.nodes)
    found = verdict(topology, {first: [last], last: [last]})
    events = [*story(topology)[:2], (0.1, Looked(found, (last,)))]
    shown = frame(80, events, height)
    assert shown[2].endswith(f" {count - 2} of {count}")
    assert shown[3:] == [f"  joining: {first}", f"  away: {last}"]


def test_the_clock_goes_on_while_no_event_comes() -> None:
    to = console(80)
    clock = Clock()
    with live.Screen(to, clock) as reporter:
        reporter(Phase("look"))
        clock.now += 42.0
        deadline = time.monotonic() + 30
        while "42.0 s" not in written(to):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_narrower_window_erases_the_rows_that_it_wrapped() -> None:
    to = console(80)
    clock = Clock()
    with live.Screen(to, clock) as reporter:
        for _, event in story()[: events_until(Note)]:
            reporter(event)
        assert reporter.live is not None
        reporter.live.auto_refresh = False
        reporter.live.refresh()
        drawn = screen(written(to), 80)[0][2:]
        before = written(to)
        to.width = 30
        reporter.live.refresh()
    lines = sum(-(-len(line) // 30) or 1 for line in drawn)
    # Up from the last row to the first one, wrapped rows included.
    redrawn = written(to)[len(before) :].partition("wait for mesh")[0]
    assert redrawn.count("\x1b[1A") == lines - 1


@pytest.mark.parametrize("color", [True, False])
@pytest.mark.parametrize("width", [80, 40])
def test_a_finished_run_leaves_one_line_with_its_times(width: int, color: bool) -> None:
    to = console(width, color=color)
    reporter = tell(to, story())
    lines, cursor = screen(written(to), width)
    assert lines[:2] == ["warning: only two primaries.", "  → use three"]
    assert " ".join(lines[2:]) == "look 0.1s · meet 0.2s · mesh 1.1s · replicate 0.1s · Ready 0.4s"
    assert cursor
    assert reporter.warned == [WARNING]


def test_phases_that_took_no_time_are_left_out() -> None:
    to = console(80)
    tell(to, [(0.0, Phase("look")), (0.04, Phase("meet")), (0.3, Phase("ready")), (0.0, Phase("meet"))])
    assert screen(written(to), 80)[0] == ["meet 0.3s"]


@pytest.mark.parametrize("height", [5, 10, 25])
def test_an_interrupted_run_leaves_a_clean_screen(height: int) -> None:
    for end in range(len(story()) + 1):
        to = console(80, height=height)
        clock = Clock()
        with suppress(KeyboardInterrupt), live.reporter(to, clock=clock) as reporter:
            for seconds, event in story()[:end]:
                clock.now += seconds
                reporter(event)
            raise KeyboardInterrupt
        lines, cursor = screen(written(to), 80, height)
        assert cursor
        assert not [line for line in lines if "wait for" in line or line.startswith(("  links", "  127"))]


def test_an_event_draws_nothing_itself() -> None:
    to = console(80)
    began = time.monotonic()
    polls: list[tuple[float, Event]] = [(0.001, Looked(partly(SIX, index % 5))) for index in range(2000)]
    tell(to, [(0.0, Phase("mesh")), *polls])
    assert written(to).count("wait for mesh") <= (time.monotonic() - began) * live.FRAMES + 3


class Closed(io.StringIO):
    """A stream whose reader has gone."""

    def __init__(self, *, terminal: bool, error: type[Exception]) -> None:
        super().__init__()
        self._terminal = terminal
        self._error = error

    def isatty(self) -> bool:
        return self._terminal

    def write(self, text: str) -> int:
        raise self._error


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("error", [OSError, ValueError])
def test_a_stream_that_is_gone_does_not_end_the_run(terminal: bool, error: type[Exception]) -> None:
    stream = Closed(terminal=terminal, error=error)
    to = Console(file=stream, force_terminal=terminal, width=80, height=25, _environ={"TERM": "xterm"})
    tell(to, story())


names = st.sampled_from([*(node.name for node in SIX.nodes), "", "x\x1b[31m\n", "\ud800"])
healths = st.builds(
    NodeHealth,
    unseen=st.lists(names, max_size=3).map(tuple),
    strangers=st.lists(names, max_size=2).map(tuple),
    stale=st.lists(names, max_size=2).map(tuple),
    state_ok=st.booleans(),
    in_sync=st.booleans(),
)
verdicts = st.builds(
    Verdict,
    st.booleans(),
    st.booleans(),
    st.dictionaries(names, healths, max_size=6),
    st.integers(0, 40),
    st.integers(0, 30),
    st.just(ALL),
    st.just(()),
)
whole = valid(SIX)
amounts = st.integers(0, 16384)
events = st.one_of(
    st.builds(
        Phase,
        st.sampled_from(
            [
                *("look", "lower", "meet", "mesh", "replicate", "ready", "restore", "move", "retire", "down"),
                "new",
            ]
        ),
        names,
    ),
    st.sampled_from(
        [
            Planned(whole.placement, whole.plan),
            Planned(Placement({}), Plan((), 0)),
            Planned(valid(local(40)).placement, valid(local(40)).plan),
        ]
    ),
    st.builds(Done, st.sampled_from(whole.plan.steps), st.booleans(), st.booleans()),
    st.builds(Looked, verdicts, st.lists(names, max_size=3).map(tuple)),
    st.builds(Warned, st.builds(Problem, names, names, hint=st.none() | names)),
    st.builds(Note, names),
    st.builds(Moved, amounts, amounts, amounts, amounts, st.floats(0, 1e6)),
)


@given(
    st.lists(st.tuples(st.floats(0, 20), events), max_size=25),
    st.sampled_from([80, 40, 10, 1]),
    st.booleans(),
    st.sampled_from(["utf-8", "ascii", "cp1252"]),
)
@settings(max_examples=150, derandomize=True, deadline=None)
def test_no_order_of_events_makes_it_raise(
    told: list[tuple[float, Event]], width: int, terminal: bool, encoding: str
) -> None:
    tell(console(width, terminal=terminal, encoding=encoding), told)


def test_watch_redraws_in_place_on_a_terminal() -> None:
    to = console(80, height=40)
    result = broken()
    good = replace(result, verdict=verdict(SIX), nodes=tuple(replace(row, unseen=()) for row in result.nodes))
    clock = Clock()
    with live.watch(to, 1.0, clock) as show:
        show(good)
        show(result)
        show(good)
        clock.now += 7
    lines, cursor = screen(written(to), 80, 40)
    assert lines[0] == "every 1 s, last look 7 s ago"
    assert lines[1].startswith("● Ready")
    assert sum("Ready" in line for line in lines) == 1
    assert cursor


def test_watch_shows_that_the_first_look_takes_its_time() -> None:
    to, clock = console(80, height=40), Clock()
    with live.watch(to, 1.0, clock):
        clock.now += 4
    assert screen(written(to), 80, 40)[0][0] == "every 1 s, first look for 4 s"


def test_watch_prints_only_what_changed_elsewhere() -> None:
    to = console(terminal=False)
    result = broken()
    with live.watch(to, 1.0) as show:
        for _ in range(3):
            show(result)
        show(replace(result, verdict=verdict(SIX, NOT_SEEN, REASONS[:1])))
    assert written(to).count("Not Ready") == 2
