"""What a running cluster has otherwise than the file spells out, and keeps: warnings. Pure.

Roles and `replica_of` in a file are how a cluster starts; failovers and replicas that moved are no
reason to change a cluster that serves.
"""

from __future__ import annotations

from collections.abc import Mapping

from clusterboot.core.placement import Placement, Spot, spelled_role
from clusterboot.errors import Exit, Problem
from clusterboot.topology import Topology
from clusterboot.wording import count


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
