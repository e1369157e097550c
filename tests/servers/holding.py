"""A run that holds settings and dies at its k-th changing command: a driver as `tests.servers.dying`.

    python -m tests.servers.holding K answered|sent [alone] TOPOLOGY

It switches migration of n2 and n5 off, sends n5 to another shard, and gives everything back.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from clusterboot.core.steps import Replicate
from clusterboot.disk.topology_file import read
from clusterboot.loop.act import Actor
from clusterboot.loop.boost import Boost
from clusterboot.loop.observe import survey
from clusterboot.loop.standby import Standby
from clusterboot.rebalance.handover import attach
from clusterboot.wire.client import Fleet
from tests.servers.dying import install


async def _hold(file: Path) -> None:
    topology = read(file)
    names = [node.name for node in topology.nodes]
    fleet = Fleet(topology, lambda node: (None, None))
    boost = Boost(fleet, names, Standby(topology, dict.fromkeys(names, (None, None)), 60.0))
    views = (await survey(fleet, names)).views
    await boost.hold(["n2", "n5"], migration=True)
    await attach(fleet, Actor(fleet, lambda event: None), boost, [Replicate("n5", "n0")], views, lambda: None)
    assert await boost.restore()
    assert not boost.owes
    await fleet.close()


if __name__ == "__main__":
    given = sys.argv[3:]
    install(int(sys.argv[1]), sys.argv[2], alone=given[0] == "alone")
    asyncio.run(_hold(Path(given[-1])))
