"""Atomic jobs of Valkey: what is moved, what a job waits for, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from clusterboot.loop.atomic import migrate
from clusterboot.slots import Slots
from tests.harness.asking import asking
from tests.servers.pool import Nodes, Pool
from tests.servers.test_measure import HALVES, keys_in


@pytest.fixture
def pair(require: Callable[[str], str], pool: Pool, tmp_path: Path) -> Nodes:
    """Two primaries with half of the slots each, and a third without any, of a server with jobs."""
    cluster = pool.take(require("valkey91"), 3, tmp_path)
    cluster.join(range(3), HALVES)
    for index in range(3):
        cluster.until(lambda at=index: "cluster_state:ok" in cluster.ok(at, "CLUSTER", "INFO"), "it is ok")
    return cluster


def move(cluster: Nodes, source: int, target: int, slots: str) -> int:
    async def run() -> int:
        async with asking(cluster.addresses) as (fleet, views):
            ends = views[cluster.addresses[source]], views[cluster.addresses[target]]
            return await migrate(fleet, *ends, Slots.parse(slots))

    return asyncio.run(run())


def test_slots_and_keys_arrive(pair: Nodes) -> None:
    keys = keys_in(range(100), 50)
    for key in keys:
        pair.ok(0, "SET", key, key)
    assert move(pair, 0, 2, "0-49,60-99,5000") == sum(1 for key in keys if not 50 <= slot(pair, key) < 60)
    for key in keys:
        assert pair.ok(0 if 50 <= slot(pair, key) < 60 else 2, "GET", key) == key


def slot(cluster: Nodes, key: str) -> int:
    return int(cluster.ok(0, "CLUSTER", "KEYSLOT", key))
