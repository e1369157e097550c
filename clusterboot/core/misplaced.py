"""Warnings about a placement that is valid but weak. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from clusterboot.addresses import is_loopback
from clusterboot.errors import Problem, warning
from clusterboot.slots import Slots
from clusterboot.topology import Topology
from clusterboot.wording import count, shortened


def misplaced(
    topology: Topology, slots: Mapping[str, Slots], primary_of: Mapping[str, str]
) -> Iterator[Problem]:
    """Yield the warnings; `slots` are by primary, `primary_of` has the primary of each replica."""
    nodes = {node.name: node for node in topology.nodes}
    primaries = [name for name in nodes if name not in primary_of]
    if len(primaries) < 3:
        yield warning(
            "few-primaries",
            f"{count(len(primaries), 'primary', 'primaries')}: no majority can agree on a failover "
            "when one fails.",
            hint="use at least three primaries where the cluster must survive the loss of one",
        )
    idle = [name for name in primaries if not slots.get(name) and nodes[name].slots is None]
    if idle:
        yield warning(
            "primary-without-slots",
            f"{shortened(idle)} {'is a primary' if len(idle) == 1 else 'are primaries'} "
            "without slots: slots that are served stay where they are, and a tiny weight gets none.",
            idle[0],
            hint="move slots there with 'redis-cli --cluster rebalance --cluster-use-empty-masters'",
        )
    beside: dict[str, list[str]] = {"zone": [], "host": []}
    for name, replica in nodes.items():
        primary = nodes.get(primary_of.get(name, ""))
        if primary is None:
            continue
        if replica.zone is not None and replica.zone == primary.zone:
            beside["zone"].append(f"{name} beside {primary.name}")
        elif replica.host == primary.host and not is_loopback(replica.host):
            beside["host"].append(f"{name} beside {primary.name}")
    for where, pairs in beside.items():
        if pairs:
            share = count(len(pairs), "replica shares", "replicas share")
            its = "its" if len(pairs) == 1 else "their"
            yield warning(
                f"replica-same-{where}",
                f"{share} the {where} of {its} primary: {shortened(pairs)}.",
                hint=f"the loss of one {where} can take a primary and its replica at once",
            )
