"""What would move, and what forbids it, on real servers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from clusterboot.core.steps import MoveSlots
from clusterboot.core.views import parse_fields
from clusterboot.errors import Exit, Problem
from clusterboot.rebalance.big_keys import slot_of
from clusterboot.rebalance.functions import copy_functions
from clusterboot.rebalance.measure import Measured, measure
from clusterboot.slots import Slots
from tests.harness.asking import asking
from tests.harness.resp import Connection
from tests.servers.pool import Nodes

# The soak has the other kinds.
NORMAL_KINDS = {"valkey91"}

Take = Callable[[int], Nodes]
HALVES = [(0, 8191), (8192, 16383)]


def step(cluster: Nodes, source: int, target: int, slots: str) -> MoveSlots:
    return MoveSlots(cluster.addresses[source], cluster.addresses[target], Slots.parse(slots))


def measured(cluster: Nodes, *steps: MoveSlots, **login: str) -> Measured:
    async def look() -> Measured:
        async with asking(cluster.addresses, **login) as (fleet, views):
            return await measure(fleet, steps, views)

    return asyncio.run(look())


def refused(found: Measured) -> Problem:
    [problem] = found.problems
    assert problem.exit is Exit.REFUSED, problem
    return problem


def keys_in(slots: range, count: int) -> list[str]:
    """So many different keys in these slots."""
    found = (key for number in range(10**6) if slot_of(key := f"key:{number}") in slots)
    return [next(found) for _ in range(count)]


def owner(key: str) -> int:
    return 0 if slot_of(key) < HALVES[1][0] else 1


@pytest.fixture
def pair(nodes: Take) -> Nodes:
    """Two primaries with half of the slots each, and a third without any."""
    cluster = nodes(3)
    cluster.join(range(3), HALVES)
    for index in range(3):
        cluster.until(lambda at=index: "cluster_state:ok" in cluster.ok(at, "CLUSTER", "INFO"), "it is ok")
    return cluster


def test_keys_are_counted_in_the_slots_that_move(pair: Nodes) -> None:
    for key in [*keys_in(range(100), 3), *keys_in(range(200, 300), 4), *keys_in(range(9000, 9100), 5)]:
        pair.ok(owner(key), "SET", key, "x")
    steps = [step(pair, 0, 2, "0-99"), step(pair, 0, 1, "250-299"), step(pair, 1, 2, "9000-9099")]
    found = measured(pair, *steps)
    assert not found.problems
    in_the_middle = sum(slot_of(key) >= 250 for key in keys_in(range(200, 300), 4))
    assert [each.keys for each in found.transfers] == [3, in_the_middle, 5]
    assert [each.step for each in found.transfers] == steps
    methods = {each.method for each in found.transfers}
    assert methods == ({"atomic"} if pair.kind == "valkey91" else {"copy"})


def test_nothing_is_changed(pair: Nodes) -> None:
    pair.forget()
    measured(pair, step(pair, 0, 2, "0-99"))
    assert not pair.changes()


def test_memory_that_would_not_be_enough(pair: Nodes) -> None:
    for key in keys_in(range(8192), 300):
        pair.ok(0, "SET", key, "x" * 10_000)
    used = int(parse_fields(str(pair.ok(2, "INFO", "memory")))["used_memory"])
    pair.ok(2, "CONFIG", "SET", "maxmemory", str(used + 1_500_000))
    try:
        found = refused(measured(pair, step(pair, 0, 2, "0-8100")))
        assert found.code == "too-little-memory"
        assert found.node == pair.addresses[2]
        assert not measured(pair, step(pair, 0, 2, "0-10")).problems
    finally:
        pair.ok(2, "CONFIG", "SET", "maxmemory", "0")


def test_keys_in_a_slot_that_the_target_does_not_serve(pair: Nodes) -> None:
    [key] = keys_in(range(100), 1)
    pair.ok(2, "CLUSTER", "SETSLOT", slot_of(key), "IMPORTING", pair.id(0))
    with Connection(pair.addresses[2]) as connection:
        assert [connection.call("ASKING"), connection.call("SET", key, "old")] == ["OK", "OK"]
    pair.ok(2, "CLUSTER", "SETSLOT", slot_of(key), "STABLE")
    found = refused(measured(pair, step(pair, 0, 2, "0-99")))
    assert found.code == "keys-elsewhere"
    assert f"slot {slot_of(key)}," in found.message
    assert not measured(pair, step(pair, 0, 2, f"{slot_of(key) + 1}-99")).problems


@pytest.mark.parametrize("kept", ["the same", "none"])
def test_functions_that_the_target_lacks_can_be_copied(pair: Nodes, kept: str) -> None:
    if pair.kind == "redis62":
        pytest.skip("no functions before Redis 7.0")
    code = "#!lua name=mine\nredis.register_function('f', function() return 'ü' end)\n"
    try:
        pair.ok(0, "FUNCTION", "LOAD", code)
        if kept == "the same":
            pair.ok(2, "FUNCTION", "LOAD", code)
        assert not measured(pair, step(pair, 0, 2, "0-99")).problems

        async def copy() -> int:
            async with asking(pair.addresses) as (fleet, views):
                source, _, target = (views[name] for name in pair.addresses)
                return await copy_functions(fleet, source, target)

        assert asyncio.run(copy()) == (0 if kept == "the same" else 1)
        assert asyncio.run(copy()) == 0
        assert pair.ok(2, "FUNCTION", "LIST", "WITHCODE") == pair.ok(0, "FUNCTION", "LIST", "WITHCODE")
    finally:
        for index in range(3):
            pair.ok(index, "FUNCTION", "FLUSH")


@pytest.mark.parametrize(
    "other",
    [
        "#!lua name=mine\nredis.register_function('f', function() return 2 end)\n",
        "#!lua name=yours\nredis.register_function('f', function() return 1 end)\n",
    ],
    ids=["code", "function"],
)
def test_functions_that_differ_are_refused(pair: Nodes, other: str) -> None:
    if pair.kind == "redis62":
        pytest.skip("no functions before Redis 7.0")
    try:
        pair.ok(0, "FUNCTION", "LOAD", "#!lua name=mine\nredis.register_function('f', function() end)\n")
        pair.ok(2, "FUNCTION", "LOAD", other)
        assert refused(measured(pair, step(pair, 0, 2, "0-99"))).code == "functions-differ"
    finally:
        for index in range(3):
            pair.ok(index, "FUNCTION", "FLUSH")


def test_sources_of_one_target_have_the_same_functions(pair: Nodes) -> None:
    if pair.kind == "redis62":
        pytest.skip("no functions before Redis 7.0")
    try:
        for index in range(2):
            code = f"#!lua name=mine\nredis.register_function('f', function() return {index} end)\n"
            pair.ok(index, "FUNCTION", "LOAD", code)
        steps = [step(pair, 0, 2, "0-99"), step(pair, 1, 2, "9000-9099")]
        problem = refused(measured(pair, *steps))
        assert problem.code == "functions-differ"
        assert {problem.node, problem.peer} == set(pair.addresses[:2])
        assert not measured(pair, steps[0]).problems
    finally:
        for index in range(2):
            pair.ok(index, "FUNCTION", "FLUSH")


def test_a_key_that_would_block_its_node_too_long(pair: Nodes) -> None:
    """Copied keys only: a job of Valkey 9 blocks nobody."""
    small, big = keys_in(range(100), 2)
    pair.ok(0, "SET", small, "x" * 1000)
    pair.ok(0, "SETRANGE", big, 12_000_000, "x")
    moving = step(pair, 0, 2, f"{slot_of(big)}")
    assert not measured(pair, moving).problems, "15 s are enough for 12 MB"
    for index in range(3):
        pair.ok(index, "CONFIG", "SET", "cluster-node-timeout", "200")
    if pair.kind == "valkey91":
        assert not measured(pair, moving).problems
        return
    problem = refused(measured(pair, moving))
    assert problem.code == "key-too-big"
    assert repr(big) in problem.message
    assert not measured(pair, step(pair, 0, 2, f"{slot_of(small)}")).problems


def test_a_slot_with_very_many_keys_is_scanned(pair: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clusterboot.rebalance.big_keys._MAX_LISTED", 3)
    for number in range(10):
        pair.ok(0, "SET", f"{{tag1}}{number}", "x")
    if slot_of("{tag1}") >= HALVES[1][0]:
        raise AssertionError("the tag is of the first node")
    pair.ok(0, "SETRANGE", "{tag1}big", 12_000_000, "x")
    for index in range(3):
        pair.ok(index, "CONFIG", "SET", "cluster-node-timeout", "200")
    found = measured(pair, step(pair, 0, 2, f"{slot_of('{tag1}')}"))
    assert [problem.code for problem in found.problems] == (
        [] if pair.kind == "valkey91" else ["key-too-big"]
    )


def test_slots_of_keys_are_those_of_the_server(pair: Nodes) -> None:
    for key in ("", "a", "{a}b", "{}a", "a{b", "}{a}", "ü", "{a}{b}"):
        assert slot_of(key) == pair.ok(0, "CLUSTER", "KEYSLOT", key)


def rules(kind: str) -> Sequence[str]:
    """What looking needs."""
    return ("-@all", "+info", "+cluster|info", "+cluster|nodes", "+config|get", "~*")


def test_a_missing_permission_is_named(pair: Nodes) -> None:
    for index in range(3):
        pair.ok(index, "ACL", "SETUSER", "ops", "on", ">secret", *rules(pair.kind))
    found = measured(pair, step(pair, 0, 2, "0-99"), username="ops", password="secret")
    assert {problem.code for problem in found.problems} == {"no-permission"}
    assert {problem.exit for problem in found.problems} == {Exit.NODE}
    assert any("COUNTKEYSINSLOT" in problem.message for problem in found.problems)
