"""What is done with slots that are half moved, case by case: a small table of views and what follows."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from clusterboot.core.open_slots import (
    Clear,
    Settlement,
    Tell,
    disputed_slots,
    marks,
    open_slots,
    settle,
)
from clusterboot.core.steps import MoveSlots
from clusterboot.core.views import View, Views, parse_nodes
from clusterboot.slots import Slots

IDS = {name: name * 40 for name in "abcdef"}


@dataclass(frozen=True)
class Node:
    """One node: what it serves and its epoch, its marks, its primary, what it lists of others.

    `lists` are slots by name where it does not list what the others say of themselves.
    """

    slots: str = ""
    epoch: int = 1
    marks: str = ""
    primary: str = ""
    lists: tuple[tuple[str, str], ...] = ()


def views(**nodes: Node) -> Views:
    """Each node's view; in marks, as in `7->b`, names stand for ids."""
    return {name: View(name, "10.0.0.1", parse_nodes(_text(name, nodes))) for name in nodes}


def _text(lister: str, nodes: dict[str, Node]) -> str:
    lines = []
    listed = dict(nodes[lister].lists)
    for name in sorted({*nodes, *listed}):
        node = nodes.get(name, Node())
        own = name == lister
        flags = ("myself," if own else "") + ("slave" if node.primary else "master")
        slots = node.slots if own or name not in listed else listed[name]
        fields = [f"{IDS[name]} 10.0.0.1:7001@17001 {flags} {IDS.get(node.primary, '-')} 0 0 {node.epoch}"]
        fields += ["connected", *slots.split()]
        if own:
            fields += [f"[{mark[:-1]}-{IDS[mark[-1]]}]" for mark in node.marks.split()]
        lines.append(" ".join(fields))
    return "\n".join(lines)


def s(text: str) -> Slots:
    return Slots.parse(text)


