"""`up` to Ready: confirmed by a probe of other code, and by an application the moment it has ended."""

from __future__ import annotations

from typing import Any

import pytest

from tests.servers.clients import write_and_read
from tests.servers.conftest import Take
from tests.servers.pool import TIMERS, Nodes


def _uneven(five: Nodes) -> dict[str, Any]:
    """Five nodes in three zones with names, two of them spelled replicas, and primaries of other weights."""
    zones = ("eu-1a", "eu-1b", "eu-1c", "eu-1a", "eu-1b")
    nodes: list[dict[str, Any]] = [
        {"name": name, "host": "127.0.0.1", "port": port, "zone": zone}
        for name, port, zone in zip("abcde", five.ports, zones, strict=True)
    ]
    nodes[0]["weight"], nodes[1]["weight"], nodes[2]["weight"] = 4, 2, 1
    nodes[3]["replica_of"] = "b"
    nodes[4]["role"] = "replica"
    return {"nodes": nodes}


SHAPES: dict[str, tuple[int, Any]] = {
    "six nodes with one replica each": (6, lambda nodes: {"replicas": 1}),
    "three primaries": (3, lambda nodes: {}),
    "one node alone": (1, lambda nodes: {}),
    "five nodes with weights and zones": (5, _uneven),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_cluster_can_be_used_when_up_ends_and_a_second_up_changes_nothing(nodes: Take, shape: str) -> None:
    count, keys = SHAPES[shape]
    found = nodes(count)
    file = found.file(**keys(found))
    first = found.ready_up(file)
    ports = write_and_read(found)
    assert first.out.startswith("● Ready in "), first
    assert found.all_timers() == [TIMERS] * count

    primaries = [port for port, writes in ports.items() if writes]
    if shape.startswith("five"):
        assert ports.keys() == set(found.ports[:3])
        assert ports[found.ports[0]] > 1.5 * ports[found.ports[1]] > 2 * ports[found.ports[2]]
        assert _primary_of(found, 3) == found.id(1)
        # e is in the zone of b, which has a replica already; of a and c, both elsewhere, a is heavier.
        assert _primary_of(found, 4) in (found.id(0), found.id(2))
    else:
        assert len(primaries) == {6: 3, 3: 3, 1: 1}[count]

    found.forget()
    second = found.ready_up(file)
    assert found.changes() == {}
    assert second.out.startswith("● Already Ready: "), second


def _primary_of(found: Nodes, index: int) -> str:
    line = next(line for line in found.ok(index, "CLUSTER", "NODES").splitlines() if "myself" in line)
    return str(line.split()[3])


def test_servers_that_have_just_started_become_ready_as_well(
    server_kind: str, servers: Any, tmp_path: Any
) -> None:
    """For their first two seconds they say cluster_state:fail, whatever is done."""
    six = Nodes(servers(server_kind, 6), 6, tmp_path)
    six.ready_up(six.file(replicas=1))
    assert len(six.sent("CLUSTER", "MEET")) == 5


def test_each_step_is_sent_once_and_in_its_order(nodes: Take) -> None:
    six = nodes(6)
    document = six.ready_up(six.file(replicas=1), "-o", "json").json()
    kinds = [step["kind"] for step in document["steps"]]
    assert sorted(kinds) == ["epoch"] * 6 + ["meet"] * 5 + ["replicate"] * 3 + ["slots"] * 3
    assert kinds.index("meet") == 9  # epochs can only be set while nobody is known
    assert kinds.index("replicate") == 14
    assert (document["ready"], document["repaired"], document["extra_meets"]) == (True, 0, 0)

    for index, commands in six.changes().items():
        mine = [command[1] for command in commands if command[0] == "CLUSTER"]
        add = "ADDSLOTS" if six.kind == "redis62" else "ADDSLOTSRANGE"
        first = ["SET-CONFIG-EPOCH"] if index > 2 else ["SET-CONFIG-EPOCH", add]
        assert mine == first + (["MEET"] * 5 if index == 0 else []) + ([] if index < 3 else ["REPLICATE"])
    epochs = {line.split()[6] for line in six.ok(0, "CLUSTER", "NODES").splitlines() if "master" in line}
    assert epochs == {"4", "5", "6"}  # the lower ones are those of the replicas


def test_without_a_boost_no_timer_is_touched(any_nodes: Take) -> None:
    three = any_nodes(3)
    three.configure({"cluster-node-timeout": "1500"})
    three.forget()
    document = three.ready_up(three.file(), "--no-boost", "-o", "json").json()
    assert three.sent("CONFIG") == []
    assert document["boost"] == {
        "used": False,
        "settings": {},
        "nodes": 0,
        "restored": 0,
        "reason": "switched off",
    }


def test_plan_boost_false_is_as_no_boost(any_nodes: Take) -> None:
    three = any_nodes(3)
    three.configure({"cluster-node-timeout": "1500"})
    three.forget()
    outcome = three.ready_up(three.file(plan={"boost": False}))
    assert three.sent("CONFIG") == []
    assert "no boost: switched off" in outcome.out


def test_fewer_than_three_primaries_are_ready_with_a_warning(any_nodes: Take) -> None:
    two = any_nodes(2)
    warnings = two.ready_up(two.file(), "-o", "json").json()["warnings"]
    assert [warning["code"] for warning in warnings] == ["few-primaries"]
