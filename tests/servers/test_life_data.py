"""What moves along with the keys, and who may move it: functions, copies of a killed run, passwords."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ONE_KIND
from tests.harness import shards
from tests.harness.cli import clusterboot
from tests.harness.load import Data
from tests.harness.resp import Connection
from tests.harness.resp import call as call_with
from tests.harness.servers import Servers
from tests.servers.conftest import Take
from tests.servers.life import Life
from tests.servers.pool import Nodes

Start = Callable[..., Servers]

_EVEN = {0: 1, 1: 1, 2: 1}
_LIBRARY = "#!lua name=mine\nredis.register_function('answer', function() return {} end)"


@pytest.mark.parametrize("kind", ["redis70", pytest.param("valkey91", marks=pytest.mark.soak)])
def test_functions_go_first(require: Callable[[str], str], servers: Start, tmp_path: Path, kind: str) -> None:
    life = Life(Nodes(servers(require(kind), 4), 4, tmp_path), Data(500))
    life.form(life.primaries(0, 1, 2))
    for index in range(3):
        life.nodes.ok(index, "FUNCTION", "LOAD", _LIBRARY.replace("{}", "42"))
    life.change(life.primaries(0, 1, 2, 3), {**_EVEN, 3: 1})
    assert life.nodes.ok(3, "FCALL", "answer", 0) == 42


@pytest.mark.soak
def test_functions_that_differ_are_refused(
    require: Callable[[str], str], servers: Start, tmp_path: Path
) -> None:
    life = Life(Nodes(servers(require("redis70"), 4), 4, tmp_path), Data(500))
    life.form(life.primaries(0, 1, 2))
    life.nodes.up(life.file(life.primaries(0, 1, 2, 3)))
    for index, number in ((0, "42"), (3, "43")):
        life.nodes.ok(index, "FUNCTION", "LOAD", _LIBRARY.replace("{}", number))
    life.refuses(life.file(life.primaries(0, 1, 2, 3)), "functions-differ")


@pytest.mark.parametrize("same", [pytest.param(True, marks=pytest.mark.soak), False], ids=["same", "another"])
@pytest.mark.parametrize(
    "server_kind",
    ["redis70", *(pytest.param(kind, marks=pytest.mark.soak) for kind in ("redis62", "valkey91"))],
    indirect=True,
)
def test_a_copy_that_a_killed_run_left_on_the_target(nodes: Take, same: bool) -> None:
    life = Life(nodes(4), Data(600))
    life.form(life.primaries(0, 1, 2))
    life.nodes.up(life.file(life.primaries(0, 1, 2, 3)))
    key = "key:1"
    slot = life.nodes.ok(0, "CLUSTER", "KEYSLOT", key)
    source = life.addresses.index(shards.owners(life.addresses[0])[slot])
    entries = [
        life.entry(index, role="primary", slots=slots)
        for index, slots in enumerate(_without(slot, ["0-5460", "5461-10922", "10923-16383"]))
    ]
    entries.append(life.entry(3, role="primary", slots=str(slot)))
    life.nodes.ok(3, "CLUSTER", "SETSLOT", slot, "IMPORTING", life.nodes.id(source))
    life.nodes.ok(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", life.nodes.id(3))
    assert life.nodes.ok(source, "MIGRATE", "127.0.0.1", life.nodes.ports[3], key, 0, 5000, "COPY") == "OK"
    if not same:
        with Connection(life.addresses[3]) as connection:
            assert connection.call("ASKING") == "OK"
            assert connection.call("SET", key, "another") == "OK"
    file = life.file(entries)
    if same:
        outcome = life.rebalance(file)
        assert shards.counts(life.addresses[0])[life.addresses[3]] == 1, outcome
        assert shards.open_slots(life.addresses) == [], outcome
        assert life.data.compare(life.addresses[0]) == [], outcome
    else:
        outcome = life.rebalance(file, exit=3)
        assert "key-differs" in [problem[0] for problem in outcome.named()], outcome
        assert life.nodes.ok(source, "CLUSTER", "COUNTKEYSINSLOT", slot) >= 1


def _without(slot: int, ranges: list[str]) -> list[str]:
    """The ranges without one slot."""
    found = []
    for each in ranges:
        low, high = map(int, each.split("-"))
        parts = [(low, slot - 1), (slot + 1, high)] if low <= slot <= high else [(low, high)]
        found.append(",".join(f"{first}-{last}" for first, last in parts if first <= last))
    return found


@ONE_KIND
def test_nodes_with_a_password(nodes: Take, tmp_path: Path) -> None:
    life = Life(nodes(4), Data(500))
    life.form(life.primaries(0, 1, 2))
    secret = "a-long-secret"
    for index in range(4):
        life.nodes.ok(index, "CONFIG", "SET", "masterauth", secret)
        life.nodes.ok(index, "CONFIG", "SET", "requirepass", secret)
    file = life.file(life.primaries(0, 1, 2, 3), auth={"password": secret})
    outcome = clusterboot("up", file, "--rebalance", "-o", "json")
    for address in life.addresses:
        assert call_with(address, "CONFIG", "SET", "requirepass", "", password=secret) == "OK"
        assert call_with(address, "CONFIG", "SET", "masterauth", "") == "OK"
    assert outcome.exit == 0, outcome
    assert secret not in outcome.out + outcome.err
    life.settled(life.file(life.primaries(0, 1, 2, 3)), life.primaries(0, 1, 2, 3), {**_EVEN, 3: 1})
