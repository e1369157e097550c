"""What is unfortunate about a placement: warnings. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from clusterboot.addresses import is_loopback
from clusterboot.errors import Exit, Problem
from clusterboot.topology import Topology

if TYPE_CHECKING:
    from clusterboot.core.placement import Spot


def misplaced(topology: Topology, spots: Mapping[str, Spot]) -> tuple[Problem, ...]:
    """Return the warnings about `spots`, the place of each node by its name."""
    nodes = {node.name: node for node in topology.nodes}
    found: list[Problem] = []
    serving = sum(spot.role == "primary" for spot in spots.values())
    if serving < 3:
        found.append(
            Problem(
                "few-primaries",
                f"{serving} {'primary' if serving == 1 else 'primaries'}: no majority can agree on a "
                "failover when one fails.",
                hint="use at least three primaries where the cluster has to survive the loss of one",
                exit=Exit.DONE,
            )
        )
    idle = [
        name
        for name, spot in spots.items()
        if spot.role == "primary" and not spot.slots and nodes[name].slots is None
    ]
    if idle:
        more = f" and {len(idle) - 5} more" if len(idle) > 5 else ""
        found.append(
            Problem(
                "primary-without-slots",
                f"{', '.join(idle[:5])}{more} {'is a primary' if len(idle) == 1 else 'are primaries'} "
                "without slots: what is served stays where it is, and a tiny weight gets none.",
                node=idle[0],
                hint="move slots there with redis-cli --cluster rebalance --cluster-use-empty-masters",
                exit=Exit.DONE,
            )
        )
    zoned, hosted = [], []
    for name, spot in spots.items():
        if spot.primary is None:
            continue
        replica, primary = nodes[name], nodes[spot.primary]
        if replica.zone is not None and replica.zone == primary.zone:
            zoned.append(f"{name} beside {spot.primary}")
        elif replica.host == primary.host and not is_loopback(replica.host):
            hosted.append(f"{name} beside {spot.primary}")
    for where, code, pairs in (("zone", "replica-same-zone", zoned), ("host", "replica-same-host", hosted)):
        if pairs:
            one = len(pairs) == 1
            shared = f"shares the {where} of its primary" if one else f"share the {where} of their primary"
            more = f" and {len(pairs) - 5} more" if len(pairs) > 5 else ""
            found.append(
                Problem(
                    code,
                    f"{len(pairs)} of the replicas {shared}: {', '.join(pairs[:5])}{more}.",
                    hint=f"the loss of one {where} can take a primary and its replica at once",
                    exit=Exit.DONE,
                )
            )
    return tuple(found)
