"""Killed in the middle of a move or a retirement, and run again: Ready, every key there, no slot open.

First clusterboot itself, at its k-th changing command; then a server, while clusterboot goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.harness import shards
from tests.harness.load import Data
from tests.harness.servers import SERVERS, Servers
from tests.servers.conftest import Take
from tests.servers.life import Entry, Life
from tests.servers.pool import Nodes, Pool, dying

Start = Callable[..., Servers]

# What a newcomer gets of two primaries: few slots with many keys, so that a run has few commands.
# The target begins with an empty slot: without any its replica would not be promoted.
_MOVED = (*range(5455, 5460), *range(10917, 10922))
_SLOTS = {
    False: {0: "0-5460", 1: "5461-10922", 2: "10923-16383"},
    True: {0: "0-5454", 1: "5461-10916", 2: "10923-16383", 3: "5455-5460,10917-10922"},
}
_REPLICAS = {False: {5: 0, 6: 1}, True: {5: 0, 6: 1, 4: 3}}
_SHARES = {False: {0: 5461, 1: 5462, 2: 5461}, True: {0: 5455, 1: 5456, 2: 5461, 3: 12}}


def _file(life: Life, grown: bool) -> tuple[Path, list[Entry]]:
    """Write the file of three primaries, or of four with a replica for the fourth."""
    entries = [
        *(life.entry(index, role="primary", slots=slots) for index, slots in _SLOTS[grown].items()),
        *life.replicas(_REPLICAS[grown]),
    ]
    retire = {} if grown else {"retire": [life.addresses[3], life.addresses[4]]}
    return life.file(entries, **retire), entries


def _formed(nodes: Nodes, keys: int = 1000) -> Life:
    life = Life(nodes, Data(keys, crowded=_MOVED))
    _, entries = _file(life, grown=False)
    life.form(entries)
    return life


def _every(life: Life, moment: str, ks: Sequence[int], alone: bool) -> int:
    """Kill a growth and a retirement at each k; return the last k that a run had."""
    last = 0
    for k in ks:
        killed = [_killed_at(life, grown, k, moment, alone) for grown in (True, False)]
        if not any(killed):
            break
        last = k
    return last


def _killed_at(life: Life, grown: bool, k: int, moment: str, alone: bool) -> bool:
    """Kill a run at its k-th changing command and run again; False when it had fewer than k."""
    file, entries = _file(life, grown)
    where = f"{'growth' if grown else 'retirement'} killed at changing command {k}, {moment}"
    died = dying(file, k, moment, "--rebalance", alone=alone)
    assert died.exit in (0, -9), f"{where}: {died}"
    if died.exit:
        again = life.rebalance(file)
        life.settled(file, entries, _SHARES[grown], f"{where}: {again}")
    else:
        life.settled(file, entries, _SHARES[grown], f"{where}: {died}")
    if not grown:
        life.alone(3, 4)
    return died.exit != 0


@pytest.mark.parametrize(
    "server_kind", ["valkey91", "redis70", pytest.param("redis62", marks=pytest.mark.soak)], indirect=True
)
def test_a_killed_run_is_gone_on_with(nodes: Take) -> None:
    life = _formed(nodes(7))
    # In the middle of the moves: Valkey has few commands for them.
    assert _every(life, "answered", (12 if life.nodes.kind == "valkey91" else 30,), alone=True)


@pytest.mark.soak
@pytest.mark.parametrize("moment", ["answered", "sent"])
@pytest.mark.parametrize("kind", SERVERS)
@pytest.mark.parametrize("alone", [False, True], ids=["helped", "alone"])
def test_killed_at_every_single_command(
    pool: Pool, tmp_path: Path, kind: str, moment: str, alone: bool
) -> None:
    life = _formed(pool.take(kind, 7, tmp_path))
    last = _every(life, moment, range(1, 10_000), alone)
    assert last > 10, f"a whole run has only {last} changing commands"


# The victim, and the replica that takes its place.
_VICTIMS = {
    "source": (0, 5),
    "target": (3, 4),
    "replica-of-source": (5, None),
    "replica-of-target": (4, None),
}
# At which of the commands that move slots: Valkey has few, each of them a whole job.
_KS = {"valkey91": (1, 2, 3), "redis62": (2, 12, 20, 30, 40), "redis70": (2, 12, 20, 30, 40)}


@pytest.mark.soak
@pytest.mark.parametrize(
    ("kind", "victim", "k"),
    [(kind, victim, k) for kind in SERVERS for victim in _VICTIMS for k in _KS[kind]],
)
def test_a_server_is_killed_in_the_middle_and_fails_over(
    require: Callable[[str], str], servers: Start, tmp_path: Path, kind: str, victim: str, k: int
) -> None:
    started = servers(require(kind), 7, node_timeout=2000)
    life = _formed(Nodes(started, 7, tmp_path), 20_000)
    index, heir = _VICTIMS[victim]
    file, entries = _file(life, grown=True)
    died = dying(file, k, f"kill:{started.processes[index].pid}", "--rebalance", "--timeout", "15")
    started.processes[index].wait(10)
    if heir is not None and _has_slots(life, index):
        life.nodes.until(lambda: _serves(life, heir, without=index), f"{heir} is promoted: {died}")
    started.restart(index)
    life.quicken()
    again = life.rebalance(file)
    life.settled(file, entries, _SHARES[True], f"{died} {again}")


@pytest.mark.soak
@pytest.mark.parametrize("victim", ["source", "target"])
def test_a_server_is_killed_in_the_middle_and_restarted(
    server_kind: str, servers: Start, tmp_path: Path, victim: str
) -> None:
    started = servers(server_kind, 7, node_timeout=5000, extra=["--appendonly", "yes"])
    life = _formed(Nodes(started, 7, tmp_path), 20_000)
    index, heir = _VICTIMS[victim]
    assert heir is not None
    life.nodes.ok(heir, "CONFIG", "SET", "cluster-replica-no-failover", "yes")
    file, entries = _file(life, grown=True)
    died = dying(
        file, _KS[server_kind][1], f"kill:{started.processes[index].pid}", "--rebalance", "--timeout", "15"
    )
    started.processes[index].wait(10)
    started.restart(index)
    life.nodes.ok(heir, "CONFIG", "SET", "cluster-replica-no-failover", "no")
    life.quicken()
    again = life.rebalance(file)
    life.settled(file, entries, _SHARES[True], f"{died} {again}")


def _has_slots(life: Life, index: int) -> bool:
    return shards.counts(life.addresses[1]).get(life.addresses[index], 0) > 0


def _serves(life: Life, index: int, without: int) -> bool:
    """Whether all living nodes see slots at node `index`, and find the cluster ok."""
    for each in range(life.nodes.count):
        if each == without:
            continue
        if not shards.counts(life.addresses[each]).get(life.addresses[index]):
            return False
        if "cluster_state:ok" not in life.nodes.call(each, "CLUSTER", "INFO"):
            return False
    return True
