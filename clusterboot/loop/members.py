"""The members that are to leave: asking the entries under `retire`, beside the nodes of the topology."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from clusterboot.core.leaving import Leaving, find, to_ask
from clusterboot.core.views import Seen, Views
from clusterboot.loop.observe import Asker, survey
from clusterboot.topology import Topology


@dataclass(frozen=True, slots=True)
class Members:
    """The topology with the members that take part until they have left, and a view of each node of it.

    `silent` are the entries that do not answer.
    """

    topology: Topology
    views: Views
    leaving: Leaving = field(default_factory=Leaving)
    silent: frozenset[str] = frozenset()


async def find_members(
    fleet: Asker,
    topology: Topology,
    views: Views,
    seen: Seen,
    *,
    silent: Collection[str] = (),
    until: float | None = None,
) -> Members:
    """Ask the entries under `retire` of `topology`, but for those known to be `silent`.

    `views` are of the nodes of the topology. Changes nothing and raises nothing.
    """
    nodes = [node for node in to_ask(topology, views) if node.name not in silent]
    if not topology.retire:
        return Members(topology, views)
    for node in nodes:
        fleet.add(node)
    observed = await survey(fleet, [node.name for node in nodes], seen, until=until)
    addresses = {node.name: fleet.ip(node.name) for node in nodes if node.name in observed.away}
    leaving = find(topology, views, observed.views, addresses, observed.away)
    extended = leaving.extend(topology)
    here = {name: observed.views[name] for name in extended.leaving}
    return Members(extended, {**views, **here}, leaving, frozenset((*silent, *observed.away)))
