"""A failover in the middle of growth, on the model: its moment cannot be chosen on real servers."""

from __future__ import annotations

from clusterboot.replies import Command, Reply
from clusterboot.results import UpResult
from tests.faults.test_any_script import NAMES, MemoryLedger, attempt
from tests.harness.scripted import ScriptedFleet


class _Serving(ScriptedFleet):
    """a and b serve, c replicates a, d is new; once d is told whom to replicate, c takes over from a."""

    def __init__(self) -> None:
        super().__init__(NAMES, {})
        a, b, c, _ = self.nodes.values()
        a.slots, b.slots, c.primary = set(range(8192)), set(range(8192, 16384)), "a"
        a.epoch, b.epoch = 1, 2
        a.knows = b.knows = c.knows = {"a", "b", "c"}

    def _do(self, name: str, command: Command) -> Reply:
        reply = super()._do(name, command)
        a, c = self.nodes["a"], self.nodes["c"]
        if command[:2] == ("CLUSTER", "REPLICATE") and reply == "OK" and c.primary == "a":
            a.primary, a.slots, c.primary, c.slots = "c", set(), None, a.slots
        return reply


def test_growth_is_planned_anew_as_soon_as_a_failover_is_seen() -> None:
    """Not only when nothing has moved for a node timeout: that would be after the deadline here."""
    fleet = _Serving()
    _, ended = attempt(fleet, MemoryLedger())
    assert isinstance(ended, UpResult), ended
    assert ended.ready
    assert "failed-over" in {problem.code for problem in ended.warnings}
    assert {name: node.primary for name, node in fleet.nodes.items()} == {
        "a": "c",
        "b": None,
        "c": None,
        "d": "b",
    }
