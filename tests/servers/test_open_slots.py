"""Slots that are half moved are finished on real servers, whoever opened them, and never fought over."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from clusterboot.core.open_slots import disputed_slots, open_slots
from clusterboot.core.views import Views
from clusterboot.errors import Exit, Problem, Refused
from clusterboot.rebalance.move import Mover
from clusterboot.rebalance.open_slots import WATCH_SECONDS, settle
from tests.harness.asking import asking, views_of
from tests.harness.resp import Connection
from tests.harness.servers import Servers
from tests.servers.conftest import Take
from tests.servers.pool import Nodes
from tests.servers.test_copying import fill, marks, pair

# The soak has the other kinds.
NORMAL_KINDS = {"redis62"}


def settled(addresses: list[str]) -> tuple[bool, Views]:
    """Finish what is open; returns whether there was anything, and how the nodes look then."""

    async def run() -> tuple[bool, Views]:
        async with asking(addresses) as (fleet, views):
            mover = Mover(fleet, lambda event: None)
            found = await settle(fleet, addresses, views, mover)
            return found, await views_of(fleet, addresses)

    return asyncio.run(run())


def refused(addresses: list[str]) -> Problem:
    with pytest.raises(Refused) as caught:
        settled(addresses)
    problem = caught.value.problems[0]
    assert problem.exit is Exit.REFUSED
    assert problem.hint
    return problem


def opened(cluster: Nodes, source: int, target: int, slots: range) -> None:
    for slot in slots:
        cluster.ok(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", cluster.id(source))
        cluster.ok(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", cluster.id(target))


def sent(cluster: Nodes, source: int, target: int, keys: list[str]) -> None:
    for key in keys:
        assert cluster.ok(source, "MIGRATE", "127.0.0.1", cluster.ports[target], key, 0, 1000) == "OK"


def test_where_nothing_is_open_nothing_is_waited_for(any_nodes: Take) -> None:
    cluster = pair(any_nodes)
    start = time.monotonic()
    assert settled(cluster.addresses)[0] is False
    assert time.monotonic() - start < WATCH_SECONDS


def test_what_was_begun_is_finished(nodes: Take) -> None:
    cluster = pair(nodes)
    keys = fill(cluster, 0, range(8000, 8010), 100)
    opened(cluster, 0, 2, range(8000, 8010))
    sent(cluster, 0, 2, keys[:50])
    found, views = settled(cluster.addresses)
    assert found
    assert not open_slots(views)
    assert not disputed_slots(views)
    assert cluster.ok(2, "DBSIZE") == 100
    for key in keys:
        assert cluster.ok(2, "GET", key) == f"value of {key}"


def test_marks_without_a_moved_key_are_taken_away(any_nodes: Take) -> None:
    cluster = pair(any_nodes)
    fill(cluster, 0, range(8000, 8010), 100)
    for slot in range(8000, 8005):
        cluster.ok(2, "CLUSTER", "SETSLOT", slot, "IMPORTING", cluster.id(0))
    cluster.ok(0, "CLUSTER", "SETSLOT", 8005, "MIGRATING", cluster.id(1))
    assert settled(cluster.addresses)[0]
    assert marks(cluster, range(3)) == 0
    assert cluster.ok(0, "DBSIZE") == 100


def test_a_slot_that_only_its_target_and_source_have_changed_is_known_to_all(any_nodes: Take) -> None:
    cluster = pair(any_nodes)
    keys = fill(cluster, 0, range(8000, 8010), 10)
    opened(cluster, 0, 2, range(8000, 8010))
    sent(cluster, 0, 2, keys)
    for slot in range(8000, 8005):
        cluster.ok(2, "CLUSTER", "SETSLOT", slot, "NODE", cluster.id(2))
    found, views = settled(cluster.addresses)
    assert found
    assert not open_slots(views)
    assert not disputed_slots(views)
    assert cluster.ok(2, "DBSIZE") == 10


@contextmanager
def meanwhile(work: Callable[[], object]) -> Iterator[None]:
    """Do `work` again and again in another thread."""
    ending = threading.Event()

    def run() -> None:
        while not ending.wait(0.2):
            work()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


def test_slots_that_somebody_opens_or_sends_keys_of_are_left_alone(any_nodes: Take) -> None:
    cluster = pair(any_nodes)
    keys = fill(cluster, 0, range(8000, 8010), 200)
    opened(cluster, 0, 2, range(8000, 8010))
    with meanwhile(lambda: sent(cluster, 0, 2, [keys.pop()])):
        problem = refused(cluster.addresses)
    assert problem.code == "slots-moving"
    assert "8000-8009" in problem.message
    before = marks(cluster, range(3))
    more = iter(range(7000, 8000))
    with meanwhile(lambda: opened(cluster, 0, 2, range(slot := next(more), slot + 1))):
        assert refused(cluster.addresses).code == "slots-moving"
    assert marks(cluster, range(3)) > before


def test_clients_that_write_to_a_half_moved_slot_are_nobody_who_moves(any_nodes: Take) -> None:
    cluster = pair(any_nodes)
    keys = fill(cluster, 0, range(8000, 8010), 20)
    opened(cluster, 0, 2, range(8000, 8010))
    count = iter(range(10**6))
    with meanwhile(lambda: cluster.call(0, "SET", keys[0], f"{next(count)}")):
        assert settled(cluster.addresses)[0]
    assert cluster.ok(2, "DBSIZE") == 20


@pytest.fixture
def five(server_kind: str, tmp_path: Path) -> Iterator[Nodes]:
    """Three primaries, and a replica each of the first two; they fail over within seconds."""
    with Servers(server_kind, 5, node_timeout=1500, extra=["--repl-diskless-sync-delay", "0"]) as servers:
        cluster = Nodes(servers, 5, tmp_path)
        places = [{"slots": "0-5460"}, {"slots": "5461-10922"}, {"slots": "10923-16383"}]
        listed = [{"name": f"n{i}", "host": "127.0.0.1", "port": servers.ports[i]} for i in range(5)]
        for entry, place in zip(listed, [*places, {"replica_of": "n0"}, {"replica_of": "n1"}], strict=True):
            entry.update(place)
        cluster.ready_up(cluster.file(nodes=listed))
        yield cluster


def test_a_source_that_failed_over_in_mid_move_loses_no_key(five: Nodes) -> None:
    keys = fill(five, 0, range(5000, 5010), 200)
    opened(five, 0, 1, range(5000, 5010))
    sent(five, 0, 1, keys[:100])
    five.until(lambda: five.ok(3, "DBSIZE") == 100, "the replica has it")
    five.servers.kill(0)
    five.until(lambda: "role:master" in five.ok(3, "INFO", "replication"), "it is promoted")
    left = five.addresses[1:]
    _, views = settled(left)
    assert not open_slots(views)
    assert not disputed_slots(views)
    assert five.ok(1, "DBSIZE") == 200
    for key in keys:
        assert five.ok(1, "GET", key) == f"value of {key}"


def test_a_target_that_failed_over_in_mid_move_loses_no_key(five: Nodes) -> None:
    keys = fill(five, 0, range(5000, 5010), 200)
    opened(five, 0, 1, range(5000, 5010))
    sent(five, 0, 1, keys[:100])
    five.until(lambda: five.ok(4, "DBSIZE") == 100, "the replica has it")
    five.servers.kill(1)
    five.until(lambda: "role:master" in five.ok(4, "INFO", "replication"), "it is promoted")
    left = [five.addresses[index] for index in (0, 2, 3, 4)]
    _, views = settled(left)
    assert not open_slots(views)
    assert not disputed_slots(views)
    assert five.ok(4, "DBSIZE") == 200
    for key in keys:
        assert five.ok(4, "GET", key) == f"value of {key}"


def test_a_key_that_a_failover_brought_back_with_another_value_is_refused(five: Nodes) -> None:
    keys = fill(five, 0, range(5000, 5010), 20)
    opened(five, 0, 1, range(5000, 5010))
    sent(five, 0, 1, keys[:10])
    five.until(lambda: five.ok(3, "DBSIZE") == 10, "the replica has it")
    with Connection(five.addresses[1]) as target:
        target.call("ASKING")
        assert target.call("SET", keys[15], "newer") == "OK"
    five.servers.kill(0)
    five.until(lambda: "role:master" in five.ok(3, "INFO", "replication"), "it is promoted")
    problem = refused(five.addresses[1:])
    assert problem.code == "key-differs"
    assert keys[15] in problem.message
    assert five.ok(3, "EXISTS", keys[15]) == 1
