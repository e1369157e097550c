"""The shape of a throwaway cluster: a number of primaries and replicas, or the nodes of a topology file.

A topology gives names, roles, slots, replicas, zones and `servers`, placed as 'clusterboot plan' shows. Free
loopback ports replace its addresses; `bus_port`, `announce`, `auth` and `tls` are dropped with them.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import replace

from clusterboot.addresses import BUS_OFFSET
from clusterboot.errors import NodeFailed, UsageError, usage_error
from clusterboot.local.failures import bind_error
from clusterboot.topology import MAX_NODES, OWN_SETTINGS, Node, Topology
from clusterboot.wording import count

HOST = "127.0.0.1"
# Client ports; each bus port is its port + 10000. Services use ports below 10000, outgoing connections those
# from 32768 on.
PORTS = range(10000, 22001)
# Passwords would be needed by all clients; the servers listen only on loopback.
_PASSWORDS = ("requirepass", "masterauth", "masteruser", "user", "aclfile")


def plain(primaries: int, replicas: int) -> Topology:
    """Return a topology on placeholder ports, `replicas` per primary; UsageError if it makes no cluster."""
    total = primaries * (1 + replicas)
    if primaries < 1 or replicas < 0 or total > MAX_NODES:
        raise usage_error(
            f"{count(primaries, 'primary', 'primaries')} with {count(replicas, 'replica')} each do not make "
            f"1 to {MAX_NODES} nodes.",
            "give at least one primary and no fewer than zero replicas",
        )
    nodes = (Node(f"{HOST}:{port}", HOST, port) for port in PORTS[:total])
    return Topology(tuple(nodes), replicas=replicas)


def on_ports(topology: Topology, ports: Sequence[int]) -> Topology:
    """Return the placed topology on these ports, in order; a node named by its address is renamed with it."""
    from clusterboot.core.placement import place

    names = {
        node.name: f"{HOST}:{port}" if node.name == node.address else node.name
        for node, port in zip(topology.nodes, ports, strict=True)
    }
    spots = place(topology).spots if topology.slots != "none" else {}
    nodes = []
    for node, port in zip(topology.nodes, ports, strict=True):
        fresh = Node(names[node.name], HOST, port, zone=node.zone, weight=node.weight, line=node.line)
        if spot := spots.get(node.name):
            primary = None if spot.primary is None else names[spot.primary]
            slots = spot.slots if spot.role == "primary" else None
            fresh = replace(fresh, role=spot.role, replica_of=primary, slots=slots)
        nodes.append(fresh)
    hub = None if topology.hub is None else names[topology.hub]
    return replace(topology, nodes=tuple(nodes), hub=hub, tls=None, retire=(), warnings=())


def free_ports(count: int, taken: Collection[int] = ()) -> list[int]:
    """Return `count` client ports that are free with their bus ports, not in `taken`; NodeFailed if too few.

    They are random, so that runs at the same time rarely choose the same.
    """
    used = {*taken, *(port + BUS_OFFSET for port in taken)}
    free: list[int] = []
    for port in random.sample(PORTS, len(PORTS)):
        pair = {port, port + BUS_OFFSET}
        if used.isdisjoint(pair) and not any(bind_error(HOST, each) for each in pair):
            free.append(port)
            used |= pair
        if len(free) == count:
            return free
    raise NodeFailed.of(
        "no-free-ports",
        f"{HOST} has only {len(free)} of the {count} free ports needed in {PORTS[0]}-{PORTS[-1]}.",
        hint="stop what listens there, or run fewer nodes",
    )


def settings(topology: Topology, given: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return the settings of a topology, overridden by "name=value" in `given`; UsageError if not allowed."""
    chosen = dict(topology.servers.config)
    errors = []
    for text in given:
        name, equals, value = text.partition("=")
        name = name.strip().lower()
        if equals and name:
            chosen[name] = value.strip()
        else:
            errors.append(
                usage_error(f"--set takes NAME=VALUE, not {text!r}.", "use it as in --set maxmemory=64mb")
            )
    for name in chosen:
        if name in OWN_SETTINGS:
            errors.append(usage_error(f"{name} is set by clusterboot: {OWN_SETTINGS[name]}.", "leave it out"))
        elif name in _PASSWORDS:
            message = f"the servers of a throwaway cluster have no password, so {name} cannot be set."
            errors.append(usage_error(message, "leave it out"))
    if errors:
        raise UsageError(*(problem for error in errors for problem in error.problems))
    return tuple(chosen.items())
