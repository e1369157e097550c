"""Replicas that take over and replicas that change shards, on clusters that serve, while a client writes."""

from __future__ import annotations

import asyncio
import time

import pytest

from clusterboot.core.steps import Failover, Replicate
from clusterboot.core.timers import NO_FAILOVER
from clusterboot.errors import NodeFailed
from clusterboot.rebalance.handover import attach, fail_over
from tests.servers.clients import writing
from tests.servers.conftest import Take
from tests.servers.pool import TIMERS, Nodes
from tests.servers.shards import Tools, form, full_syncs, mine, play

# The soak has the other kinds.
NORMAL_KINDS = {"redis62"}


def _elections_off(nodes: Nodes) -> list[int]:
    return [i for i in range(nodes.count) if nodes.ok(i, "CONFIG", "GET", NO_FAILOVER)[1] == "yes"]


def test_a_replica_takes_over_and_all_agree(nodes: Take) -> None:
    six = nodes(6)
    file = form(six, {3: 0, 4: 1, 5: 2})

    async def work(tools: Tools) -> float:
        began = time.monotonic()
        await fail_over(tools.fleet, tools.actor, Failover("n3", "n0"), tools.views)
        return time.monotonic() - began

    with writing(six):
        seconds = play(file, work)
    print(f"{six.kind}: {seconds:.2f} s until all agree")
    for index in range(6):
        assert mine(six, index, 3)[8:] == ["0-8000"]
        assert mine(six, index, 0)[3] == six.id(3)
    assert six.why_not_ready() is None
    assert seconds < 20


def test_roles_that_go_to_and_fro_are_agreed_or_it_is_said(nodes: Take) -> None:
    """Redis wins a second election of a replica with the votes of its first, which the others ignore."""
    six = nodes(6)
    file = form(six, {3: 0, 4: 1, 5: 2})

    async def work(tools: Tools) -> None:
        for new, old in (("n3", "n0"), ("n0", "n3"), ("n3", "n0")):
            await fail_over(tools.fleet, tools.actor, Failover(new, old), tools.views)

    if six.kind == "valkey91":
        play(file, work)
    else:
        with pytest.raises(NodeFailed) as failed:
            play(file, work)
        (problem,) = failed.value.problems
        # The second one or the third, as elections go.
        assert problem.code == "failover-undone"
        assert problem.node in ("n0", "n3")
        assert problem.hint is not None
        assert problem.hint.startswith("run the same command again in 60 s: ")
    six.until(lambda: six.why_not_ready() is None, "the cluster is Ready again")


def test_a_replica_out_of_sync_is_not_asked(nodes: Take, monkeypatch: pytest.MonkeyPatch) -> None:
    six = nodes(6)
    file = form(six, {3: 0, 4: 1, 5: 2})
    monkeypatch.setattr("clusterboot.rebalance.handover._LAG_SECONDS", 0.5)
    # A user that the primary does not have: the replica cannot connect again.
    for setting in ("masteruser", "masterauth"):
        six.ok(3, "CONFIG", "SET", setting, "nobody")
    try:
        six.ok(0, "CLIENT", "KILL", "TYPE", "replica")
        six.until(lambda: "master_link_status:down" in six.ok(3, "INFO", "replication"), "its link is down")
        six.forget()

        async def work(tools: Tools) -> None:
            await fail_over(tools.fleet, tools.actor, Failover("n3", "n0"), tools.views)

        with pytest.raises(NodeFailed) as failed:
            play(file, work)
    finally:
        for setting in ("masteruser", "masterauth"):
            six.ok(3, "CONFIG", "SET", setting, "")
    assert failed.value.problems[0].message.startswith("n3 is not in sync with n0, ")
    assert six.sent("CLUSTER") == []


def test_replicas_change_shards_with_elections_held_until_their_sync(nodes: Take) -> None:
    seven = nodes(7)
    seven.configure({"repl-diskless-sync-delay": "1"})
    file = form(seven, {3: 0, 4: 1, 5: 2, 6: 2})
    steps = [Replicate("n5", "n0"), Replicate("n6", "n1")]
    held: list[int] = []

    async def work(tools: Tools) -> None:
        async def look() -> None:
            while True:
                held.extend(await asyncio.to_thread(_elections_off, seven))
                await asyncio.sleep(0.02)

        looking = asyncio.ensure_future(look())
        await attach(tools.fleet, tools.actor, tools.boost, steps, tools.views, lambda: None)
        looking.cancel()

    with writing(seven):
        play(file, work)
    assert set(held) == {5, 6}
    assert held == sorted(held), "one shard after the other"
    assert _elections_off(seven) == []
    assert seven.all_timers() == [{**TIMERS, "repl-diskless-sync-delay": "1"}] * 7
    assert (mine(seven, 5, 5)[3], mine(seven, 6, 6)[3]) == (seven.id(0), seven.id(1))
    assert [full_syncs(seven, index) for index in (0, 1)] == [2, 2], "one for each replica, none more"


def test_a_primary_that_answers_no_more_drops_the_failover_and_it_is_said(
    nodes: Take, monkeypatch: pytest.MonkeyPatch
) -> None:
    six = nodes(6)
    file = form(six, {3: 0, 4: 1, 5: 2})
    monkeypatch.setattr("clusterboot.rebalance.handover._FAILOVER_SECONDS", 0.3)

    async def work(tools: Tools) -> None:
        # Without the others' votes there is no failover. Redis would count the votes for n3 in an earlier
        # test once more, within 30 s.
        for index in (0, 2):
            six.servers.stop(index)
        try:
            await fail_over(tools.fleet, tools.actor, Failover("n4", "n1"), tools.views)
        finally:
            for index in (0, 2):
                six.servers.cont(index)

    with pytest.raises(NodeFailed) as failed:
        play(file, work)
    assert failed.value.problems[0].code == "failover-dropped", failed.value
    six.until(lambda: six.why_not_ready() is None, "the cluster is Ready again")