CASES: dict[str, tuple[Views, dict[str, dict[int, int]], Settlement]] = {
    "nothing is open": (views(a=Node("0-9"), b=Node("10-19")), {}, Settlement()),
    "both ends are marked": (
        views(a=Node("0-9", marks="7->b 8->b"), b=Node("10-19", marks="7-<a 8-<a"), c=Node("20-29")),
        {"a": {7: 3}, "b": {7: 2}},
        Settlement(moves=(MoveSlots("a", "b", s("7-8")),)),
    ),
    "only the target is marked, and nothing has moved": (
        views(a=Node("0-9"), b=Node("10-19", marks="7-<a")),
        {"a": {7: 3}},
        Settlement(clears=(Clear("b", s("7")),)),
    ),
    "only the target is marked, and has keys": (
        views(a=Node("0-9"), b=Node("10-19", marks="7-<a")),
        {"a": {7: 3}, "b": {7: 1}},
        Settlement(moves=(MoveSlots("a", "b", s("7")),)),
    ),
    "only the source is marked, and nothing has moved": (
        views(a=Node("0-9", marks="7->b"), b=Node("10-19")),
        {"a": {7: 3}},
        Settlement(clears=(Clear("a", s("7")),)),
    ),
    "only the source is marked, and the target has keys": (
        views(a=Node("0-9", marks="7->b"), b=Node("10-19")),
        {"b": {7: 3}},
        Settlement(moves=(MoveSlots("a", "b", s("7")),)),
    ),
    "the source failed over: the target still lists the dead one": (
        views(
            a=Node(primary="c"),
            b=Node("10-19", marks="7-<a", lists=(("a", "7"), ("c", "0-6 8-9"))),
            c=Node("0-9", epoch=5),
        ),
        {"b": {7: 3}, "c": {7: 1}},
        Settlement(tells=(Tell("b", IDS["c"], s("7")),), moves=(MoveSlots("c", "b", s("7")),)),
    ),
    "the source failed over before a key had moved": (
        views(
            a=Node(primary="c"),
            b=Node("10-19", marks="7-<a", lists=(("a", "7"), ("c", "0-6 8-9"))),
            c=Node("0-9", epoch=5),
        ),
        {"c": {7: 1}},
        Settlement(tells=(Tell("b", IDS["c"], s("7")),), clears=(Clear("b", s("7")),)),
    ),
    "the target failed over: its replica has the keys and no mark": (
        views(a=Node("0-9", marks="7->b"), b=Node(primary="c"), c=Node("10-19", epoch=5)),
        {"a": {7: 1}, "c": {7: 3}},
        Settlement(moves=(MoveSlots("a", "c", s("7")),)),
    ),
    "the target failed over before a key had moved": (
        views(a=Node("0-9", marks="7->b"), b=Node(primary="c"), c=Node("10-19", epoch=5)),
        {"a": {7: 1}},
        Settlement(clears=(Clear("a", s("7")),)),
    ),
    "the target is a stranger by now, but a primary has the keys": (
        views(a=Node("0-9", marks="7->f"), c=Node("10-19", epoch=5)),
        {"a": {7: 1}, "c": {7: 3}},
        Settlement(moves=(MoveSlots("a", "c", s("7")),)),
    ),
    "the target serves the slot, and the others have not heard": (
        views(
            a=Node("0-9", marks="7->b", lists=(("b", "10-19"),)),
            b=Node("7 10-19", epoch=5, lists=(("a", "0-6 8-9"),)),
            c=Node("20-29", lists=(("a", "0-9"), ("b", "10-19"))),
        ),
        {"b": {7: 3}},
        Settlement(tells=(Tell("a", IDS["b"], s("7")), Tell("c", IDS["b"], s("7")))),
    ),
    "the owner still has its mark as a target": (
        views(a=Node("0-6"), b=Node("7 10-19", epoch=5, marks="7-<a")),
        {"b": {7: 3}},
        Settlement(clears=(Clear("b", s("7")),)),
    ),
    "a source has its mark, and gave the slot away": (
        views(a=Node("0-6", marks="7->b"), b=Node("7 10-19", epoch=5)),
        {"b": {7: 3}},
        Settlement(tells=(Tell("a", IDS["b"], s("7")),)),
    ),
    "another node imports as well, without keys": (
        views(a=Node("0-9", marks="7->b"), b=Node("10-19", marks="7-<a"), c=Node(marks="7-<a")),
        {"b": {7: 3}},
        Settlement(clears=(Clear("c", s("7")),), moves=(MoveSlots("a", "b", s("7")),)),
    ),
    "a replica of Valkey repeats the marks of its primary": (
        views(a=Node("0-9", marks="7->b"), b=Node("10-19", marks="7-<a"), c=Node(marks="7->b", primary="a")),
        {},
        Settlement(moves=(MoveSlots("a", "b", s("7")),)),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_done(case: str) -> None:
    found, keys, expected = CASES[case]
    assert settle(found, keys) == expected


@pytest.mark.parametrize(
    ("found", "keys", "code", "says"),
    [
        (
            views(a=Node("0-9", marks="7->b 8->b"), b=Node(marks="7-<a 8-<a"), c=Node(marks="7-<a 8-<a")),
            {"b": {7: 1, 8: 1}, "c": {7: 1, 8: 1}},
            "open-slot-unclear",
            "Slots 7-8 are half moved from a, and which keys count is not clear: b and c hold some too.",
        ),
        (
            views(a=Node("0-9", marks="7->b"), b=Node(marks="7-<a"), c=Node("10-19")),
            {"c": {7: 1}},
            "open-slot-unclear",
            "Slot 7 is half moved from a, and which keys count is not clear: c holds some too.",
        ),
        (
            views(a=Node("0-6", marks="7->b"), b=Node("7", epoch=5)),
            {"a": {7: 1}, "b": {7: 1}},
            "open-slot-unclear",
            "Slot 7 is half moved from b, and which keys count is not clear: a holds some too.",
        ),
        (
            views(a=Node("0-9", marks="7->f"), b=Node("10-19")),
            {"a": {7: 1}},
            "open-slot-lost",
            f"Slot 7 is half moved from a to the node {'f' * 40}, which is not there any more: keys that it "
            "has got are nowhere else.",
        ),
        (
            views(a=Node("0-6"), b=Node("10-19", marks="7-<f")),
            {},
            "open-slot-unclear",
            "Slot 7 is half moved, and no node serves it.",
        ),
    ],
)
def test_what_is_refused(found: Views, keys: dict[str, dict[int, int]], code: str, says: str) -> None:
    todo = settle(found, keys)
    assert [(problem.code, problem.message) for problem in todo.problems] == [(code, says)]
    assert all(problem.hint for problem in todo.problems)


def test_an_old_owner_that_still_claims_a_slot_is_told_but_gets_no_keys() -> None:
    found = views(
        a=Node("0-9", lists=(("b", "10-19"),)), b=Node("7 10-19", epoch=5, lists=(("a", "0-6 8-9"),))
    )
    assert not open_slots(found)
    assert disputed_slots(found) == s("7")
    assert settle(found, {"a": {7: 1}}) == Settlement(tells=(Tell("a", IDS["b"], s("7")),))


def test_marks_differ_when_a_mark_or_an_owner_does() -> None:
    one = views(a=Node("0-9", marks="7->b"), b=Node("10-19", marks="7-<a"))
    same = views(a=Node("0-9", marks="7->b", lists=(("b", ""),)), b=Node("10-19", marks="7-<a"))
    assert marks(one) == marks(same)
    for other in (
        views(a=Node("0-9", marks="7->b 8->b"), b=Node("10-19", marks="7-<a")),
        views(a=Node("0-9", marks="7->b"), b=Node("10-19")),
        views(a=Node("0-8", marks="7->b"), b=Node("9-19", marks="7-<a")),
    ):
        assert marks(one) != marks(other)
