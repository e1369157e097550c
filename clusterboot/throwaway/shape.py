"""The shape of a throwaway cluster: a number of primaries and replicas, or the nodes of a topology file.

A topology gives names, roles, slots, replicas, zones and `servers`, placed as 'clusterboot plan' shows. Free
loopback ports replace its addresses; `bus_port`, `announce`, `auth` and `tls` are dropped with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from clusterboot.errors import UsageError, usage_error
from clusterboot.throwaway.ports import HOST, PORTS
from clusterboot.topology import MAX_NODES, OWN_SETTINGS, Node, Topology
from clusterboot.wording import count

# Passwords would be needed by all clients; the servers listen only on loopback.
_PASSWORDS = ("requirepass", "masterauth", "masteruser", "user", "aclfile")


def plain(primaries: int, replicas: int) -> Topology:
    """Return a topology of `primaries` with `replicas` each, on placeholder ports.

    Raises UsageError for numbers that make no cluster.
    """
    total = primaries * (1 + replicas)
    if primaries < 1 or replicas < 0 or total > MAX_NODES:
        raise usage_error(
            f"{count(primaries, 'primary', 'primaries')} with {count(replicas, 'replica')} each do not make "
            f"1 to {MAX_NODES} nodes.",
            "give at least one primary and no fewer than zero replicas",
        )
    nodes = (Node(f"{HOST}:{port}", HOST, port) for port in PORTS[:total])
    return Topology(tuple(nodes), replicas=replicas)


def moved(topology: Topology, ports: Sequence[int]) -> Topology:
    """Return the topology with its nodes, in order, on these loopback ports, and with placed roles and slots.

    A node named by its address is named by the new one.
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
    """Return the server settings of a topology, overridden by those `given` as "name=value".

    Raises UsageError with every setting that is not allowed.
    """
    chosen = dict(topology.servers.config)
    problems = []
    for text in given:
        name, equals, value = text.partition("=")
        name = name.strip().lower()
        if equals and name:
            chosen[name] = value.strip()
        else:
            problems.append(
                usage_error(f"--set takes NAME=VALUE, not {text!r}.", "use it as in --set maxmemory=64mb")
            )
    if given:
        problems += [
            usage_error(f"{name} is set by clusterboot: {OWN_SETTINGS[name]}.", "leave it out")
            for name in chosen
            if name in OWN_SETTINGS
        ]
    problems += [
        usage_error(
            f"the servers of a throwaway cluster have no password, so {name} cannot be set.", "leave it out"
        )
        for name in chosen
        if name in _PASSWORDS
    ]
    if problems:
        raise UsageError(*(problem for error in problems for problem in error.problems))
    return tuple(chosen.items())
