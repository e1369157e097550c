"""The rules of moving slots, on a model that notices when one is broken."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterboot.core.events import Event, Moved, Warned
from clusterboot.core.results import Transfer
from clusterboot.core.steps import MoveSlots
from clusterboot.errors import Exit, NodeFailed, Problem, Refused
from clusterboot.rebalance import move as module
from clusterboot.rebalance.move import Mover
from clusterboot.slots import Slots
from tests.core.world import examples
from tests.rebalance.copying_model import Model


def run(
    model: Model,
    *moves: tuple[str, str, Sequence[int]],
    method: str = "copy",
    cancel_at: int = 0,
) -> list[Event]:
    """Move slots; cancels the move at a command of that number."""

    async def main() -> list[Event]:
        events: list[Event] = []

        wanted: Any = [
            Transfer(MoveSlots(source, target, Slots.of((slot, slot) for slot in slots)), 0, method)  # type: ignore[arg-type]
            for source, target, slots in moves
        ]
        task = asyncio.ensure_future(Mover(model, events.append).run(wanted, model.views()))
        model.on_ask = lambda asked: asked == cancel_at and task.cancel()
        try:
            await asyncio.wait_for(asyncio.shield(task), 20)
        except asyncio.CancelledError:
            assert task.cancelled()
        return events

    return asyncio.run(main())


def filled(model: Model, each: int = 2) -> dict[str, str]:
    """Put keys into every slot; returns them all."""
    found = {}
    for node in model.nodes.values():
        for slot in node.slots:
            node.keys[slot] = {f"{slot}:{number}": f"value {slot}" for number in range(each)}
            found |= node.keys[slot]
    return found


def data(model: Model) -> dict[str, str]:
    """Return all keys; each has to be at one place, the owner of its slot."""
    found: dict[str, str] = {}
    for node in model.nodes.values():
        for slot, keys in node.keys.items():
            assert not keys or slot in node.slots
            assert not keys.keys() & found.keys()
            found |= keys
    return found


def test_slots_of_several_sources_get_to_a_target_without_slots() -> None:
    model = Model(range(100), range(100, 200), ())
    keys = filled(model)
    events = run(model, ("n0", "n2", range(60, 100)), ("n1", "n2", range(160, 200)))
    assert data(model) == keys
    assert model.nodes["n2"].slots == {*range(60, 100), *range(160, 200)}
    assert model.marks == 0
    assert [event.slots for event in events if isinstance(event, Moved)][:3] == [1, 2, 3]


def test_keys_that_are_made_while_a_slot_is_open_go_along() -> None:
    model = Model(range(10), ())
    keys = filled(model, 1)
    model.nodes["n0"].late = {5: {"late": "yes"}}
    run(model, ("n0", "n1", range(10)))
    assert data(model) == keys | {"late": "yes"}


def test_a_copy_with_another_value_is_never_overwritten() -> None:
    model = Model(range(10), ())
    filled(model)
    model.nodes["n1"].keys[5]["5:0"] = "another one"
    with pytest.raises(Refused) as refused:
        run(model, ("n0", "n1", range(10)))
    assert refused.value.problems[0].code == "key-differs"
    assert model.nodes["n1"].keys[5]["5:0"] == "another one"
    assert model.nodes["n0"].keys[5]["5:0"] == "value 5"


def test_the_same_value_is_replaced_and_so_is_a_key_of_this_run() -> None:
    model = Model(range(10), ())
    keys = filled(model)
    model.nodes["n1"].keys[5]["5:0"] = "value 5"
    model.silent = {"6:0"}
    events = run(model, ("n0", "n1", range(10)))
    assert data(model) == keys
    assert not [event for event in events if isinstance(event, Warned)]


def test_a_key_that_was_sent_without_an_answer_and_deleted_is_named() -> None:
    model = Model(range(10), ())
    filled(model, 1)
    model.silent = {"6:0"}
    answer = model._answer

    def delete(name: str, command: tuple[Any, ...]) -> Any:
        reply = answer(name, command)
        if str(reply).startswith("IOERR"):
            del model.nodes["n0"].keys[6]["6:0"]  # a client does
        return reply

    model._answer = delete  # type: ignore[method-assign, assignment]
    events = run(model, ("n0", "n1", range(10)))
    [warned] = [event.problem for event in events if isinstance(event, Warned)]
    assert (warned.code, warned.node, warned.peer) == ("keys-may-be-back", "n0", "n1")
    assert '"6:0"' in warned.message


@pytest.mark.parametrize("at", [15, 30, 31, 32, 33, 34, 35, 60, 100, 150])
def test_the_open_window_is_finished_when_a_move_is_cancelled(at: int) -> None:
    model = Model(range(100), range(100, 200), ())
    keys = filled(model)
    run(model, ("n0", "n2", range(100)), ("n1", "n2", range(100, 200)), cancel_at=at)
    assert model.marks == 0
    assert data(model) == keys
    assert 0 < len(model.nodes["n2"].slots) < 200


@given(st.lists(st.permutations(range(5)), min_size=1, max_size=12), st.randoms(use_true_random=False))
@examples(50)
def test_no_node_sends_and_takes_by_jobs_at_the_same_time(
    orders: list[list[int]], random_: random.Random
) -> None:
    model = Model(*([place] for place in range(5)))
    moves = [(f"n{order[0]}", f"n{order[1]}", [100 + turn]) for turn, order in enumerate(orders)]
    for source, _, slots in moves:
        model.nodes[source].slots |= set(slots)
    sends: Counter[str] = Counter()
    takes: Counter[str] = Counter()
    together = 0

    async def job(fleet: Model, source: Any, target: Any, slots: Slots, pace: object) -> int:
        nonlocal together
        sends[source.name] += 1
        takes[target.name] += 1
        together = max(together, sends.total())
        for _ in range(random_.randint(1, 9)):
            assert not [name for name in model.nodes if sends[name] and takes[name]]
            await asyncio.sleep(0)
        sends[source.name] -= 1
        takes[target.name] -= 1
        if random_.random() < 0.1:
            raise NodeFailed(Problem("move-failed", "it failed", exit=Exit.NODE))
        for slot in slots:
            fleet.nodes[source.name].slots.discard(slot)
            fleet.nodes[target.name].slots.add(slot)
        return 0

    migrate, module.atomic.migrate = module.atomic.migrate, job  # type: ignore[assignment]
    try:
        run(model, *moves, method="atomic")
    except NodeFailed:
        pass
    finally:
        module.atomic.migrate = migrate
    assert together >= 1


def test_jobs_of_different_nodes_run_together() -> None:
    sides, most, running = module._Sides(), 0, 0

    async def job(source: str, target: str) -> None:
        nonlocal most, running
        async with sides.only(source, target):
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.001)
            running -= 1

    async def main() -> None:
        await asyncio.gather(job("a", "d"), job("b", "d"), job("c", "e"), job("d", "a"))

    asyncio.run(main())
    assert most == 3
