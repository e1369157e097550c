"""Warnings where a running cluster differs from the file and is kept as it is. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping

from clusterboot.core.placement import Placement, Spot, called_primaries, spelled_role
from clusterboot.errors import Problem, warning
from clusterboot.topology import Node, Topology
from clusterboot.wording import count, shortened


def differences(topology: Topology, fresh: Placement, pins: Mapping[str, Spot]) -> Iterator[Problem]:
    """Yield warnings where `pins` (what nodes are) differ from `fresh` (what fresh nodes would become)."""
    called = called_primaries(topology)
    found = [problem for node in topology.nodes for problem in _role_differs(node, pins, called)]
    yield from found
    named = {problem.node for problem in found}
    for name, pin in pins.items():
        # A primary that is to leave has no place on fresh nodes.
        planned = fresh.spots.get(pin.primary or "")
        if planned is not None and planned.primary == name and name not in named:
            yield warning(
                "failed-over",
                f"{name} would be the primary of {pin.primary} on fresh nodes and is its replica now: a "
                "failover is kept.",
                name,
                pin.primary,
                f"run CLUSTER FAILOVER on {name} to swap the roles back; nothing has to be done",
            )
    serving = sum(spot.role == "primary" for spot in pins.values())
    wanted = sum(spot.role == "primary" for spot in fresh.spots.values())
    free = len(fresh.spots) - len(pins)
    # Free nodes can still become the missing primaries.
    if pins and serving != wanted and not (serving < wanted and free):
        yield warning(
            "primaries-differ",
            f"there {'is' if serving == 1 else 'are'} {count(serving, 'primary', 'primaries')}, the "
            f"topology asks for {wanted}: the primaries are kept.",
            hint="adapt 'replicas' in the topology, or spell out every role: 'clusterboot up --rebalance' "
            "drains primaries that are replicas by the file"
            if serving > wanted
            else "adapt 'replicas' in the topology, or add a node to it",
        )


def _role_differs(node: Node, pins: Mapping[str, Spot], called: Collection[str]) -> Iterator[Problem]:
    pin, role = pins.get(node.name), spelled_role(node)
    if pin is None:
        return
    if pin.role == "replica" and role == "primary":
        yield warning(
            "failed-over",
            f"{node.name} is a replica of {pin.primary} now, not a primary as in the topology: a "
            "failover is kept.",
            node.name,
            pin.primary,
            f"list {node.name} under 'retire' once and add it again, empty; or change its role there"
            if pin.primary in called
            else "'clusterboot up --rebalance' swaps the roles back; or swap them in the topology",
        )
    elif pin.role == "replica" and node.replica_of is not None and node.replica_of != pin.primary:
        planned = pins.get(node.replica_of)
        if planned is None or planned.primary != pin.primary:
            yield warning(
                "replica-moved",
                f"{node.name} replicates {pin.primary}, not {node.replica_of} as in the topology: "
                "that is kept.",
                node.name,
                pin.primary,
                f"'clusterboot up --rebalance' moves {node.name}; or change the topology",
            )
    elif pin.role == "primary" and role == "replica":
        yield warning(
            "failed-over",
            f"{node.name} is a primary now, not a replica as in the topology: a failover is kept.",
            node.name,
            node.replica_of,
            "'clusterboot up --rebalance' swaps the roles, or drains it; or change the topology",
        )


def fewer_replicas(
    topology: Topology, fresh: Placement, target: Placement, pins: Mapping[str, Spot]
) -> Iterator[Problem]:
    """Yield one warning if primaries have fewer replicas than the file wants.

    Causes are a failover, cluster-migration-barrier or a node removed from the file. The cluster may still be
    Ready, but a lone primary's slots are lost with it. `fresh` is what the file says,
    `target` includes the replicas still to come.
    """
    have, wanted = Counter(target.primary_of.values()), _wanted(topology, fresh)
    lacking = [
        name
        for name, spot in target.spots.items()
        if name in pins and spot.role == "primary" and spot.slots and have[name] < wanted[name]
    ]
    if not lacking:
        return
    first = lacking[0]
    spare = next(
        (n for n, pin in pins.items() if pin.primary and have[pin.primary] > wanted.get(pin.primary, 0)), None
    )
    hint = "add a node to the topology and run 'clusterboot up': it becomes a replica there"
    if spare:
        move = f"'clusterboot up --rebalance' moves {spare} there, which {pins[spare].primary} can spare"
        hint = f"{move}; or {hint}"
    which = shortened([f"{name} has {have[name] or 'none'} of {wanted[name]}" for name in lacking])
    yield warning(
        "replicas-fewer",
        f"{count(len(lacking), 'primary has', 'primaries have')} fewer replicas than the topology wants: "
        f"{which}.",
        first,
        spare,
        hint,
    )


def _wanted(topology: Topology, fresh: Placement) -> dict[str, int]:
    """How many replicas the file wants for the shard of each node: each primary's, or what it spells out."""
    counts = Counter(fresh.primary_of.values())
    # A file with too few nodes for its `replicas` lacks none.
    primaries = [name for name, spot in fresh.spots.items() if spot.role == "primary"]
    each = min(topology.replicas, min((counts[name] for name in primaries), default=0))
    spelled = any(spelled_role(node) for node in topology.nodes)
    return {
        name: max(each, counts[spot.primary or name] if spelled else 0) for name, spot in fresh.spots.items()
    }
