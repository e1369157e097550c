"""Atomic jobs of Valkey: what is moved, what a job waits for, and how it ends.

`DEBUG SLOTMIGRATION PREVENT-PAUSE 1` keeps the jobs of a source from their end.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from clusterboot.core.job_pace import JobPace
from clusterboot.core.steps import MoveSlots
from clusterboot.core.views import View
from clusterboot.errors import Exit, NodeFailed, Refused
from clusterboot.rebalance import atomic
from clusterboot.rebalance.atomic import migrate
from clusterboot.rebalance.jobs import CANCEL, JOBS, Job, parse_jobs, settle_jobs
from clusterboot.rebalance.measure import Measured, measure
from clusterboot.slots import Slots
from clusterboot.wire.client import Fleet
from tests.harness.asking import asking
from tests.harness.resp import Connection
from tests.harness.servers import Servers
from tests.servers.test_measure import keys_in

SOURCE, TARGET, THIRD, REPLICA = range(4)


class Cluster:
    """Three primaries, the first with nearly all slots, and a replica of the second.

    The others keep one slot each: a primary without any would become a replica.
    """

    def __init__(self, servers: Servers) -> None:
        self.servers = servers

    def ok(self, index: int, *command: object) -> object:
        return self.servers.call(index, *command)

    def id(self, index: int) -> str:
        return str(self.ok(index, "CLUSTER", "MYID"))

    def jobs(self, index: int) -> tuple[Job, ...]:
        return parse_jobs(self.servers.call(index, *JOBS))

    def hold(self, index: int, *, on: bool) -> None:
        assert self.ok(index, "DEBUG", "SLOTMIGRATION", "PREVENT-PAUSE", int(on)) == "OK"

    def until(self, condition: Callable[[], object], what: str, seconds: float = 30.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"{what}: not within {seconds:g} s"
            time.sleep(0.02)

    def set(self, index: int, key: str, database: int) -> None:
        with Connection(self.servers.addresses[index]) as connection:
            assert [connection.call("SELECT", database), connection.call("SET", key, "x")] == ["OK", "OK"]

    def running(self, index: int) -> list[Job]:
        return [job for job in self.jobs(index) if not job.ended]

    def start(self, source: int, target: int, low: int, high: int) -> None:
        """Somebody else starts a job."""
        command = ("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", low, high, "NODE", self.id(target))
        assert self.ok(source, *command) == "OK"

    def owner(self, slot: int) -> int:
        for index in (SOURCE, TARGET, THIRD):
            if self.ok(index, "CLUSTER", "SLOT-STATS", "SLOTSRANGE", slot, slot):
                return index
        raise AssertionError(slot)

    def back(self) -> None:
        """Bring everything back to the first node, without any keys."""
        self.ok(SOURCE, *CANCEL)
        self.hold(SOURCE, on=False)
        for index in (SOURCE, TARGET, THIRD):
            self.until(lambda at=index: not self.running(at), "no job runs")
            self.ok(index, "FLUSHALL")
            self.ok(index, "CONFIG", "SET", "cluster-slot-migration-log-max-len", "1000")
        nodes = str(self.ok(SOURCE, "CLUSTER", "NODES"))
        for line in nodes.splitlines():
            fields = line.split()
            if "myself" in line or len(fields) < 9:
                continue
            index = next(at for at in (TARGET, THIRD) if self.id(at) == fields[0])
            slots = Slots.parse(",".join(fields[8:])) - Slots.parse("16382-16383")
            ranges = [end for pair in slots.ranges for end in pair]
            if ranges:
                self.ok(index, "CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", *ranges, "NODE", self.id(SOURCE))
            self.until(lambda at=index: not self.running(at), "no job runs")
        self.until(lambda: self._agreed(), "all slots are back")

    def _agreed(self) -> bool:
        mine = f"{self.id(SOURCE)} "
        for index in range(4):
            lines = str(self.ok(index, "CLUSTER", "NODES")).splitlines()
            if not next(line for line in lines if line.startswith(mine)).endswith(" 0-16381"):
                return False
        return True


@pytest.fixture(scope="module")
def made(require: Callable[[str], str]) -> Iterator[Cluster]:
    def extra(index: int) -> list[str]:
        databases = "1" if index == THIRD else "4"
        return ["--enable-debug-command", "yes", "--cluster-databases", databases]

    with Servers(require("valkey91"), 4, extra=extra) as servers:
        cluster = Cluster(servers)
        servers.call(SOURCE, "CLUSTER", "ADDSLOTSRANGE", 0, 16381)
        servers.call(TARGET, "CLUSTER", "ADDSLOTS", 16382)
        servers.call(THIRD, "CLUSTER", "ADDSLOTS", 16383)
        for index in range(4):
            servers.call(index, "CLUSTER", "SET-CONFIG-EPOCH", 4 - index)
            servers.call(index, "CONFIG", "SET", "repl-diskless-sync-delay", 0)
        for index in range(1, 4):
            servers.call(SOURCE, "CLUSTER", "MEET", "127.0.0.1", servers.ports[index])
        for index in range(4):
            cluster.until(
                lambda at=index: (
                    "cluster_state:ok" in str(cluster.ok(at, "CLUSTER", "INFO"))
                    and str(cluster.ok(at, "CLUSTER", "NODES")).count(" connected") == 4
                    and "handshake" not in str(cluster.ok(at, "CLUSTER", "NODES"))
                ),
                "the nodes know each other",
            )
        cluster.until(
            lambda: cluster.ok(REPLICA, "CLUSTER", "REPLICATE", cluster.id(TARGET)) == "OK", "it replicates"
        )
        cluster.until(
            lambda: "master_link_status:up" in str(cluster.ok(REPLICA, "INFO", "replication")),
            "it is in sync",
        )
        yield cluster


@pytest.fixture
def cluster(made: Cluster) -> Iterator[Cluster]:
    yield made
    made.back()


@asynccontextmanager
async def looking(cluster: Cluster) -> AsyncIterator[tuple[Fleet, list[View]]]:
    addresses = cluster.servers.addresses
    async with asking(addresses) as (fleet, views):
        yield fleet, [views[name] for name in addresses]


def move(cluster: Cluster, slots: str, target: int = TARGET) -> int:
    async def run() -> int:
        async with looking(cluster) as (fleet, views):
            return await migrate(fleet, views[SOURCE], views[target], Slots.parse(slots))

    return asyncio.run(run())


async def till(condition: Callable[[], object], task: asyncio.Task[int]) -> None:
    """Wait for a condition while a task runs."""
    async with asyncio.timeout(20):
        while not condition() and not task.done():
            await asyncio.wait([task], timeout=0.01)


def slot(cluster: Cluster, key: str) -> int:
    return int(str(cluster.ok(SOURCE, "CLUSTER", "KEYSLOT", key)))


def test_slots_and_keys_arrive(cluster: Cluster) -> None:
    keys = keys_in(range(100), 50)
    for key in keys:
        cluster.ok(SOURCE, "SET", key, key)
    staying = {key for key in keys if 50 <= slot(cluster, key) < 60}
    assert move(cluster, "0-49,60-99,5000") == 50 - len(staying)
    for key in keys:
        assert cluster.ok(SOURCE if key in staying else TARGET, "GET", key) == key


def test_a_replica_as_target_fails_with_what_the_server_says(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MIGRATESLOTS answers OK even then."""
    monkeypatch.setattr(atomic, "_BACK_OFF", 0.01)
    with pytest.raises(NodeFailed) as failed:
        move(cluster, "0-9", REPLICA)
    [problem] = failed.value.problems
    assert problem.code == "move-failed"
    assert "only be used on primary nodes" in problem.message
    assert cluster.owner(0) == SOURCE


