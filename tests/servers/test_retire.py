"""Members that leave: forgotten by all, reset, and never seen again."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

import clusterboot.rebalance.retire as module
from clusterboot.errors import Refused
from clusterboot.rebalance.retire import Leavers, retire
from tests.servers.conftest import Take
from tests.servers.pool import TIMERS, Nodes
from tests.servers.shards import MIGRATION, Tools, drain, form, full_syncs, mine, play

# The soak has the other kinds.
NORMAL_KINDS = {"valkey91"}

STAY = ("n0", "n1", "n3", "n4")
_LOW, _DEFAULT = "1000", "15000"


def _members(nodes: Nodes, index: int) -> set[str]:
    return {line.split()[0] for line in str(nodes.ok(index, "CLUSTER", "NODES")).splitlines()}


def _shard(nodes: Nodes) -> dict[str, str]:
    """The last shard, which leaves."""
    return {"n2": nodes.id(2), "n5": nodes.id(5)}


@pytest.mark.parametrize("timeout", [_LOW, _DEFAULT])
def test_a_drained_shard_leaves_and_nothing_brings_it_back(nodes: Take, timeout: str) -> None:
    six = nodes(6)
    file = form(six, {3: 0, 4: 1, 5: 2})
    six.configure({"cluster-node-timeout": timeout})
    ids = _shard(six)
    syncs = [full_syncs(six, index) for index in (0, 1)]

    async def hold(tools: Tools) -> None:
        await tools.boost.hold(ids, migration=True)
        drain(six, 2, 0, told=timeout == _LOW)
        await tools.boost.restore()

    play(file, hold)
    assert "master" in mine(six, 0, 2)[2]
    assert mine(six, 0, 5)[3] == ids["n2"], "its replica stays with it"

    async def leave(tools: Tools) -> tuple[str, ...]:
        return await retire(tools.fleet, tools.actor, STAY, Leavers(ids, {}))

    assert play(file, leave) == ("n2", "n5")
    staying = {six.id(index) for index in (0, 1, 3, 4)}
    assert all(_members(six, index) == staying for index in (0, 1, 3, 4))
    assert [len(_members(six, index)) for index in (2, 5)] == [1, 1]
    assert [full_syncs(six, index) for index in (0, 1)] == syncs


def test_who_still_has_slots_is_refused_and_nothing_is_changed(nodes: Take) -> None:
    six = nodes(6)
    file = form(six, {3: 0, 4: 1, 5: 2})
    drain(six, 2, 0, left=2)
    ids = _shard(six)
    six.forget()

    async def leave(tools: Tools) -> None:
        await retire(tools.fleet, tools.actor, STAY, Leavers(ids, {}))

    with pytest.raises(Refused) as refused:
        play(file, leave)
    assert [problem.code for problem in refused.value.problems] == ["still-has-slots"]
    assert six.changes() == {}


def _leave(nodes: Nodes, file: Path, leaving: Leavers, staying: tuple[str, ...] = STAY) -> tuple[str, ...]:
    """Retire, and check that all that stays knows exactly itself."""

    async def work(tools: Tools) -> tuple[str, ...]:
        return await retire(tools.fleet, tools.actor, staying, leaving)

    left = play(file, work)
    indices = [int(name[1:]) for name in staying]
    ids = {nodes.id(index) for index in indices}
    assert all(_members(nodes, index) == ids for index in indices)
    return left


def _drained(nodes: Nodes) -> Path:
    """Six nodes, of which the last shard is drained and still there."""
    file = form(nodes, {3: 0, 4: 1, 5: 2})
    for index in (2, 5):
        nodes.ok(index, "CONFIG", "SET", MIGRATION, "no")
    drain(nodes, 2, 0)
    return file


def test_a_node_that_half_of_the_members_have_forgotten_leaves_all_the_same(nodes: Take) -> None:
    """As a run leaves it that was killed in between; its replica is reset already."""
    six = nodes(6)
    file = _drained(six)
    ids = _shard(six)
    for index in (0, 3):
        for node_id in ids.values():
            six.ok(index, "CLUSTER", "FORGET", node_id)
    six.ok(5, "CLUSTER", "RESET", "HARD")
    fresh = six.id(5)
    assert _leave(six, file, Leavers(ids, {})) == ("n2", "n5")
    assert six.id(5) == fresh, "a node with another id is left alone"
    assert [len(_members(six, index)) for index in (2, 5)] == [1, 1]
    six.forget()
    assert _leave(six, file, Leavers(ids, {})) == ("n2", "n5"), "and again"
    assert six.sent("CLUSTER") == []


def test_a_node_that_is_stopped_in_between_leaves_when_it_goes_on(
    nodes: Take, monkeypatch: pytest.MonkeyPatch
) -> None:
    six = nodes(6)
    file = _drained(six)
    reset = module._reset

    async def stopped(*given: Any) -> dict[str, str]:
        monkeypatch.setattr(module, "_reset", reset)
        six.servers.stop(2)
        threading.Timer(3.0, six.servers.cont, (2,)).start()
        return await reset(*given)

    monkeypatch.setattr(module, "_reset", stopped)
    assert _leave(six, file, Leavers(_shard(six), {})) == ("n2", "n5")
    assert [len(_members(six, index)) for index in (2, 5)] == [1, 1]


def test_a_primary_that_stays_replicated_and_a_node_of_another_cluster_are_refused(nodes: Take) -> None:
    seven = nodes(7)
    file = form(seven, {3: 0, 4: 1, 5: 2, 6: 2})
    ids = {"n2": seven.id(2)}
    for index in (2, 5, 6):
        seven.ok(index, "CONFIG", "SET", MIGRATION, "no")
    drain(seven, 2, 0)
    seven.forget()
    with pytest.raises(Refused) as refused:
        _leave(seven, file, Leavers(ids, {}), ("n0", "n1", "n3", "n4", "n5", "n6"))
    assert [problem.code for problem in refused.value.problems] == ["still-followed"]
    assert "n5 and n6 still replicates it" in refused.value.problems[0].message
    assert seven.changes() == {}


def test_dead_members_are_forgotten_only(servers: Any, server_kind: str, tmp_path: Path) -> None:
    started = servers(server_kind, 6)
    six = Nodes(started, 6, tmp_path)
    file = form(six, {3: 0, 4: 1, 5: 2})
    six.configure({"cluster-node-timeout": "1000"})
    dead = {"n5": six.id(5)}
    started.kill(5)
    five = six.file("five.yaml", nodes=six.addresses[:5])
    six.until(lambda: _fails(six, 0, dead["n5"]), "it is agreed to fail")
    staying = tuple(six.addresses[:5])

    async def work(tools: Tools) -> tuple[str, ...]:
        return await retire(tools.fleet, tools.actor, staying, Leavers({}, dead))

    assert play(five, work) == ("n5",)
    assert all(dead["n5"] not in _members(six, index) for index in range(5))
    assert file != five


def _fails(nodes: Nodes, teller: int, node_id: str) -> bool:
    lines = str(nodes.ok(teller, "CLUSTER", "NODES")).splitlines()
    return any("fail" in line.split()[2].split(",") for line in lines if line.startswith(node_id))


def test_up_lets_a_shard_leave_without_a_full_sync_on_who_serves(nodes: Take) -> None:
    """Its replica has to know of the last slot's move before its migration is given back."""
    six = nodes(6)
    form(six, {3: 0, 4: 1, 5: 2})
    syncs = [full_syncs(six, index) for index in (0, 1)]
    six.forget()
    stay = [six.addresses[index] for index in (0, 1, 3, 4)]
    leave = [six.addresses[index] for index in (2, 5)]
    file = six.file("retire.yaml", nodes=stay, replicas=1, retire=leave)
    document = six.up(file, "--rebalance", "-o", "json").json()
    assert sorted(document["retired"]) == sorted(leave)
    assert [full_syncs(six, index) for index in (0, 1)] == syncs
    assert [six.ok(index, "CONFIG", "GET", MIGRATION)[1] for index in range(6)] == ["yes"] * 6
    assert six.all_timers() == [TIMERS] * 6
    assert ["CONFIG", "SET"] not in [c[:2] for index in (0, 1, 3, 4) for c in six.changes().get(index, [])]
