"""The real client and fresh views of real servers, for tests of single modules of the loop."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from clusterboot.core.views import Views
from clusterboot.loop.observe import survey
from clusterboot.topology import load
from clusterboot.wire.client import Fleet


def fleet_of(addresses: Sequence[str], *, username: str | None = None, password: str | None = None) -> Fleet:
    """The client for nodes at `addresses`, which are their names too."""
    topology = load(f"version: 1\nnodes: {json.dumps(list(addresses))}\n", "topology.yaml")
    return Fleet(topology, lambda node: (username, password))


async def views_of(fleet: Fleet, addresses: Sequence[str]) -> Views:
    """One look at all nodes; fails where one does not answer."""
    observed = await survey(fleet, addresses)
    assert not observed.away, observed.away
    return observed.views


@asynccontextmanager
async def asking(addresses: Sequence[str], **login: str) -> AsyncIterator[tuple[Fleet, Views]]:
    """Connect to nodes, look once, and close the connections in the end."""
    fleet = fleet_of(addresses, **login)
    try:
        yield fleet, await views_of(fleet, addresses)
    finally:
        await fleet.close()
