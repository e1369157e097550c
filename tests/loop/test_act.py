"""Carrying out steps: what is refused for a while is neither final nor forgotten; keys that would be lost."""

from __future__ import annotations

import asyncio

import pytest

from clusterboot.core.steps import AddSlots
from clusterboot.core.views import View, parse_nodes
from clusterboot.loop.act import Actor, stranded
from clusterboot.slots import Slots
from clusterboot.wire.replies import Command, Rejected, Reply

_ME = "{id:040x} 192.0.2.1:7001@17001 myself,master - 0 0 1 connected 0-99"


class _Fleet:
    def __init__(self, *replies: Reply) -> None:
        self.replies = list(replies)
        self.sent: list[tuple[str, Command]] = []

    async def ask(self, name: str, *commands: Command, timeout: float = 5.0) -> list[Reply]:
        self.sent += [(name, command) for command in commands]
        return [self.replies.pop(0) for _ in commands]

    def ip(self, name: str) -> str:
        return "192.0.2.1"

    def add(self, node: object) -> None:
        raise AssertionError(node)


def _views(**keys: int) -> dict[str, View]:
    return {
        name: View(name, "192.0.2.1", parse_nodes(_ME.format(id=place)), databases={0: count})
        for place, (name, count) in enumerate(keys.items())
    }


def test_a_refusal_that_may_pass_is_kept_until_it_has_passed() -> None:
    fleet = _Fleet(Rejected("ERR Slot 100 is already busy"), "OK")
    actor = Actor(fleet, lambda event: None)
    step = AddSlots("a", Slots.of([(100, 100)]))
    assert asyncio.run(actor.send([step], _views(a=0))) == {step}
    assert [problem.message for problem in actor.refusals.values()] == [
        "a refused CLUSTER ADDSLOTS: ERR Slot 100 is already busy"
    ]
    assert asyncio.run(actor.send([step], _views(a=0))) == set()
    assert actor.refusals == {}
    assert [done.step for done in actor.done] == [step]


@pytest.mark.parametrize(("count", "codes"), [(0, []), (2, ["keys-elsewhere"])])
def test_keys_in_a_slot_that_another_node_is_to_get(count: int, codes: list[str]) -> None:
    steps = [AddSlots("b", Slots.of([(100, 101)])), AddSlots("a", Slots.of([(102, 102)]))]
    fleet = _Fleet(0, count)
    found = asyncio.run(stranded(fleet, steps, _views(a=5, b=0)))
    assert [(problem.code, problem.node, problem.peer) for problem in found] == [
        (code, "a", "b") for code in codes
    ]
    # Only of those who have keys, and only about slots that another node is to get.
    assert fleet.sent == [("a", ("CLUSTER", "COUNTKEYSINSLOT", str(slot))) for slot in (100, 101)]


def test_without_keys_or_missing_slots_nothing_is_asked() -> None:
    fleet = _Fleet()
    assert asyncio.run(stranded(fleet, [AddSlots("b", Slots.of([(100, 101)]))], _views(a=0, b=0))) == []
    assert asyncio.run(stranded(fleet, [], _views(a=5, b=0))) == []
    assert fleet.sent == []
