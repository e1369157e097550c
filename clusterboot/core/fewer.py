"""Primaries of a running cluster that have fewer replicas than the file wants: a warning. Pure.

After a failover, a replica that moved (cluster-migration-barrier) or a node that was taken out of the file, a
primary may be alone while the cluster is Ready: its slots are lost with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from clusterboot.core.placement import Placement, Spot, spelled_role
from clusterboot.core.plan import Views
from clusterboot.errors import Exit, Problem
from clusterboot.topology import Topology
from clusterboot.wording import count, shortened


def fewer(
    topology: Topology, fresh: Placement, target: Placement, pins: Mapping[str, Spot], views: Views
) -> list[Problem]:
    """Return one warning or none.

    `fresh` is what the file says, `target` has the replicas that are still to come; `pins` are the nodes
    that are something already.
    """
    have, wanted = _counts(target), _wanted(topology, fresh)
    lacking = [
        name
        for name, spot in target.spots.items()
        if name in pins and spot.role == "primary" and spot.slots and have[name] < wanted(name)
    ]
    if not lacking:
        return []
    first = lacking[0]
    spare = next(
        (name for name, pin in pins.items() if pin.primary and have[pin.primary] > wanted(pin.primary)), None
    )
    move = ""
    if spare:
        move = (
            f"run CLUSTER REPLICATE {views[first].id} on {spare}, which {pins[spare].primary} can spare; or "
        )
    those = [f"{name} has {have[name] or 'none'} of {wanted(name)}" for name in lacking]
    return [
        Problem(
            "replicas-fewer",
            f"{count(len(lacking), 'primary has', 'primaries have')} fewer replicas than the topology wants: "
            f"{shortened(those)}.",
            node=first,
            peer=spare,
            hint=f"{move}add a node to the topology and run 'clusterboot up': it becomes a replica there",
            exit=Exit.DONE,
        )
    ]


def _counts(placement: Placement) -> Counter[str]:
    return Counter(spot.primary for spot in placement.spots.values() if spot.primary is not None)


def _wanted(topology: Topology, fresh: Placement) -> Callable[[str], int]:
    """How many replicas the file wants for the shard of a node: each primary's, or what it spells out."""
    counts = _counts(fresh)
    primaries = [name for name, spot in fresh.spots.items() if spot.role == "primary"]
    # Where the file itself has not enough nodes, nothing is missing of it.
    each = min(topology.replicas, min((counts[name] for name in primaries), default=0))
    spelled = any(spelled_role(node) for node in topology.nodes)

    def wanted(name: str) -> int:
        return max(each, counts[fresh.spots[name].primary or name] if spelled else 0)

    return wanted
