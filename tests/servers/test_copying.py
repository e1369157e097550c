"""Moving slots by copy on real servers: every key arrives as it was, and nothing is overwritten."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from clusterboot.core.events import Done, Event, Moved, Warned
from clusterboot.core.results import Transfer
from clusterboot.core.steps import MoveSlots
from clusterboot.errors import Exit, NodeFailed, Refused
from clusterboot.rebalance.big_keys import slot_of
from clusterboot.rebalance.move import Mover
from clusterboot.slots import Slots
from clusterboot.topology import load
from clusterboot.wire.client import Fleet
from tests.conftest import ONE_KIND
from tests.harness.asking import asking, views_of
from tests.harness.certs import Pki
from tests.harness.resp import Connection, Error
from tests.harness.servers import Servers, free_ports
from tests.servers.conftest import Take
from tests.servers.pool import Nodes
from tests.servers.test_measure import HALVES, keys_in

# The soak has the other kinds.
NORMAL_KINDS = {"redis62"}

WHOLE = [(0, 16383)]


def transfer(addresses: Sequence[str], source: int, target: int, slots: str) -> Transfer:
    return Transfer(MoveSlots(addresses[source], addresses[target], Slots.parse(slots)), 0, "copy")


def move(
    addresses: Sequence[str],
    *moves: tuple[int, int, str],
    stop: Callable[[Event, Callable[[], object]], None] | None = None,
    **login: str,
) -> tuple[Mover, list[Event]]:
    """Move slots as (source, target, slots); `stop` sees each event, and can cancel the move."""

    async def run() -> tuple[Mover, list[Event]]:
        events: list[Event] = []
        async with asking(addresses, **login) as (fleet, views):
            mover = Mover(fleet, events.append)
            wanted = [transfer(addresses, *each) for each in moves]
            task = asyncio.ensure_future(mover.run(wanted, views))
            if stop is not None:
                mover._report = lambda event: (events.append(event), stop(event, task.cancel))  # type: ignore[func-returns-value, assignment]
            try:
                await task
            except asyncio.CancelledError:
                events.append(Done(wanted[0].step, extra=True))
            return mover, events

    return asyncio.run(run())


def marks(cluster: Nodes | Servers, indexes: Sequence[int]) -> int:
    return sum(str(cluster.call(index, "CLUSTER", "NODES")).count("[") for index in indexes)


def pair(nodes: Take, count: int = 3, ranges: Sequence[tuple[int, int]] = HALVES) -> Nodes:
    cluster = nodes(count)
    cluster.join(range(count), ranges)
    for index in range(count):
        cluster.until(lambda at=index: "cluster_state:ok" in cluster.ok(at, "CLUSTER", "INFO"), "it is ok")
    return cluster


def fill(cluster: Nodes, index: int, slots: range, count: int) -> list[str]:
    keys = keys_in(slots, count)
    for key in keys:
        cluster.ok(index, "SET", key, f"value of {key}")
    return keys


def test_every_kind_of_key_arrives_whole(nodes: Take) -> None:
    cluster = pair(nodes)
    strange = [b"{0}\xff\xfe\x00\r\n", b"{0}" + bytes(range(256)), "{0}schlüssel €".encode(), b"{0}"]
    for key in strange:
        cluster.ok(1, "SET", key, b"\xff" + key)
    for number in range(50):
        cluster.ok(1, "HSET", "{0}hash", f"f{number}", "v" * number)
        cluster.ok(1, "SADD", "{0}set", number)
        cluster.ok(1, "ZADD", "{0}zset", number / 7, f"m{number}")
        cluster.ok(1, "RPUSH", "{0}list", number)
        cluster.ok(1, "XADD", "{0}stream", f"{number + 1}-1", "f", number)
    cluster.ok(1, "SET", "{0}short-lived", "x", "PX", 60_000)
    home = int(cluster.ok(0, "CLUSTER", "KEYSLOT", "{0}x"))
    assert home > HALVES[1][0]

    def dump(index: int) -> dict[bytes, object]:
        with Connection(cluster.addresses[index]) as connection:
            connection.send("CLUSTER", "GETKEYSINSLOT", home, 100)
            names = [b"{0}" + kind for kind in (b"hash", b"zset", b"list", b"stream", b"short-lived")]
            assert len(connection.read()) == len(names) + 1 + len(strange)
            found = {key: connection.call("DUMP", key) for key in (*strange, *names)}
            return found | {b"set": sorted(connection.call("SMEMBERS", "{0}set"))}

    before = dump(1)
    mover, _ = move(cluster.addresses, (1, 2, f"{home}"))
    assert dump(2) == before
    assert mover.keys == len(strange) + 6
    assert 0 < cluster.ok(2, "PTTL", "{0}short-lived") <= 60_000
    assert cluster.ok(1, "DBSIZE") == 0


def test_several_sources_at_once_and_windows_with_and_without_keys(nodes: Take) -> None:
    cluster = pair(nodes)
    keys = [*fill(cluster, 0, range(7000, 8192), 800), *fill(cluster, 1, range(8192, 8200), 500)]
    mover, events = move(cluster.addresses, (0, 2, "5000-8191"), (1, 2, "8192-9000"))
    assert (mover.slots, mover.keys) == (3192 + 809, len(keys))
    assert [cluster.ok(index, "DBSIZE") for index in range(3)] == [0, 0, len(keys)]
    for key in keys:
        assert cluster.ok(2, "GET", key) == f"value of {key}"
    assert marks(cluster, range(3)) == 0
    moved = [event for event in events if isinstance(event, Moved)]
    assert moved[0].slots == 1  # the target had none
    assert moved[0].keys == 0
    assert moved[-1].slots == moved[-1].all_slots == mover.slots
    assert {event.step.node for event in events if isinstance(event, Done)} == set(cluster.addresses[:2])


def test_a_primary_can_give_away_everything(nodes: Take) -> None:
    cluster = pair(nodes, 2)
    keys = fill(cluster, 0, range(8192), 100)
    move(cluster.addresses, (0, 1, "0-8191"))
    assert cluster.ok(1, "DBSIZE") == len(keys)


def test_replicas_have_what_moved_when_the_move_ends(nodes: Take) -> None:
    four = pair(nodes, 4)
    four.configure({"repl-diskless-sync-delay": "0"})
    four.until(
        lambda: not isinstance(four.call(3, "CLUSTER", "REPLICATE", four.id(1)), Error), "it replicates"
    )
    four.until(lambda: "master_link_status:up" in four.ok(3, "INFO", "replication"), "it is in sync")
    keys = fill(four, 0, range(8000, 8192), 300)
    move(four.addresses, (0, 1, "8000-8191"))
    assert four.ok(3, "DBSIZE") == len(keys)


def test_a_copy_of_a_killed_run_is_replaced_if_it_is_the_same(nodes: Take) -> None:
    cluster = pair(nodes)
    contents: dict[str, Sequence[object]] = {
        "{0}string": ("SET", "x" * 3_000_000),
        "{0}list": ("RPUSH", *range(500)),
        "{0}zset": ("ZADD", *(word for number in range(300) for word in (number / 3, f"m{number}"))),
        "{0}hash": ("HSET", *(word for number in range(900) for word in (f"f{number}", number))),
        "{0}set": ("SADD", *(f"m{number}" for number in range(900))),
        "{0}stream": ("XADD", "1-1", "f", "v"),
    }
    home = int(cluster.ok(0, "CLUSTER", "KEYSLOT", "{0}x"))
    cluster.ok(2, "CLUSTER", "SETSLOT", home, "IMPORTING", cluster.id(1))
    for key, (command, *words) in contents.items():
        cluster.ok(1, command, key, *words)
        with Connection(cluster.addresses[2]) as target:
            assert target.call("ASKING") == "OK"
            backwards = words[::-1] if command == "SADD" else words
            assert not isinstance(target.call(command, key, *backwards), Error)
    move(cluster.addresses, (1, 2, f"{home}"))
    assert cluster.ok(1, "DBSIZE") == 0
    assert cluster.ok(2, "DBSIZE") == len(contents)


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        (("SET", "one"), ("SET", "two")),
        (("SET", "one"), ("RPUSH", "one")),
        (("HSET", "f", "1"), ("HSET", "f", "2")),
        (("SADD", "a", "b"), ("SADD", "a", "c")),
        (("ZADD", "1", "a"), ("ZADD", "2", "a")),
        (("RPUSH", "1", "2"), ("RPUSH", "2", "1")),
        (("XADD", "1-1", "f", "v"), ("XADD", "1-2", "f", "v")),
    ],
)
def test_a_key_with_two_values_is_refused(
    any_nodes: Take, mine: Sequence[str], theirs: Sequence[str]
) -> None:
    cluster = pair(any_nodes)
    key = b"{0}\xff" + b"long" * 50
    home = int(cluster.ok(0, "CLUSTER", "KEYSLOT", "{0}x"))
    cluster.ok(2, "CLUSTER", "SETSLOT", home, "IMPORTING", cluster.id(1))
    cluster.ok(1, mine[0], key, *mine[1:])
    with Connection(cluster.addresses[2]) as target:
        assert target.call("ASKING") == "OK"
        target.call(theirs[0], key, *theirs[1:])
    with pytest.raises(Refused) as refused:
        move(cluster.addresses, (1, 2, f"{home}"))
    [problem] = refused.value.problems
    assert (problem.code, problem.exit) == ("key-differs", Exit.REFUSED)
    assert problem.message.startswith('The key "{0}\udcfflonglong')
    assert (problem.node, problem.peer) == (cluster.addresses[1], cluster.addresses[2])
    assert len(problem.message) < 300
    assert cluster.ok(1, "EXISTS", key) == 1


def joined(two: Servers, folder: Path) -> Nodes:
    """Two members, of which the first serves all slots."""
    two.call(0, "CLUSTER", "ADDSLOTS", *range(16384))
    two.call(0, "CLUSTER", "MEET", "127.0.0.1", two.ports[1])
    cluster = Nodes(two, 2, folder)
    for index in range(2):
        cluster.until(lambda at=index: "cluster_state:ok" in cluster.ok(at, "CLUSTER", "INFO"), "it is ok")
        cluster.until(
            lambda at=index: "handshake" not in cluster.ok(at, "CLUSTER", "NODES"), "they are joined"
        )
    return cluster


@pytest.mark.parametrize("user", [None, "mover"])
def test_the_source_logs_in_at_the_target(server_kind: str, user: str | None, tmp_path: Path) -> None:
    with Servers(server_kind, 2, password="a-secret-password") as two:
        cluster = joined(two, tmp_path)
        for index in range(2):
            cluster.ok(index, "ACL", "SETUSER", "mover", "on", ">another-password", "~*", "+@all")
        login = {"password": "a-secret-password"}
        if user is not None:
            login = {"username": user, "password": "another-password"}
        fill(cluster, 0, range(100), 10)
        move(two.addresses, (0, 1, "0-99"), **login)
        assert cluster.ok(1, "DBSIZE") == 10
        # What the target has against the login is told without the password.
        for name in ("mover", "default"):
            cluster.ok(1, "ACL", "SETUSER", name, "-restore-asking", "-restore")
        fill(cluster, 0, range(100, 200), 10)
        with pytest.raises(NodeFailed) as failed:
            move(two.addresses, (0, 1, "100-199"), **login)
        [problem] = failed.value.problems
        assert "password" not in f"{problem}"
        assert (problem.code, problem.node) == ("no-permission", two.addresses[1])


def test_all_databases_are_moved(require: Callable[[str], str], tmp_path: Path) -> None:
    with Servers(require("valkey91"), 2, extra=["--cluster-databases", "16"]) as two:
        joined(two, tmp_path)
        keys = keys_in(range(100), 60)
        for database in (0, 3, 15):
            with Connection(two.addresses[0]) as connection:
                connection.call("SELECT", database)
                for key in keys:
                    assert connection.call("SET", key, f"{database}") == "OK"
        mover, _ = move(two.addresses, (0, 1, "0-99"))
        assert mover.keys == 3 * len(keys)
        for database in (0, 3, 15):
            with Connection(two.addresses[1]) as connection:
                connection.call("SELECT", database)
                assert {connection.call("GET", key) for key in keys} == {f"{database}"}
        assert "keys=" not in two.call(0, "INFO", "keyspace")


def test_a_large_hash_moves_and_so_do_its_neighbours(server_kind: str, pool: object, nodes: Take) -> None:
    cluster = pair(nodes)
    keys = fill(cluster, 0, range(8000, 8100), 300)
    field = os.urandom(500_000)
    with Connection(cluster.addresses[0], timeout=30) as connection:
        for number in range(40):
            assert connection.call("HSET", keys[0] + "x", f"f{number}", field) != "", "it is set"
    home = slot_of(keys[0] + "x")
    assert home < 8192, "the key is in a slot of the first node"
    move(cluster.addresses, (0, 2, f"8000-8100,{home}"))
    assert cluster.ok(2, "HLEN", keys[0] + "x") == 40
    assert cluster.ok(2, "DBSIZE") == len(keys) + 1


def test_a_cancelled_move_ends_its_window_first(any_nodes: Take) -> None:
    cluster = pair(any_nodes)
    keys = fill(cluster, 0, range(6000, 8192), 1500)
    seen: list[Event] = []

    def stop(event: Event, cancel: Callable[[], object]) -> None:
        seen.append(event)
        if len(seen) == 2:
            cancel()

    mover, events = move(cluster.addresses, (0, 2, "6000-8191"), stop=stop)
    assert isinstance(events[-1], Done)
    assert events[-1].extra  # it was cancelled
    assert marks(cluster, range(3)) == 0
    assert 0 < mover.slots < 2192
    assert sum(cluster.ok(index, "DBSIZE") for index in (0, 2)) == len(keys)
    assert len(Slots.parse(f"{8192 - mover.slots}-8191")) == mover.slots
    # The rest is what a plan after another look has.
    move(cluster.addresses, (0, 2, f"6000-{8191 - mover.slots}"))
    assert cluster.ok(2, "DBSIZE") == len(keys)


def test_a_target_that_answers_late_gets_its_keys_in_the_end(any_nodes: Take) -> None:
    cluster = pair(any_nodes)
    cluster.configure({"cluster-node-timeout": "2000"})
    keys = fill(cluster, 0, range(8000, 8192), 300)

    def stall() -> None:
        time.sleep(0.05)
        for _ in range(3):
            cluster.servers.stop(2)
            time.sleep(0.6)
            cluster.servers.cont(2)
            time.sleep(0.05)

    thread = threading.Thread(target=stall)
    thread.start()
    try:
        move(cluster.addresses, (0, 2, "8000-8191"))
    finally:
        thread.join()
    assert cluster.ok(2, "DBSIZE") == len(keys)
    assert cluster.ok(0, "DBSIZE") == 0


def test_a_target_that_dies_is_named(server_kind: str, tmp_path: Path) -> None:
    with Servers(server_kind, 2, node_timeout=60_000) as two:
        cluster = joined(two, tmp_path)
        fill(cluster, 0, range(2000), 3000)
        thread = threading.Timer(0.15, lambda: two.kill(1))
        thread.start()
        with pytest.raises(NodeFailed) as failed:
            move(two.addresses, (0, 1, "0-16383"))
        thread.join()
        assert two.addresses[1] in str(failed.value)


@pytest.mark.parametrize("bus", ["yes", "no"])
@pytest.mark.parametrize("asked", ["tls", "plain"])
def test_with_tls_the_source_dials_the_port_that_it_can_talk_to(
    bus: str, asked: str, require: Callable[[str], str], tmp_path: Path
) -> None:
    pki = Pki(tmp_path / "pki")
    cert, private = pki.issue("node", names=["localhost"], ips=["127.0.0.1"])
    ports = free_ports(4)

    def options(index: int) -> list[str]:
        files = [
            "--tls-ca-cert-file",
            str(pki.ca),
            "--tls-cert-file",
            str(cert),
            "--tls-key-file",
            str(private),
        ]
        more = ["--tls-cluster", bus, "--tls-auth-clients", "no"]
        return ["--tls-port", str(ports[2 + index]), *files, *more]

    with Servers(require("redis70"), 2, ports=ports[:2], extra=options) as two:
        two.call(0, "CLUSTER", "ADDSLOTS", *range(16384))
        two.call(0, "CLUSTER", "MEET", "127.0.0.1", ports[3 if bus == "yes" else 1])
        cluster = Nodes(two, 2, tmp_path)
        for index in range(2):
            cluster.until(lambda at=index: "state:ok" in cluster.ok(at, "CLUSTER", "INFO"), "it is ok")
        fill(cluster, 0, range(100), 50)
        names = [f"localhost:{port}" for port in (ports[2:] if asked == "tls" else ports[:2])]
        keys = {"nodes": names, "tls": {"ca": str(pki.ca)}} if asked == "tls" else {"nodes": names}
        text = "version: 1\n" + "".join(f"{key}: {json.dumps(value)}\n" for key, value in keys.items())

        async def run() -> None:
            fleet = Fleet(load(text, "t.yaml"), lambda node: (None, None))
            try:
                mover = Mover(fleet, lambda event: None)
                await mover.run([transfer(names, 0, 1, "0-99")], await views_of(fleet, names))
            finally:
                await fleet.close()

        asyncio.run(run())
        assert cluster.ok(1, "DBSIZE") == 50


@ONE_KIND
def test_keys_that_clients_delete_while_the_target_stalls_are_named(nodes: Take) -> None:
    cluster = pair(nodes)
    cluster.configure({"cluster-node-timeout": "2000"})
    slot = slot_of("{a}")
    assert slot >= 8192
    keys = [f"{{a}}{number}" for number in range(20_000)]
    with Connection(cluster.addresses[1], timeout=30) as source:
        for key in keys:
            source.send("SET", key, "v" * 100)
        assert {source.read() for _ in keys} == {"OK"}
    deleted: set[str] = set()

    def stall() -> None:
        with Connection(cluster.addresses[2]) as target:
            while target.call("CLUSTER", "COUNTKEYSINSLOT", slot) < 2000:
                time.sleep(0.001)
        cluster.servers.stop(2)
        # They wait until the source has given up its MIGRATE.
        with Connection(cluster.addresses[1], timeout=30) as source:
            for key in keys:
                source.send("DEL", key)
            deleted.update(key for key in keys if source.read() == 1)
        cluster.servers.cont(2)

    thread = threading.Thread(target=stall)
    thread.start()
    try:
        _, events = move(cluster.addresses, (1, 2, f"{slot}"))
    finally:
        thread.join()
    assert deleted
    back = {key for key in deleted if cluster.ok(2, "EXISTS", key)}
    warned = [event.problem for event in events if isinstance(event, Warned)]
    # The target may have answered in time by chance.
    assert {problem.code for problem in warned} >= ({"keys-may-be-back"} if back else set())