def test_open_marks_are_refused(cluster: Cluster) -> None:
    cluster.ok(SOURCE, "CLUSTER", "SETSLOT", 100, "MIGRATING", cluster.id(THIRD))
    try:
        with pytest.raises(Refused) as refused:
            move(cluster, "0-9")
        assert refused.value.problems[0].code == "slots-moving"
    finally:
        cluster.ok(SOURCE, "CLUSTER", "SETSLOT", 100, "STABLE")


def test_slots_in_a_job_of_somebody_else_are_refused(cluster: Cluster) -> None:
    cluster.hold(SOURCE, on=True)
    cluster.start(SOURCE, THIRD, 5, 6)
    with pytest.raises(Refused) as refused:
        move(cluster, "0-9")
    assert "already migrating slot 5" in refused.value.problems[0].message
    assert cluster.running(SOURCE), "the job of somebody else goes on"


def test_a_job_that_runs_already_is_followed(cluster: Cluster) -> None:
    """A run that was killed leaves one, and so does a reply that was lost."""
    cluster.ok(SOURCE, "SET", keys_in(range(10), 1)[0], "x")
    cluster.start(SOURCE, TARGET, 0, 9)
    before = len(cluster.jobs(SOURCE))
    move(cluster, "0-9")
    assert cluster.owner(0) == TARGET
    assert len(cluster.jobs(SOURCE)) == before


