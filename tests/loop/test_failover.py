"""Failovers and reshards in the middle of growth, on the model: their moments cannot be chosen on servers."""

from __future__ import annotations

from clusterboot.core.results import UpResult
from clusterboot.wire.replies import Command, Reply
from tests.harness.scripted import FakeNode, ScriptedFleet
from tests.loop.test_any_script import NAMES, attempt


class _Serving(ScriptedFleet):
    """a and b serve, c replicates a, d is new."""

    def __init__(self) -> None:
        super().__init__(NAMES, {})
        a, b, c, _ = self.nodes.values()
        a.slots, b.slots, c.primary = set(range(8192)), set(range(8192, 16384)), "a"
        a.epoch, b.epoch = 1, 2
        a.knows = b.knows = c.knows = {"a", "b", "c"}

    def commands(self, *start: str) -> list[Command]:
        return [sent.command for sent in self.sent if sent.command[: len(start)] == start]


class _FailingOver(_Serving):
    """Once d is told which node to replicate, c takes over from a."""

    def _do(self, name: str, command: Command) -> Reply:
        reply = super()._do(name, command)
        a, c = self.nodes["a"], self.nodes["c"]
        if command[:2] == ("CLUSTER", "REPLICATE") and reply == "OK" and c.primary == "a":
            a.primary, a.slots, c.primary, c.slots = "c", set(), None, a.slots
        return reply


def test_growth_is_planned_anew_as_soon_as_a_failover_is_seen() -> None:
    """Not only when nothing has moved for a node timeout: that would be after the deadline here."""
    fleet = _FailingOver()
    _, ended = attempt(fleet)
    assert isinstance(ended, UpResult), ended
    assert ended.ready
    assert "failed-over" in {problem.code for problem in ended.warnings}
    assert {name: node.primary for name, node in fleet.nodes.items()} == {
        "a": "c",
        "b": None,
        "c": None,
        "d": "b",
    }


class _Resharding(_Serving):
    """With every look at b one more slot has gone from a to b, for as long as `left` are to go."""

    left = 300

    def _do(self, name: str, command: Command) -> Reply:
        a, b = self.nodes["a"], self.nodes["b"]
        if name == "b" and command == ("CLUSTER", "NODES") and self.left:
            self.left -= 1
            slot = max(a.slots)
            a.slots.discard(slot)
            b.slots.add(slot)
        return super()._do(name, command)


def test_slots_that_are_moved_meanwhile_start_no_new_plan_at_every_one_of_them() -> None:
    fleet = _Resharding()
    _, ended = attempt(fleet, timeout=60)
    assert isinstance(ended, UpResult), ended
    assert ended.ready
    assert len(fleet.commands("CLUSTER", "MEET")) == 1 + 1, "the planned one, and a probe for permission"
    # Five nodes' looks at all that there is are for a plan: at first, and when nothing has moved for long.
    assert [sent.command for sent in fleet.sent].count(("INFO",)) <= 5 * len(NAMES)


class _Torn(_Serving):
    """A slot is handed over between the look at a and the look at b: at first neither seems to serve it."""

    torn = True

    def __init__(self) -> None:
        super().__init__()
        self.nodes["a"].slots.discard(8191)
        self.nodes["b"].slots.add(8191)

    def _line(self, teller: FakeNode, node: FakeNode) -> str:
        line = super()._line(teller, node)
        if self.torn and teller.name == node.name == "b":
            self.torn = False
            line = line.replace("8191-", "8192-")
        return line


def test_a_slot_that_changes_hands_between_two_looks_is_nothing_to_refuse() -> None:
    fleet = _Torn()
    _, ended = attempt(fleet)
    assert isinstance(ended, UpResult), ended
    assert ended.ready
    assert not fleet.torn
    assert not fleet.commands("CLUSTER", "ADDSLOTSRANGE")
