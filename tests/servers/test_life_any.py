"""Any file after any other: `up --rebalance` leads there or refuses, and loses nothing on the way."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import shards
from tests.harness.cli import clusterboot
from tests.harness.load import Data
from tests.harness.ready import why_not_ready
from tests.harness.servers import SERVERS
from tests.servers.life import Entry, Life
from tests.servers.pool import Pool

_STEPS = 8


@pytest.mark.soak
@pytest.mark.parametrize("kind", SERVERS)
@pytest.mark.parametrize("seed", range(6))
def test_any_file_after_any_other(pool: Pool, tmp_path: Path, kind: str, seed: int) -> None:
    any_life(Life(pool.take(kind, 7, tmp_path), Data(400)), random.Random(seed))


def any_life(life: Life, chance: random.Random) -> int:
    """Form a cluster and change its file many times; returns how many changes were not refused."""
    entries, keys = next(files(life, chance, range(7)))
    life.form(entries, **keys)
    told = [(entries, keys)]
    members = [entry["name"] for entry in entries]
    changed = 0
    for entries, keys in files(life, chance, [int(name[1:]) for name in members]):
        names = [entry["name"] for entry in entries]
        leaving = [name for name in members if name not in names]
        if leaving:
            keys["retire"] = [life.addresses[int(name[1:])] for name in leaving]
        told.append((entries, keys))
        addresses = [life.addresses[int(name[1:])] for name in members]
        before = shards.views(addresses)
        file = life.file(entries, **keys)
        outcome = clusterboot("up", file, "--rebalance", "-o", "json", "--timeout", "60", timeout=90)
        story = "".join(f"\n{each}" for each in told) + repr(outcome)
        assert outcome.exit in (0, 2, 3), story
        assert life.data.compare(addresses[0] if outcome.exit else _address(life, names[0])) == [], story
        if outcome.exit:
            assert shards.views(addresses) == before, story
            told.pop()
            # Go on from what the cluster is.
            continue
        changed += 1
        members = names
        _is_as_told(life, file, entries, story)
        life.alone(*(int(name[1:]) for name in leaving))
    return changed


def _address(life: Life, name: str) -> str:
    return life.addresses[int(name[1:])]


def _is_as_told(life: Life, file: Path, entries: list[Entry], story: str) -> None:
    addresses = [_address(life, entry["name"]) for entry in entries]
    by_address = dict(zip(addresses, entries, strict=True))
    assert why_not_ready(addresses) is None, story
    assert shards.open_slots(addresses) == [], story
    assert life.changed_settings() == [], story
    found = {shard.address: shard for shard in shards.shards(addresses[0])}
    weights = {address: by_address[address].get("weight", 1) for address in found}
    assert shards.off_shares(addresses[0], weights) == [], story
    for address, shard in found.items():
        assert by_address[address].get("role") != "replica", story
        assert "replica_of" not in by_address[address], story
        for replica in shard.replicas:
            wanted = by_address[replica].get("replica_of", by_address[address]["name"])
            assert wanted == by_address[address]["name"], story
    again = clusterboot("up", file, "--rebalance", "-o", "json")
    assert again.exit == 0, story + repr(again)
    assert again.json()["steps"] == [], story + repr(again)


def files(
    life: Life, chance: random.Random, members: Any, steps: int = _STEPS
) -> Iterator[tuple[list[Entry], dict[str, Any]]]:
    """Yield nodes and other keys of files; a file keeps most of the members of the one before."""
    members = list(members)
    for _ in range(steps):
        out = set(chance.sample(members, min(len(members) - 1, chance.choice((0, 0, 1, 2)))))
        new = [index for index in range(7) if index not in members]
        come = chance.sample(new, min(len(new), chance.choice((0, 1, 2))))
        chosen = sorted({*members, *come} - out)
        entries = [life.entry(index) for index in chosen]
        if chance.random() < 0.5:
            zones = chance.choice(("a", "ab", "abc"))
            for entry in entries:
                entry["zone"] = chance.choice(zones)
        primaries = chance.sample(entries, chance.randint(1, len(entries)))
        keys: dict[str, Any] = {}
        if chance.random() < 0.5:
            for entry in entries:
                if entry in primaries:
                    entry["role"] = "primary"
                elif chance.random() < 0.7:
                    entry["replica_of"] = chance.choice(primaries)["name"]
                else:
                    entry["role"] = "replica"
        else:
            keys["replicas"] = chance.choice((0, 1, 1, 2))
        if chance.random() < 0.4:
            for entry in primaries:
                entry["weight"] = chance.choice((1, 2, 3))
        yield entries, keys
        members = chosen
