"""Where `--rebalance` leads a cluster, and the target of the moment on the way there. Pure.

The future has the roles and members of the file. In the present, what serves stays as it is, and new nodes
come where they will stay. `core.stages` has the steps between the two.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from clusterboot.core.placement import (
    Placement,
    Spot,
    called_primaries,
    place,
    spelled_role,
    wanted_primaries,
)
from clusterboot.core.spread import improve
from clusterboot.core.versions import Formats
from clusterboot.slots import NONE, Slots, union
from clusterboot.topology import Topology

Pins = Mapping[str, Spot]


@dataclass(frozen=True, slots=True)
class Future:
    """The roles of the nodes that stay, once everything is done, and how they come about.

    `heirs` are replicas that take the place of their primaries (by the name of the primary), `emptied` the
    primaries that give all their slots away. `placement` has the slots as they are served now.
    """

    placement: Placement
    heirs: Mapping[str, str]
    emptied: frozenset[str]


def future(topology: Topology, pins: Pins, formats: Formats, *, rebalance: bool) -> Future:
    """Return where the nodes of `topology` go that stay, around `pins` (what all nodes are).

    A replica takes the place of its primary where that one is to leave and primaries would be missing; with
    `rebalance` also where the file swaps their roles. Without it all other roles stay.
    """
    staying = topology.staying
    if not topology.leaving and not rebalance:
        return Future(place(staying, pins, formats), {}, frozenset())
    heirs = dict(_swapped(staying, pins)) if rebalance else {}
    demoted = _demoted(staying, pins, heirs) if rebalance else set()
    heirs |= _in_place_of_leaving(topology, pins, heirs, demoted)
    if rebalance:
        heirs |= _from_elsewhere(topology, pins, heirs, demoted)
    succeeds = {heir: head for head, heir in heirs.items()}
    emptied = {name for name in topology.leaving | demoted if name not in heirs and pins.get(name, NEW).slots}
    drained = demoted - heirs.keys()
    found: dict[str, Spot] = {}
    for name, pin in pins.items():
        head = name if pin.primary is None else pin.primary
        heir = heirs.get(head, head)
        if name in topology.leaving or name in drained:
            continue
        if name in succeeds or name == heir:
            found[name] = Spot("primary", None, pins[succeeds.get(name, name)].slots)
        elif heir not in topology.leaving | drained:
            found[name] = Spot("replica", heir)
    if rebalance:
        found |= _spelled_replicas(staying, found)
    elsewhere = union(pins[name].slots for name in emptied)
    placed = place(staying, found, formats, elsewhere)
    if rebalance:
        placed = _spread(staying, placed, formats)
    return Future(placed, heirs, frozenset(emptied))


NEW = Spot("primary")


def _replicas_of(head: str, pins: Pins) -> list[str]:
    return [name for name, pin in pins.items() if pin.primary == head]


def _swapped(topology: Topology, pins: Pins) -> Iterator[tuple[str, str]]:
    """Yield primaries and the replicas that take their place by the file: by the role of one or the other."""
    nodes = {node.name: node for node in topology.nodes}
    called = called_primaries(topology)
    for head in (name for name, pin in pins.items() if pin.role == "primary" and name in nodes):
        role = spelled_role(nodes[head])
        if head in called:
            continue
        replicas = [name for name in nodes if name in _replicas_of(head, pins)]
        named = [name for name in replicas if name in called]
        open_to_it = [name for name in replicas if spelled_role(nodes[name]) is None]
        if named:
            yield head, named[0]
        elif role == "replica" and open_to_it:
            yield head, open_to_it[0]


def _demoted(topology: Topology, pins: Pins, heirs: Mapping[str, str]) -> set[str]:
    """Return the serving primaries that the file calls replicas, and that no replica can succeed."""
    return {
        node.name
        for node in topology.nodes
        if node.name in pins
        and pins[node.name].role == "primary"
        and spelled_role(node) == "replica"
        and node.name not in heirs
    }


def _in_place_of_leaving(
    topology: Topology, pins: Pins, heirs: Mapping[str, str], demoted: set[str]
) -> dict[str, str]:
    """Return the heirs of leaving primaries: replicas that the file calls primaries, or that it needs."""
    staying = topology.staying
    nodes = {node.name: node for node in staying.nodes}
    called = called_primaries(staying)
    primaries = [
        name for name, pin in pins.items() if pin.role == "primary" and name in nodes and name not in demoted
    ]
    new = [node for node in staying.nodes if node.name not in pins and spelled_role(node) == "primary"]
    missing = wanted_primaries(staying) - len(primaries) - len(new)
    fit: dict[str, list[str]] = {}
    for head in (node.name for node in topology.nodes if node.name in topology.leaving):
        if head in pins and pins[head].slots:
            replicas = [name for name in nodes if name in _replicas_of(head, pins)]
            open_to_it = [name for name in replicas if spelled_role(nodes[name]) != "replica"]
            fit[head] = sorted(open_to_it, key=lambda name: name not in called)
    # Those that the file calls primaries cannot become primaries in another way.
    order = sorted(fit, key=lambda head: not called.intersection(fit[head]))
    found: dict[str, str] = {}
    for head in order:
        if fit[head] and (fit[head][0] in called or len(found) < missing):
            found[head] = fit[head][0]
    return found


def _from_elsewhere(
    topology: Topology, pins: Pins, heirs: Mapping[str, str], demoted: set[str]
) -> dict[str, str]:
    """Return replicas that the file calls primaries, and that succeed primaries of other shards.

    Replica migration takes a former primary to a shard without replicas. It goes back first, preferably to
    the primary that is its replica by the file.
    """
    nodes = {node.name: node for node in topology.nodes}
    called = called_primaries(topology.staying)
    replicas = [name for name in nodes if name in called and name in pins and pins[name].role == "replica"]
    left = [name for name in replicas if name not in heirs.values()]
    open_heads = [
        name
        for name in nodes
        if name in demoted | topology.leaving and name not in heirs and pins.get(name, NEW).slots
    ]
    found: dict[str, str] = {}
    for head in sorted(open_heads, key=lambda name: nodes[name].replica_of not in left):
        if left:
            wish = nodes[head].replica_of
            found[head] = wish if wish in left else left[0]
            left.remove(found[head])
    return found


def _spelled_replicas(topology: Topology, pins: Pins) -> dict[str, Spot]:
    """Return the replicas that the file gives another primary than they have."""
    found: dict[str, Spot] = {}
    for node in topology.nodes:
        pin, wanted = pins.get(node.name), node.replica_of
        if pin is None or pin.role != "replica" or wanted is None:
            continue
        head = pins[wanted].primary or wanted if wanted in pins else wanted
        if head not in (pin.primary, node.name):
            found[node.name] = Spot("replica", head)
    return found


def _spread(topology: Topology, placed: Placement, formats: Formats) -> Placement:
    """Return the placement with replicas dealt evenly, away from the zones and hosts of their primaries.

    Only replicas whose primary the file leaves open go elsewhere, and only where that makes it better.
    """
    nodes = {node.name: node for node in topology.nodes}
    primaries = [nodes[name] for name, spot in placed.spots.items() if spot.role == "primary"]
    free = {name: primary for name, primary in placed.primary_of.items() if nodes[name].replica_of is None}
    fixed = Counter(primary for name, primary in placed.primary_of.items() if name not in free)
    pairs = [(nodes[name], nodes[primary]) for name, primary in free.items()]
    better = improve(pairs, primaries, fixed, formats)
    spots = {
        name: replace(spot, primary=better.get(name, spot.primary)) for name, spot in placed.spots.items()
    }
    return replace(placed, spots=spots)


def present(topology: Topology, pins: Pins, to_be: Future) -> Placement:
    """Return the target of the moment: what nodes are stays, and new nodes come where they will stay."""
    served = union(pin.slots for pin in pins.values())
    final = to_be.placement.spots
    head_now = {heir: head for head, heir in to_be.heirs.items()}
    unserved: dict[str, Slots] = {}
    for name, spot in final.items():
        head = head_now.get(name, name)
        unserved[head] = unserved.get(head, NONE) | (spot.slots - served)
    spots: dict[str, Spot] = {}
    for node in topology.nodes:
        name = node.name
        spot = pins.get(name) or (NEW if name in topology.leaving else final[name])
        if name not in pins and spot.primary is not None:
            # A replica that is new attaches to the primary that its own will succeed.
            head = head_now.get(spot.primary, spot.primary)
            current = pins.get(head, NEW)
            spot = Spot("replica", current.primary or head)
        if spot.role == "primary":
            kept = pins[name].slots if name in pins else NONE
            spot = replace(spot, slots=kept | unserved.get(name, NONE))
        spots[name] = spot
    return Placement(spots, to_be.placement.warnings)
