"""Every kind of step has a word, a text and a JSON form."""

from __future__ import annotations

import dataclasses
import json as standard
import re
import typing
from pathlib import Path

import pytest

from clusterboot.core.plan import Plan
from clusterboot.core.results import Transfer, UpResult
from clusterboot.core.steps import AddSlots, Failover, MoveSlots, SetEpoch, Step
from clusterboot.render import json, plan_text, text, words
from clusterboot.render.page import Page
from clusterboot.slots import Slots
from tests.render.moving import LOST, D, dry, grown, steps
from tests.render.paper import console, written

KINDS = {kind.kind: kind for kind in typing.get_args(Step)}
ONE_EACH = {
    step.kind: step for step in (*steps(grown()), SetEpoch("a", 1), AddSlots("a", Slots.of([(0, 99)])))
}
DOC = (Path(__file__).parents[2] / "docs" / "json.md").read_text()


def drawn(*found: Step, width: int = 80, big: bool = False) -> str:
    to = console(width)
    page = Page(to)
    plan_text.steps(page, Plan(found, 1), big=big)
    page.print()
    return written(to)


def test_every_kind_has_a_word_and_the_sample_has_every_kind() -> None:
    assert set(words.STEPS) == set(KINDS) == set(ONE_EACH)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_text_that_names_its_nodes(kind: str) -> None:
    step = ONE_EACH[kind]
    shown = drawn(step)
    assert re.search(rf"^  1 {re.escape(words.STEPS[kind])}\b", shown, re.MULTILINE)
    for name in ("node", "peer", "primary"):
        assert words.node(getattr(step, name, step.node)) in shown
    assert words.steps([step]) == f"1 {words.STEPS[kind]}"


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_json_form_which_is_documented(kind: str) -> None:
    form = json.step(ONE_EACH[kind])
    assert form["kind"] == kind
    assert list(form) == ["kind", *(field.name for field in dataclasses.fields(KINDS[kind]))]
    section = DOC.partition("\n## Steps\n")[2].partition("\n## ")[0]
    row = re.search(rf"^\| `{kind}` \| ([^|]*) \|", section, re.MULTILINE)
    assert row
    assert re.findall("`([a-z_]+)`", row[1]) == list(form)[1:]
    (block,) = re.findall(r"```json\n(.*?)```", section, re.DOTALL)
    (example,) = (each for each in standard.loads(block) if each["kind"] == kind)
    assert list(example) == list(form)
    assert [type(value) for value in example.values()] == [type(value) for value in form.values()]


@pytest.mark.parametrize("width", [40, 80])
def test_who_forgets_a_node_is_counted_where_they_are_many(width: int) -> None:
    topology = grown(30)
    lines = drawn(*steps(topology), width=width).splitlines()
    start = lines.index("  32 FORGETs")
    assert lines[start + 1] == f"    {D} on 30 nodes"
    assert " ".join(" ".join(lines[start + 2 : start + 4]).split()).startswith(
        f"{LOST[:8]}… on 127.0.0.1:7001, 127.0.0.1:7002"
    )


def test_a_move_that_was_not_measured_is_shown_without_keys() -> None:
    moves = [step for step in steps(grown()) if step.kind == "slots-move"]
    shown = drawn(*moves)
    assert "4 slot moves: 3,280 slots\n" in shown
    assert "keys" not in shown


def moved_lines(result: UpResult) -> list[str]:
    to = console(1000)
    text.up(to, result)
    return written(to).splitlines()


def test_a_dry_run_shows_the_shares_after_the_moves() -> None:
    result = dry()
    after = {name: len(spot.slots) for name, spot in result.target.spots.items() if spot.slots}
    for each in result.transfers:
        after[each.step.node] = after.get(each.step.node, 0) - len(each.step.slots)
        after[each.step.peer] += len(each.step.slots)
    lines = moved_lines(result)
    assert lines[2].endswith("share after")
    for name, size in after.items():
        (line,) = [line for line in lines[:20] if line.startswith(f"  {name} ")]
        assert (f"{size:,} (" in line) == (size > 0)


def test_steps_are_counted_once_whether_or_not_the_plan_has_the_moves() -> None:
    result = dry()
    bare = dry()
    plan = Plan(tuple(step for step in bare.plan.steps if step.kind != "slots-move"), 1)
    object.__setattr__(bare, "plan", plan)
    assert moved_lines(bare) == moved_lines(result)


@pytest.mark.parametrize("width", [40, 80, 100])
@pytest.mark.parametrize("host", ["10.0.0.{}", "redis-cluster-{}.redis.production.svc.cluster.local"])
def test_no_name_is_cut_in_a_table_of_moves_and_failovers(host: str, width: int) -> None:
    nodes = [f"{host.format(number)}:6379" for number in range(4)]
    moves = [MoveSlots(nodes[0], peer, Slots.of([(0, 1999)])) for peer in nodes[1:]]
    found = [Transfer(move, 1_234_567, "atomic") for move in moves]
    to = console(width)
    page = Page(to)
    plan_text.steps(page, Plan((Failover(nodes[2], nodes[3]), *moves), 1), found, big=False)
    page.print()
    shown = written(to)
    assert "…" not in shown
    assert shown.count(nodes[0]) == 3
    assert shown.count(nodes[3]) == 2
    for word in ("2,000", "1,234,567", "atomic"):
        assert shown.count(word) == 3
