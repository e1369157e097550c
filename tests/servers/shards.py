"""Clusters whose last shard is easily drained by hand, and steps of clusterboot on them, in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from clusterboot.core.views import View
from clusterboot.disk.topology_file import read
from clusterboot.loop.act import Actor
from clusterboot.loop.boost import Boost
from clusterboot.loop.observe import survey
from clusterboot.wire.client import Fleet
from tests.servers.pool import Nodes

T = TypeVar("T")

# The slots of the last shard.
SMALL = range(16_380, 16_384)
MIGRATION = "cluster-allow-replica-migration"
_PRIMARIES = {0: "0-8000", 1: "8001-16379", 2: "16380-16383"}


def form(nodes: Nodes, replica_of: Mapping[int, int]) -> Path:
    """Make a cluster of three primaries, of which the last has four slots, and replicas; index → primary."""
    listed: list[dict[str, Any]] = []
    for index, port in enumerate(nodes.ports):
        node: dict[str, Any] = {"name": f"n{index}", "host": "127.0.0.1", "port": port}
        if index in _PRIMARIES:
            node |= {"slots": _PRIMARIES[index]}
        else:
            node |= {"replica_of": f"n{replica_of[index]}"}
        listed.append(node)
    file = nodes.file(nodes=listed)
    nodes.ready_up(file)
    return file


def drain(nodes: Nodes, source: int, target: int, *, left: int = 0, told: bool = True) -> None:
    """Give all slots of the last shard but `left` to another primary: first the target, then all others.

    The slots have no keys. A source that is not `told` hears of it from the target.
    """
    owner = nodes.id(target)
    primaries = [i for i in range(nodes.count) if "myself,master" in str(nodes.ok(i, "CLUSTER", "NODES"))]
    others = [i for i in primaries if i not in (source, target)]
    for slot in SMALL[left:]:
        # Only so does the target take a new epoch, by which replicas believe it.
        nodes.ok(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", nodes.id(source))
        for index in (target, *([source] if told else []), *others):
            nodes.ok(index, "CLUSTER", "SETSLOT", slot, "NODE", owner)
    nodes.until(
        lambda: all(len(mine(nodes, i, source)[8:]) == bool(left) for i in range(nodes.count)),
        "all see that the shard is drained",
    )


def mine(nodes: Nodes, teller: int, index: int) -> list[str]:
    """The fields of the line of a node in the CLUSTER NODES of another."""
    lines = [line.split() for line in str(nodes.ok(teller, "CLUSTER", "NODES")).splitlines()]
    return next(line for line in lines if line[0] == nodes.id(index))


def full_syncs(nodes: Nodes, index: int) -> int:
    """How many full syncs a node has given."""
    stats = str(nodes.ok(index, "INFO", "stats"))
    return int(stats.partition("sync_full:")[2].split()[0])


class Tools:
    """What the steps of clusterboot need: connections, an actor and a boost; `views` are those of a look."""

    def __init__(self, fleet: Fleet, names: Sequence[str], views: Mapping[str, View]) -> None:
        self.fleet = fleet
        self.names = names
        self.views = views
        self.events: list[Any] = []
        self.actor = Actor(fleet, self.events.append)
        self.boost = Boost(fleet, names, None)


def play(file: Path, work: Callable[[Tools], Awaitable[T]]) -> T:
    """Look at the nodes of a file, and do some work on them."""
    topology = read(file)
    names = [node.name for node in topology.nodes]

    async def main() -> T:
        fleet = Fleet(topology, lambda node: (None, None))
        try:
            return await work(Tools(fleet, names, (await survey(fleet, names)).views))
        finally:
            await fleet.close()

    return asyncio.run(main())
