"""Grow, shrink, replace: `up --rebalance` on real servers, while two verifying clients write and read.

After each change every key is compared, and one more run sends nothing. `test_life_soak` has the large ones.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ONE_KIND
from tests.harness import shards
from tests.harness.load import Data
from tests.harness.servers import Servers
from tests.servers.conftest import Take
from tests.servers.life import Life
from tests.servers.pool import Nodes

# The soak has the other kinds.
NORMAL_KINDS = {"valkey91", "redis62"}

Start = Callable[..., Servers]

_REPLICAS = {3: 0, 4: 1, 5: 2}
_EVEN = {0: 1, 1: 1, 2: 1}


def _six(life: Life) -> list[dict[str, object]]:
    return life.primaries(0, 1, 2) + life.replicas(_REPLICAS)


def test_a_primary_is_added_gets_its_share_and_leaves_again(nodes: Take) -> None:
    life = Life(nodes(7), Data(3000))
    six = _six(life)
    life.form(six)
    with life.writing():
        grown = life.change([*six, *life.primaries(6)], {**_EVEN, 6: 1}).json()
        assert grown["moved"]["slots"] == 4096
        assert grown["retired"] == []
        shrunk = life.change(six, _EVEN, retire=[life.addresses[6]]).json()
        assert shrunk["moved"]["slots"] == 4096
        assert len(shrunk["retired"]) == 1
    life.alone(6)


@ONE_KIND
def test_weights_and_slots_of_the_file(nodes: Take) -> None:
    life = Life(nodes(3), Data(2000))
    life.form(life.primaries(0, 1, 2))
    with life.writing():
        heavy = life.primaries(0, weight=2) + life.primaries(1, 2)
        life.change(heavy, {0: 2, 1: 1, 2: 1})
        given = [
            life.entry(index, role="primary", slots=slots)
            for index, slots in enumerate(("0-99,8000-16383", "100-4999", "5000-7999"))
        ]
        file = life.file(given)
        outcome = life.rebalance(file)
        assert shards.counts(life.addresses[0]) == dict(
            zip(life.addresses, (100 + 8384, 4900, 3000), strict=True)
        ), outcome
        life.settled(file, given, {0: 8484, 1: 4900, 2: 3000}, outcome)


@ONE_KIND
def test_without_the_flag_nothing_is_moved_and_the_flag_is_named(nodes: Take) -> None:
    life = Life(nodes(4), Data(500))
    life.form(life.primaries(0, 1, 2, 3))
    before = shards.views(life.addresses)
    file = life.file(life.primaries(0, 1, 2), retire=[life.addresses[3]])
    life.nodes.forget()
    plain = life.nodes.up(file, "-o", "json")
    assert "retire-pending" in [warning[0] for warning in plain.named("warnings")], plain
    assert "--rebalance" in plain.out
    shown = life.nodes.up(file, "--rebalance", "--dry-run", "-o", "json").json()
    assert [each["node"] for each in shown["transfers"]] == [life.addresses[3]] * 3, shown
    assert life.nodes.changes() == {}
    assert shards.views(life.addresses) == before
    life.change(life.primaries(0, 1, 2), _EVEN, retire=[life.addresses[3]])
    life.alone(3)


@ONE_KIND
def test_a_replica_goes_to_another_primary_and_a_primary_changes_places_with_its_replica(nodes: Take) -> None:
    life = Life(nodes(6), Data(1000))
    life.form(_six(life))
    with life.writing():
        life.change(life.primaries(0, 1, 2) + life.replicas({3: 0, 4: 0, 5: 2}), _EVEN)
        assert _replicas(life)[0] == {3, 4}
        outcome = life.change(life.primaries(3, 1, 2) + life.replicas({0: 3, 4: 3, 5: 2}), {3: 1, 1: 1, 2: 1})
        assert _replicas(life) == {3: {0, 4}, 1: set(), 2: {5}}
        assert "failover" in [step["kind"] for step in outcome.json()["steps"]]


@ONE_KIND
def test_zones_that_changed_put_replicas_elsewhere(nodes: Take) -> None:
    life = Life(nodes(6), Data(1000))
    zones = dict(enumerate("abcbca"))

    def entries() -> list[dict[str, object]]:
        return [life.entry(index, zone=zone) for index, zone in zones.items()]

    life.form(entries(), replicas=1)
    # Each replica is now in the zone of its primary.
    for primary, replicas in _replicas(life).items():
        for replica in replicas:
            zones[replica] = zones[primary]
    with life.writing():
        life.change(entries(), _EVEN, replicas=1)
    for primary, replicas in _replicas(life).items():
        assert [zones[replica] for replica in replicas] != [zones[primary]]


def _replicas(life: Life) -> dict[int, set[int]]:
    """The replicas of each primary, by index."""
    index = life.addresses.index
    return {
        index(shard.address): {index(replica) for replica in shard.replicas}
        for shard in shards.shards(life.addresses[0])
    }


def _replace(start: Start, kind: str, folder: Path, lost_disk: bool) -> None:
    servers = start(kind, 7, node_timeout=2000)
    life = Life(Nodes(servers, 7, folder), Data(2000))
    life.form(_six(life))
    dead, gone = life.nodes.id(0), life.addresses[0]
    if lost_disk:
        servers.kill(0)
        life.nodes.until(lambda: _promoted(life, 3), "the replica is promoted")
        servers.wipe(0)
        life.quicken()
    else:
        servers.kill(0)
        life.nodes.until(lambda: _promoted(life, 3), "the replica is promoted")
    new = 0 if lost_disk else 6
    live = [life.entry(3), *life.primaries(1, 2), *life.replicas({4: 1, 5: 2}), life.entry(new)]
    file = life.file(live, replicas=1, retire=[dead])
    outcome = life.rebalance(file)
    assert outcome.json()["retired"], outcome
    known = life.nodes.call(1, "CLUSTER", "NODES")
    assert dead not in known, (gone, known)
    assert _replica_addresses(life, 3) == {life.addresses[new]}


def _promoted(life: Life, index: int) -> bool:
    """Whether all living nodes agree that node `index` is a primary with slots, and the cluster is ok."""
    for each in range(1, 6):
        seen = {shard.address: shard for shard in shards.shards(life.addresses[each])}
        if not (life.addresses[index] in seen and seen[life.addresses[index]].slots):
            return False
        if "cluster_state:ok" not in life.nodes.call(each, "CLUSTER", "INFO"):
            return False
    return True


def _replica_addresses(life: Life, index: int) -> set[str]:
    found = {shard.address: set(shard.replicas) for shard in shards.shards(life.addresses[1])}
    return found[life.addresses[index]]


@ONE_KIND
def test_a_newcomer_takes_the_place_of_a_killed_primary(
    server_kind: str, servers: Start, tmp_path: Path
) -> None:
    _replace(servers, server_kind, tmp_path, lost_disk=False)


@pytest.mark.soak
def test_a_node_that_lost_its_disk_takes_its_own_place(
    server_kind: str, servers: Start, tmp_path: Path
) -> None:
    _replace(servers, server_kind, tmp_path, lost_disk=True)
