"""The stages on nodes of a script: a cluster with nothing to do, and a run that is cancelled in a stage."""

from __future__ import annotations

import asyncio

import pytest

from clusterboot import bootstrap
from clusterboot.core.results import UpResult
from clusterboot.errors import Interrupted
from clusterboot.topology import Node, Topology
from tests.harness import virtual
from tests.harness.scripted import ScriptedFleet


def serving(*weights: float) -> tuple[ScriptedFleet, Topology]:
    """Two primaries that share the slots equally, in a file with these weights."""
    fleet = ScriptedFleet("ab", {})
    for index, (node, slots) in enumerate(
        zip(fleet.nodes.values(), (range(8192), range(8192, 16384)), strict=True)
    ):
        node.slots, node.epoch, node.knows = set(slots), index + 1, {"a", "b"}
    nodes = [
        Node(name, fleet.ip(name), 6379, weight=weight) for name, weight in zip("ab", weights, strict=True)
    ]
    return fleet, Topology(tuple(nodes))


def request(fleet: ScriptedFleet, topology: Topology, *, rebalance: bool = True) -> bootstrap.Request:
    return bootstrap.Request(
        topology, fleet, lambda event: None, timeout=20, bounded=False, rebalance=rebalance
    )


def test_a_cluster_with_nothing_to_do_costs_as_much_as_without_the_flag() -> None:
    sent = []
    for rebalance in (False, True):
        fleet, topology = serving(1, 1)
        result = virtual.run(bootstrap.up(request(fleet, topology, rebalance=rebalance)))
        assert result.ready
        sent.append([(each.node, each.command) for each in fleet.sent])
    assert sent[0] == sent[1]


def test_a_run_that_is_cancelled_in_a_stage_says_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet, topology = serving(1, 3)

    async def nothing(*args: object, **keys: object) -> bool:
        return False

    async def forever(self: object, *args: object) -> None:
        await asyncio.sleep(1e9)

    async def cut_short() -> UpResult:
        work = asyncio.ensure_future(bootstrap.up(request(fleet, topology)))
        asyncio.get_running_loop().call_later(5, work.cancel)
        return await work

    monkeypatch.setattr("clusterboot.rebalance.take.Stages._do", forever)
    monkeypatch.setattr("clusterboot.rebalance.alone.Alone.take", nothing)
    monkeypatch.setattr("clusterboot.rebalance.take.settle", nothing)
    monkeypatch.setattr("clusterboot.bootstrap.measure_moves", nothing)
    with pytest.raises(Interrupted) as ended:
        virtual.run(cut_short())
    [left] = ended.value.problems
    assert left.code == "not-rebalanced"
    assert "4,096 slots to b" in left.message