def test_a_job_that_cannot_pause_is_split_and_tried_again(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atomic, "MAX_WAITING_TO_PAUSE", 0.2)
    cluster.hold(SOURCE, on=True)

    async def run() -> int:
        async with looking(cluster) as (fleet, views):
            pace = JobPace()
            moving = asyncio.create_task(
                migrate(fleet, views[SOURCE], views[TARGET], Slots.of([(0, 7)]), pace)
            )
            await till(lambda: pace.slots <= 4, moving)
            cluster.hold(SOURCE, on=False)
            await moving
            return pace.slots

    assert asyncio.run(run()) <= 4
    assert [cluster.owner(number) for number in range(8)] == [TARGET] * 8


def test_a_single_slot_that_is_never_calm_names_the_setting(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atomic, "MAX_WAITING_TO_PAUSE", 0.1)
    monkeypatch.setattr(atomic, "_BACK_OFF", 0.01)
    cluster.hold(SOURCE, on=True)
    with pytest.raises(NodeFailed) as failed:
        move(cluster, "7")
    assert "slot-migration-max-failover-repl-bytes" in str(failed.value.problems[0].hint)
    assert not cluster.running(SOURCE)
    assert cluster.owner(7) == SOURCE


def test_a_log_without_finished_jobs_is_enough(cluster: Cluster) -> None:
    for index in (SOURCE, TARGET):
        cluster.ok(index, "CONFIG", "SET", "cluster-slot-migration-log-max-len", "0")
    assert move(cluster, "0-9") == 0
    assert cluster.owner(0) == TARGET


def test_a_snapshot_waits_for_the_child_that_saves(cluster: Cluster) -> None:
    cluster.ok(SOURCE, "CONFIG", "SET", "rdb-key-save-delay", 20_000)
    try:
        for key in keys_in(range(200, 300), 50):
            cluster.ok(SOURCE, "SET", key, "x")
        cluster.ok(SOURCE, "BGSAVE")
        assert move(cluster, "0-9") == 0
        assert cluster.owner(0) == TARGET
    finally:
        cluster.ok(SOURCE, "CONFIG", "SET", "rdb-key-save-delay", 0)


@pytest.mark.parametrize("others", [False, True], ids=["alone", "not alone"])
def test_cancelled_it_ends_its_own_job_and_no_other(
    cluster: Cluster, others: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atomic, "_GRACE", 0.3)
    monkeypatch.setattr(atomic, "_CANCELLED_GRACE", 1.0)
    cluster.hold(SOURCE, on=True)
    if others:
        cluster.start(SOURCE, THIRD, 100, 101)

    async def run() -> None:
        async with looking(cluster) as (fleet, views):
            moving = asyncio.create_task(migrate(fleet, views[SOURCE], views[TARGET], Slots.of([(0, 7)])))
            await till(lambda: any(job.ranges == "0-7" for job in cluster.running(SOURCE)), moving)
            moving.cancel()
            await moving

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(run())
    assert len(cluster.running(SOURCE)) == (2 if others else 0)


def test_cancelled_it_lets_a_job_end_that_soon_does(cluster: Cluster) -> None:
    async def run() -> None:
        async with looking(cluster) as (fleet, views):
            moving = asyncio.create_task(migrate(fleet, views[SOURCE], views[TARGET], Slots.of([(0, 7)])))
            await till(lambda: cluster.running(SOURCE), moving)
            moving.cancel()
            await moving

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(run())
    assert cluster.owner(0) == TARGET


def test_all_databases_are_counted_and_travel(cluster: Cluster) -> None:
    [key] = keys_in(range(10), 1)
    cluster.set(SOURCE, key, 0)
    cluster.set(SOURCE, key, 2)
    assert move(cluster, "0-9") == 2
    for database in (0, 2):
        with Connection(cluster.servers.addresses[TARGET]) as connection:
            assert connection.call("SELECT", database) == "OK"
            assert connection.call("GET", key) == "x"


