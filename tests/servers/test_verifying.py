"""The clients and the dataset that verify: they find what is missing, wrong, stale, or in the wrong place."""

from __future__ import annotations

from typing import Any

import pytest

from tests.harness import shards
from tests.harness.load import Data
from tests.harness.writer import Verifier, writing
from tests.servers.clients import connect
from tests.servers.conftest import Take

# The soak has the other kinds.
NORMAL_KINDS = {"valkey91"}


def test_a_comparison_finds_every_kind_of_damage(nodes: Take) -> None:
    four = nodes(4)
    four.ready_up(four.file(replicas=1))
    one = four.addresses[0]
    data = Data(600)
    data.fill(one)
    assert data.compare(one) == []
    four.until(lambda: data.compare(one, replicas=True) == [], "the replicas have all keys")
    client = connect(four)
    client.delete("key:1")
    client.set("key:2", "x")
    client.sadd("key:18", "x")
    client.persist("key:7")
    client.expire("key:3", 10_000)
    client.set("stranger", "x")
    client.close()
    found = " ".join(data.compare(one))
    for words in (
        "b'key:1' is missing",
        "b'key:2' (string) is b'x', not",
        "b'key:18' (set) is",
        "b'key:7' has a TTL of -1 ms",
        "b'key:3' has a TTL of",
        "has b'stranger', which nobody has written",
    ):
        assert words in found
    assert not any("stranger" in each for each in data.compare(one, others="stranger"))


def test_a_key_where_it_does_not_belong_and_an_open_slot_are_found(any_nodes: Take) -> None:
    two = any_nodes(2)
    two.ready_up(two.file())
    data = Data(100)
    data.fill(two.addresses[0])
    slot = two.ok(0, "CLUSTER", "KEYSLOT", "key:1")
    owner = two.addresses.index(shards.owners(two.addresses[0])[slot])
    other = 1 - owner
    two.ok(other, "CLUSTER", "SETSLOT", slot, "IMPORTING", two.id(owner))
    two.ok(owner, "CLUSTER", "SETSLOT", slot, "MIGRATING", two.id(other))
    assert sorted(shards.open_slots(two.addresses)) == sorted(
        [
            f"{two.addresses[other]} [{slot}-<-{two.id(owner)}]",
            f"{two.addresses[owner]} [{slot}->-{two.id(other)}]",
        ]
    )
    # A copy that stays behind on both sides.
    two.ok(owner, "MIGRATE", "127.0.0.1", two.ports[other], "key:1", 0, 5000, "COPY")
    for index in (owner, other):
        two.ok(index, "CLUSTER", "SETSLOT", slot, "STABLE")
    assert data.compare(two.addresses[0]) == [
        f"{two.addresses[other]} has b'key:1' of a slot that it does not serve"
    ]


@pytest.mark.parametrize("library", ["redis", "valkey"])
def test_a_client_that_writes_and_reads_reports_its_times(any_nodes: Take, library: str) -> None:
    two = any_nodes(2)
    two.ready_up(two.file())
    with writing(two.addresses, [library]) as writers:
        writers.phase("more")
    assert writers.problems() == []
    (report,) = writers.reports
    assert report.compared > 100
    assert report.phases["end"].calls >= report.compared
    assert 0 < report.phases["end"].p50 <= report.phases["end"].p99 <= report.phases["end"].slowest


class _Forgetful:
    """A client of a store that, once `broken`, accepts writes and loses them."""

    def __init__(self) -> None:
        self.store: dict[str, Any] = {}
        self.broken = False

    def set(self, key: str, value: str, px: int | None = None) -> bool:
        if not self.broken:
            self.store[key] = value
        return True

    def get(self, key: str) -> str | None:
        return None if self.store.get(key) is None else str(self.store[key])

    def incr(self, key: str) -> int:
        self.store[key] = int(self.store.get(key, 0)) + (not self.broken)
        return int(self.store[key])

    def delete(self, key: str) -> int:
        return int(self.store.get(key) is not None if self.broken else self.store.pop(key, None) is not None)

    def mset(self, values: dict[str, str]) -> bool:
        if not self.broken:
            self.store |= values
        return True

    def mget(self, keys: list[str]) -> list[str | None]:
        return [self.get(key) for key in keys]

    def pttl(self, key: str) -> int:
        return -1


@pytest.mark.parametrize("sort", ["string", "counter", "pair", "expiring"])
def test_lost_writes_of_every_sort_of_key_are_told(sort: str) -> None:
    verifier = Verifier(_Forgetful(), "w:")
    write, read = {
        "string": (verifier._write, verifier._read),
        "counter": (verifier._count, verifier._count),
        "pair": (verifier._pair, verifier._pair),
        "expiring": (verifier._expire, verifier._look),
    }[sort]
    write("1")
    read("1")
    assert verifier.problems == []
    verifier.client.broken = True
    write("1")
    read("1")
    assert verifier.problems


def test_deletes_that_are_lost_and_a_lost_ttl_are_told() -> None:
    verifier = Verifier(_Forgetful(), "w:")
    verifier._write("1")
    verifier.client.broken = True
    verifier._delete("1")
    verifier._read("1")
    assert len(verifier.problems) == 1
    verifier._expire("2")
    verifier.finish()
    assert "TTL is lost" in " ".join(verifier.problems)
