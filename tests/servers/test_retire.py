"""Members that leave: forgotten by all, reset, and never seen again."""

from __future__ import annotations

import pytest

from clusterboot.errors import Refused
from clusterboot.loop.retire import Leavers, retire
from tests.servers.conftest import Take
from tests.servers.pool import Nodes
from tests.servers.shards import Tools, drain, form, full_syncs, mine, play

STAY = ("n0", "n1", "n3", "n4")
_LOW, _DEFAULT = "1000", "15000"


def _members(nodes: Nodes, index: int) -> set[str]:
    return {line.split()[0] for line in str(nodes.ok(index, "CLUSTER", "NODES")).splitlines()}


def _shard(nodes: Nodes) -> dict[str, str]:
    """The last shard, which leaves."""
    return {"n2": nodes.id(2), "n5": nodes.id(5)}


def _hold(tools: Tools) -> object:
    return tools.boost.hold(["n2", "n5"], migration=True)


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
