"""What is unfortunate about a placement: warnings. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from clusterboot.addresses import is_loopback
from clusterboot.errors import Exit, Problem
from clusterboot.slots import Slots
from clusterboot.topology import Topology


def misplaced(
    topology: Topology, slots: Mapping[str, Slots], primary_of: Mapping[str, str]
) -> tuple[Problem, ...]:
    """Return the warnings; `slots` are by primary, `primary_of` has the primary of each replica."""
    nodes = {node.name: node for node in topology.nodes}
    found: list[Problem] = []
    serving = len(nodes) - len(primary_of)
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
        for name, node in nodes.items()
        if name not in primary_of and not slots.get(name) and node.slots is None
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
    for name, replica in nodes.items():
        if name not in primary_of:
            continue
        primary = nodes[primary_of[name]]
        if replica.zone is not None and replica.zone == primary.zone:
            zoned.append(f"{name} beside {primary.name}")
        elif replica.host == primary.host and not is_loopback(replica.host):
            hosted.append(f"{name} beside {primary.name}")
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
