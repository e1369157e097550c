"""What a running cluster has otherwise than the file spells out, and keeps: warnings. Pure.

Roles and `replica_of` in a file are how a cluster starts; failovers and replicas that moved are no
reason to change a cluster that serves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from clusterboot.core.placement import Placement, Spot, spelled_role
from clusterboot.core.views import Views
from clusterboot.errors import Exit, Problem
from clusterboot.topology import Topology
from clusterboot.wording import count, shortened


def kept(topology: Topology, fresh: Placement, pins: Mapping[str, Spot]) -> list[Problem]:
    """Return the warnings about `pins`, what the nodes are, beside `fresh`, what fresh ones would become."""
    found: list[Problem] = []
    for node in topology.nodes:
        pin = pins.get(node.name)
        if pin is None:
            continue
        role = spelled_role(node)
        if pin.role == "replica" and role == "primary":
            found.append(
                _warning(
                    "failed-over",
                    f"{node.name} is a replica of {pin.primary} now, not a primary as in the topology: a "
                    "failover is kept.",
                    node.name,
                    pin.primary,
                    "run CLUSTER FAILOVER on it to swap the roles back, or swap them in the topology",
                )
            )
        elif pin.role == "replica" and node.replica_of not in (None, pin.primary):
            assert node.replica_of is not None
            planned = pins.get(node.replica_of)
            if planned is None or planned.primary != pin.primary:
                found.append(
                    _warning(
                        "replica-moved",
                        f"{node.name} replicates {pin.primary}, not {node.replica_of} as in the topology: "
                        "it is kept.",
                        node.name,
                        pin.primary,
                        f"run CLUSTER REPLICATE on {node.name} to move it, or change the topology",
                    )
                )
        elif pin.role == "primary" and role == "replica":
            found.append(
                _warning(
                    "failed-over",
                    f"{node.name} is a primary now, not a replica as in the topology: a failover is kept.",
                    node.name,
                    node.replica_of,
                    "run CLUSTER FAILOVER on its replica to swap them back, or swap them in the topology",
                )
            )
    swapped = [
        name
        for name, pin in pins.items()
        if pin.role == "replica" and pin.primary and _swapped(name, pin.primary, fresh)
    ]
    spelled = {problem.node for problem in found}
    for name in swapped:
        pin = pins[name]
        if name not in spelled:
            found.append(
                _warning(
                    "failed-over",
                    f"{name} would be the primary of {pin.primary} on fresh nodes and is its replica now: a "
                    "failover is kept.",
                    name,
                    pin.primary,
                    f"run CLUSTER FAILOVER on {name} to swap the roles back; nothing has to be done",
                )
            )
    return found + _counted(fresh, pins)


def _counted(fresh: Placement, pins: Mapping[str, Spot]) -> list[Problem]:
    """One warning when the number of primaries is not the one that the file comes to."""
    serving = sum(spot.role == "primary" for spot in pins.values())
    wanted = sum(spot.role == "primary" for spot in fresh.spots.values())
    free = len(fresh.spots) - len(pins)
    # With free nodes left to become primaries the number is still to come.
    if not pins or serving == wanted or (serving < wanted and free):
        return []
    return [
        Problem(
            "primaries-differ",
            f"there {'is' if serving == 1 else 'are'} {count(serving, 'primary', 'primaries')}, the topology "
            f"comes to {wanted}: what serves is kept.",
            hint="reshard with redis-cli --cluster if it is to change, or adapt 'replicas' in the topology",
            exit=Exit.DONE,
        )
    ]


def _swapped(name: str, primary: str, fresh: Placement) -> bool:
    return fresh.spots[name].role == "primary" and fresh.spots[primary].primary == name


def _warning(code: str, message: str, node: str, peer: str | None, hint: str) -> Problem:
    return Problem(code, message, node=node, peer=peer, hint=hint, exit=Exit.DONE)


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
