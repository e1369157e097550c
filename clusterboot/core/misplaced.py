"""Warnings about a placement that is valid but weak. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from clusterboot.addresses import is_loopback
from clusterboot.errors import Exit, Problem
from clusterboot.slots import Slots
from clusterboot.topology import Topology
from clusterboot.wording import count, shortened


def misplaced(
    topology: Topology, slots: Mapping[str, Slots], primary_of: Mapping[str, str]
) -> tuple[Problem, ...]:
    """Return the warnings; `slots` are by primary, `primary_of` has the primary of each replica."""
    nodes = {node.name: node for node in topology.nodes}
    found: list[Problem] = []
    primaries = [name for name in nodes if name not in primary_of]
    if len(primaries) < 3:
        found.append(
            Problem(
                "few-primaries",
                f"{count(len(primaries), 'primary', 'primaries')}: no majority can agree on a failover "
                "when one fails.",
                hint="use at least three primaries where the cluster must survive the loss of one",
                exit=Exit.DONE,
            )
        )
    idle = [name for name in primaries if not slots.get(name) and nodes[name].slots is None]
    if idle:
        found.append(
            Problem(
                "primary-without-slots",
                f"{shortened(idle)} {'is a primary' if len(idle) == 1 else 'are primaries'} "
                "without slots: slots that are served stay where they are, and a tiny weight gets none.",
                node=idle[0],
                hint="move slots there with 'redis-cli --cluster rebalance --cluster-use-empty-masters'",
                exit=Exit.DONE,
            )
        )
    zoned, hosted = [], []
    for name, replica in nodes.items():
        primary = nodes.get(primary_of.get(name, ""))
        if primary is None:
            continue
        if replica.zone is not None and replica.zone == primary.zone:
            zoned.append(f"{name} beside {primary.name}")
        elif replica.host == primary.host and not is_loopback(replica.host):
            hosted.append(f"{name} beside {primary.name}")
    for where, code, pairs in (("zone", "replica-same-zone", zoned), ("host", "replica-same-host", hosted)):
        if pairs:
            share = count(len(pairs), "replica shares", "replicas share")
            its = "its" if len(pairs) == 1 else "their"
            found.append(
                Problem(
                    code,
                    f"{share} the {where} of {its} primary: {shortened(pairs)}.",
                    hint=f"the loss of one {where} can take a primary and its replica at once",
                    exit=Exit.DONE,
                )
            )
    return tuple(found)
