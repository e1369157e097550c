"""Text from files and from the network never reaches a terminal as it is."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from clusterboot.core.events import Looked, Note, Phase, Planned, Warned
from clusterboot.core.results import (
    BoostReport,
    ClusterRow,
    DownResult,
    LsResult,
    NodeRow,
    ServerRow,
    StatusResult,
)
from clusterboot.core.verdict import Verdict
from clusterboot.errors import Exit, Problem
from clusterboot.render import json, live, plan_text, problems, script, text
from clusterboot.render.page import Page
from clusterboot.render.safe import clean
from clusterboot.slots import ALL
from clusterboot.topology import Node, Topology
from tests.render.paper import console, formed, valid, verdict, written

HOSTILE = (
    "\x1b[2J\x1b]0;owned\x07",
    "\x9b31m",
    "a\rb\bc\x7f",
    "line\nerror: forged",
    "\u202egnp.exe\u202c\u2066x\u2069",
    "[red]markup[/red] [link=http://x]y[/link] :smile:",
    "zero\u200bwidth\ufeff\u00ad\u2060",
    "\ud800 lone \udfff",
    "e" + "\u0301" * 50,
    "\U000e0041\U000e0042tags",
    "x" * 100_000,
    "\x00\x01\x02",
    "\u2028\u2029\u0085",
    "{} %s {0} \\x1b \\",
)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("redis-0.svc:6379", "redis-0.svc:6379"),
        ("größe-数", "größe-数"),
        ("\x1b[31m", r"\x1b[31m"),
        ("a\nb\r\tc\x00", r"a\nb\r\tc\x00"),
        ("\x9b31m\x7f", r"\x9b31m\x7f"),
        ("\u202eabc", r"\u202eabc"),
        ("a\u200bb\ufeff", r"a\u200bb\ufeff"),
        ("a\u00a0b\u3000c", r"a\xa0b\u3000c"),
        ("\ud800", r"\ud800"),
        ("\U000e0041", r"\U000e0041"),
        ("e\u0301\u0301\u0301\u0301", "e\u0301\u0301\\u0301\\u0301"),
        ("[bold]x[/]", "[bold]x[/]"),
        ("", ""),
    ],
)
def test_what_is_invisible_or_active_is_spelled_out(given: str, shown: str) -> None:
    assert clean(given) == shown


def test_a_long_text_loses_its_middle() -> None:
    assert clean("a" * 50 + "b" * 50, 9) == "aaaa…bbbb"
    assert clean("a" * 10**7, 256).count("a") == 255


@given(st.text(st.characters(exclude_categories=()), max_size=200))
@settings(max_examples=300, derandomize=True, deadline=None)
def test_nothing_that_a_terminal_obeys_comes_through(given: str) -> None:
    shown = clean(given, 4000)
    assert shown.isprintable()
    shown.encode("utf-8")


def hostile_screens(evil: str) -> dict[str, Callable[[Console], None]]:
    """Every text function, with `evil` wherever a text may come from outside."""
    problem = Problem(evil, evil, evil, evil, evil, Exit.NODE)
    in_file = replace(problem, file=evil, line=1, column=1)
    other = evil + "2"
    topology = Topology(
        (Node(evil, evil, 1, 2, evil), Node(other, evil, 2, None, evil)), name=evil, replicas=1
    )
    rows = (
        NodeRow(evil, evil, evil, "primary", None, ALL, evil, evil, (other,), (other,)),
        NodeRow(other, evil, None, "replica", evil + "3", ALL, None, "away", (), (evil,)),
    )
    found = Verdict(False, False, verdict(topology).nodes, 0, 2, ALL, (problem,) * 3)
    boost = BoostReport(True, {evil: evil}, 2, 1, evil)
    up = replace(formed(topology), verdict=found, nodes=rows, boost=boost, warnings=(problem,))
    cluster = ClusterRow(evil, evil, evil, (ServerRow(evil, 1, True), ServerRow(evil, 2, False)))

    def run(to: Console) -> None:
        result = valid(topology)
        with live.reporter(to, clock=iter(range(1000)).__next__) as reporter:
            for event in (
                Phase("look", evil),
                Planned(result.placement, result.plan),
                Warned(problem),
                Note(evil),
                Looked(found, (evil,)),
                Phase("mesh", evil),
            ):
                reporter(event)

    def watch(to: Console) -> None:
        with live.watch(to, 1.0) as show:
            show(StatusResult(topology, found, rows))

    return {
        "validated": lambda to: text.validated(to, valid(topology), evil),
        "plan": lambda to: plan_text.plan(to, valid(topology)),
        "chain": lambda to: plan_text.plan(to, valid(replace(topology, strategy="chain"))),
        "up": lambda to: text.up(to, up),
        "no-boost": lambda to: text.up(to, replace(up, boost=BoostReport(False, {}, reason=evil))),
        "dry-run": lambda to: text.up(to, replace(up, dry_run=True)),
        "status": lambda to: text.status(to, StatusResult(topology, found, rows)),
        "status-big": lambda to: text.status(to, StatusResult(topology, found, rows * 20)),
        "down": lambda to: text.down(to, DownResult((evil,), (evil,), (evil,), (evil,))),
        "ls": lambda to: text.ls(to, LsResult((cluster,))),
        "errors": lambda to: problems.errors(to, [problem, in_file] * 2),
        "warnings": lambda to: problems.warnings(to, [problem, in_file] * 40),
        "run": run,
        "watch": watch,
    }


def assert_printable(shown: str) -> None:
    for char in shown:
        assert char == "\n" or char.isprintable(), f"U+{ord(char):04X} came through"


def assert_harmless(shown: str) -> None:
    assert_printable(shown)
    stacked = 0
    for char in shown:
        stacked = stacked + 1 if unicodedata.combining(char) else 0
        assert stacked <= 2
    # Nothing from outside begins a line, where it could pass for a message of clusterboot.
    assert not any(line.startswith("error: forged") for line in shown.splitlines())


@pytest.mark.parametrize("evil", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("width", [None, 80, 40])
@pytest.mark.parametrize("screen", hostile_screens("x"))
def test_hostile_text_is_harmless_on_every_screen(screen: str, width: int | None, evil: str) -> None:
    # A dumb terminal, so that nothing moves the cursor and every character can be looked at.
    to = console(width or 80, terminal=width is not None, term="dumb")
    hostile_screens(evil)[screen](to)
    assert_harmless(written(to))
    assert len(written(to)) < 1_000_000


@pytest.mark.parametrize("evil", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_fits_an_ascii_stream(evil: str) -> None:
    for show in hostile_screens(evil).values():
        to = console(80, terminal=False, encoding="ascii")
        show(to)
        assert written(to).isascii()


def test_markup_is_shown_not_interpreted() -> None:
    to = console(80, color=True)
    problems.errors(to, [Problem("x", "[red]no[/red] [link=http://x]y[/link] :smile:")])
    assert "[red]no[/red] [link=http://x]y[/link] :smile:" in written(to)


@pytest.mark.parametrize("evil", HOSTILE, ids=range(len(HOSTILE)))
def test_json_stays_valid_utf8_and_keeps_the_text(evil: str) -> None:
    import json as standard

    document = json.failure("up", [Problem("x", evil, evil, evil, evil, Exit.NODE)])
    shown = json.dumps(document)
    assert_printable(shown)
    assert standard.loads(shown.encode("utf-8"))["errors"][0]["message"] == evil


@pytest.mark.parametrize("evil", HOSTILE[:-1], ids=range(len(HOSTILE) - 1))
def test_comments_of_the_script_stay_comments(evil: str) -> None:
    topology = Topology((Node(evil, "10.0.0.1", 1), Node(evil + "2", "10.0.0.2", 2)))
    shown = script.script(topology, valid(topology).plan, evil)
    assert_harmless(shown.replace("\t", " "))
    assert shown.isascii()


@given(st.lists(st.tuples(st.text(max_size=60), st.sampled_from(["", "red", "bold"])), max_size=8))
@settings(max_examples=200, derandomize=True, deadline=None)
def test_wrapping_loses_no_word(parts: list[tuple[str, str]]) -> None:
    shown = [(clean(text), style) for text, style in parts]
    to = console(40)
    page = Page(to)
    page.line(*shown, hang=4)
    page.print()
    assert written(to).split() == "".join(text for text, _ in shown).split()
