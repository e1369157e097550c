"""Names in `announce` to numeric addresses: CLUSTER MEET takes no others."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from clusterboot.errors import Exit, NodeFailed, Problem
from clusterboot.topology import Node, Topology
from clusterboot.wire.resolve import numeric, resolve


async def announced(topology: Topology, until: float | None = None) -> Topology:
    """Return the topology with the names in `announce` resolved.

    Raises NodeFailed with every name that does not resolve, or has not by `until` (in the loop's time).
    """

    async def one(node: Node) -> Node | Problem:
        if node.announce is None or numeric(node.announce.host):
            return node
        try:
            async with asyncio.timeout_at(until):
                ip = (await resolve(node.announce.host, node.port))[0]
        except TimeoutError:
            return _unresolved(node.name, node.announce.host, "has no answer from a name server")
        except OSError:
            return _unresolved(node.name, node.announce.host, "does not resolve")
        return replace(node, announce=replace(node.announce, host=ip))

    if all(node.announce is None for node in topology.nodes):
        return topology
    found = await asyncio.gather(*map(one, topology.nodes))
    if problems := [each for each in found if isinstance(each, Problem)]:
        raise NodeFailed(*problems)
    return replace(topology, nodes=tuple(each for each in found if isinstance(each, Node)))


def _unresolved(name: str, host: str, why: str) -> Problem:
    return Problem(
        "name-not-resolved",
        f"{name} cannot be met: the name {host}, under which it is announced, {why}.",
        node=name,
        hint="check announce.host in the topology, and the name server of this machine",
        exit=Exit.NODE,
    )