def test_a_target_with_fewer_databases_is_refused(cluster: Cluster) -> None:
    cluster.set(SOURCE, keys_in(range(10), 1)[0], 2)

    async def look(target: int) -> Measured:
        async with looking(cluster) as (fleet, views):
            step = MoveSlots(views[SOURCE].name, views[target].name, Slots.of([(0, 9)]))
            return await measure(fleet, [step], {view.name: view for view in views})

    [problem] = asyncio.run(look(THIRD)).problems
    assert (problem.code, problem.exit) == ("too-few-databases", Exit.REFUSED)
    found = asyncio.run(look(TARGET))
    assert not found.problems
    assert [each.keys for each in found.transfers] == [1]


def settle(cluster: Cluster, during: Callable[[], None] = lambda: None) -> bool:
    """Settle jobs, and do something `during` that; returns whether there were any."""

    async def run() -> bool:
        async with looking(cluster) as (fleet, _):
            settling = asyncio.create_task(settle_jobs(fleet, cluster.servers.addresses[:3]))
            await asyncio.sleep(0.5)
            during()
            return await settling

    return asyncio.run(run())


def test_nothing_to_settle_takes_no_time(cluster: Cluster) -> None:
    start = time.monotonic()
    assert not settle(cluster)
    assert time.monotonic() - start < 2


def test_jobs_of_a_killed_run_are_waited_for(cluster: Cluster) -> None:
    cluster.hold(SOURCE, on=True)
    cluster.start(SOURCE, TARGET, 0, 9)
    assert settle(cluster, lambda: cluster.hold(SOURCE, on=False))
    assert cluster.owner(0) == TARGET


def test_jobs_that_stand_still_are_cancelled(cluster: Cluster) -> None:
    cluster.hold(SOURCE, on=True)
    cluster.start(SOURCE, TARGET, 0, 9)
    settle(cluster)
    assert cluster.owner(0) == SOURCE
    assert not cluster.running(SOURCE)


def test_a_new_job_is_somebody_else_at_work(cluster: Cluster) -> None:
    cluster.hold(SOURCE, on=True)
    cluster.start(SOURCE, TARGET, 0, 9)
    with pytest.raises(Refused) as refused:
        settle(cluster, lambda: cluster.start(SOURCE, THIRD, 100, 101))
    assert refused.value.problems[0].code == "slots-moving"
    assert len(cluster.running(SOURCE)) == 2


def test_a_source_that_is_killed_and_comes_back(made: Cluster) -> None:
    """Its jobs are gone with it, and the target has cleaned up."""
    made.hold(SOURCE, on=True)
    with Connection(made.servers.addresses[SOURCE]):
        made.start(SOURCE, TARGET, 0, 9)
        made.until(lambda: made.running(TARGET), "the target takes part")
    made.servers.restart(SOURCE)
    made.until(lambda: "cluster_state:ok" in str(made.ok(SOURCE, "CLUSTER", "INFO")), "it serves again")
    assert move(made, "0-9") == 0
    assert made.owner(0) == TARGET
    made.back()


@pytest.mark.parametrize("victim", [SOURCE, TARGET], ids=["source", "target"])
def test_an_end_that_is_killed_in_the_middle_ends_the_move(
    made: Cluster, victim: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atomic, "_SILENT", 1.0)
    made.hold(SOURCE, on=True)

    async def run() -> None:
        async with looking(made) as (fleet, views):
            moving = asyncio.create_task(migrate(fleet, views[SOURCE], views[TARGET], Slots.of([(0, 7)])))
            await till(lambda: made.running(TARGET), moving)
            made.servers.kill(victim)
            await moving

    start = time.monotonic()
    try:
        with pytest.raises(NodeFailed) as failed:
            asyncio.run(run())
        assert failed.value.problems[0].node == made.servers.addresses[victim]
        assert time.monotonic() - start < 15
    finally:
        made.servers.restart(victim)
    made.until(lambda: "cluster_state:ok" in str(made.ok(SOURCE, "CLUSTER", "INFO")), "it serves again")
    made.until(lambda: not made.running(SOURCE), "no job runs")
    assert made.owner(0) == SOURCE
    made.hold(SOURCE, on=False)
    assert move(made, "0-7") == 0
    made.back()
