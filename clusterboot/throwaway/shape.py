"""What a throwaway cluster looks like: so many primaries and replicas, or the nodes of a topology file.

A topology gives names, roles, slots, replicas, zones and `servers`; who becomes what is exactly what
`clusterboot plan` shows. Its addresses are replaced by free ports of loopback, and what belongs to an
address or protects one goes with it: `bus_port`, `announce`, `auth` and `tls`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from clusterboot.errors import Exit, Problem, UsageError
from clusterboot.throwaway.ports import HOST, PORTS
from clusterboot.topology import MAX_NODES, OWN_SETTINGS, Node, Topology
from clusterboot.wording import count

# Clients would need the password, and clusterboot too; nobody but this machine reaches loopback.
_PASSWORDS = ("requirepass", "masterauth", "masteruser", "user", "aclfile")


def plain(primaries: int, replicas: int) -> Topology:
    """Return a topology of so many primaries with `replicas` replicas each; its ports are not real yet.

    Raises UsageError for numbers that make no cluster.
    """
    total = primaries * (1 + replicas)
    if primaries < 1 or replicas < 0 or total > MAX_NODES:
        raise UsageError(
            Problem(
                "usage",
                f"{count(primaries, 'primary', 'primaries')} with "
                f"{count(replicas, 'replica')} each do not make 1 to {MAX_NODES} nodes.",
                hint="give at least one primary and no fewer than zero replicas",
                exit=Exit.USAGE,
            )
        )
    nodes = (Node(f"{HOST}:{port}", HOST, port) for port in PORTS[:total])
    return Topology(tuple(nodes), replicas=replicas)


def moved(topology: Topology, ports: Sequence[int]) -> Topology:
    """Return the topology with its nodes, in order, on these ports of loopback and in their places.

    A node that was named by its address is named by the new one.
    """
    from clusterboot.core.placement import place

    names = {
        node.name: f"{HOST}:{port}" if node.name == node.address else node.name
        for node, port in zip(topology.nodes, ports, strict=True)
    }
    spots = place(topology).spots if topology.slots != "none" else {}
    nodes = []
    for node, port in zip(topology.nodes, ports, strict=True):
        spot = spots.get(node.name)
        moved_node = Node(names[node.name], HOST, port, zone=node.zone, weight=node.weight, line=node.line)
        if spot is not None:
            moved_node = replace(
                moved_node,
                role=spot.role,
                replica_of=None if spot.primary is None else names[spot.primary],
                slots=spot.slots if spot.role == "primary" else None,
            )
        nodes.append(moved_node)
    hub = None if topology.hub is None else names[topology.hub]
    return replace(topology, nodes=tuple(nodes), hub=hub, tls=None, warnings=())


def settings(topology: Topology, given: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return the server settings of a topology with those `given` as "name=value" laid over them.

    Raises UsageError with every one that cannot be set.
    """
    found = dict(topology.servers.config)
    problems = []
    for words in given:
        name, equals, value = words.partition("=")
        name = name.strip().lower()
        if equals and name:
            found[name] = value.strip()
        else:
            problems.append(_problem(f"--set takes name=value, not {words!r}.", "as in --set maxmemory=64mb"))
    if given:
        problems += [
            _problem(f"{name} is set by clusterboot: {OWN_SETTINGS[name]}.", "leave it out")
            for name in found
            if name in OWN_SETTINGS
        ]
    problems += [
        _problem(
            f"the servers of a throwaway cluster have no password, so {name} cannot be set.", "leave it out"
        )
        for name in found
        if name in _PASSWORDS
    ]
    if problems:
        raise UsageError(*problems)
    return tuple(found.items())


def _problem(message: str, hint: str) -> Problem:
    return Problem("usage", message, hint=hint, exit=Exit.USAGE)
