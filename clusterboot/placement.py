"""Who is a primary, who replicates whom, who serves which slots: decided from the file, purely.

`place(topology)` answers for fresh nodes. `place(topology, pins)` answers for a cluster that partly
exists: a pin says what a node already is and is never changed, everything else is placed around it.
The same file gives the same placement, on every machine and in every run.

The rules: primaries first, spread over zones, then over hosts; replicas on another zone than their
primary where that is possible, else on another host, evenly; slots that the file gives are honoured,
the others are split over the primaries without any, by weight; slots that are served stay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from clusterboot.errors import Exit, Problem
from clusterboot.slots import ALL, NONE, Slots, split, union
from clusterboot.spread import apart, pair, pick
from clusterboot.topology import Node, Role, Topology


@dataclass(frozen=True, slots=True)
class Spot:
    """A node's place: its role, the name of its primary if it is a replica, the slots it serves."""

    role: Role
    primary: str | None = None
    slots: Slots = NONE


@dataclass(frozen=True, slots=True)
class Placement:
    """A spot for every node, by name and in the order of the file, and what is unfortunate about it."""

    spots: Mapping[str, Spot]
    warnings: tuple[Problem, ...] = ()

    @property
    def slots(self) -> Slots:
        """All slots that somebody is to serve."""
        return union(spot.slots for spot in self.spots.values())


def place(topology: Topology, pins: Mapping[str, Spot] | None = None) -> Placement:
    """Return the placement of a valid topology around `pins` (node name → what it already is)."""
    pins = pins or {}
    if topology.slots == "none":
        # A mesh only: nobody gets anything, and nothing is unfortunate about it.
        return Placement({node.name: pins.get(node.name, Spot("primary")) for node in topology.nodes})
    primaries = _primaries(topology, pins)
    heads = {name: spot.primary or name for name, spot in pins.items() if spot.role == "replica"}
    for node in topology.nodes:
        # Whoever took over from a primary that came back with empty hands is its primary now.
        if node.replica_of is not None and node.name in primaries and node.replica_of not in primaries:
            heads.setdefault(node.replica_of, node.name)
    slots = _slots(topology, primaries, pins, heads)
    followers = _replicas(topology, primaries, pins, heads)
    spots = {
        node.name: Spot("primary", None, slots.get(node.name, NONE))
        if node.name in primaries
        else Spot("replica", followers[node.name])
        for node in topology.nodes
    }
    return Placement(spots, _warnings(topology, spots))


def wanted_primaries(topology: Topology) -> int:
    """Return how many primaries the file asks for.

    `nodes // (1 + replicas)`, but every node that the file calls a replica is one, and where every
    role is spelled out the roles are counted.
    """
    replicas = sum(spelled_role(node) == "replica" for node in topology.nodes)
    if all(spelled_role(node) for node in topology.nodes):
        return len(topology.nodes) - replicas
    return min(len(topology.nodes) // (1 + topology.replicas), len(topology.nodes) - replicas)


def spelled_role(node: Node) -> Role | None:
    """Return the role that the file gives a node in so many words, or by `replica_of` or `slots`."""
    if node.replica_of is not None:
        return "replica"
    return "primary" if node.role is None and node.slots is not None else node.role


def _primaries(topology: Topology, pins: Mapping[str, Spot]) -> set[str]:
    """Pinned primaries, then those that the file names, then a spread over zones and hosts."""
    followed = {node.replica_of for node in topology.nodes if node.replica_of}
    named = {node.name for node in topology.nodes if spelled_role(node) == "primary" or node.name in followed}
    wanted = wanted_primaries(topology)
    unnamed = [node for node in topology.nodes if spelled_role(node) is None and node.name not in named]
    taken = [node for node in topology.nodes if node.name in named]
    fresh = named | {node.name for node in pick(unnamed, taken, max(0, wanted - len(named)))}
    if not pins:
        return fresh
    chosen = {name for name, spot in pins.items() if spot.role == "primary"}
    succeeded = {node.replica_of for node in topology.nodes if node.name in chosen}
    # Whoever would be a primary on fresh nodes comes first: a run that was cut off goes on as planned.
    # Last comes whose replica has taken over: a failover is kept even if the old primary is new.
    candidates = sorted(
        (node.name for node in topology.nodes if node.name in named or spelled_role(node) is None),
        key=lambda name: (name in succeeded, name not in named, name not in fresh),
    )
    free = [name for name in candidates if name not in pins]
    return chosen | set(free[: max(0, wanted - len(chosen))])


def _slots(
    topology: Topology, primaries: set[str], pins: Mapping[str, Spot], heads: Mapping[str, str]
) -> dict[str, Slots]:
    """The slots of every primary: what it serves already, and its share of what nobody serves."""
    served = {name: spot.slots for name, spot in pins.items() if spot.slots}
    nobody = union(served.values()).complement()
    fresh = _fresh_slots(topology, _primaries(topology, {}))
    homeless = NONE
    for name, planned in fresh.items():
        head, share = heads.get(name, name), planned & nobody
        # Who took over gets the share, but not in addition to one of its own.
        if head in primaries and (head == name or head not in fresh):
            served[head] = served.get(head, NONE) | share
        else:
            homeless |= share
    if homeless:
        # Another node has become a primary in place of the planned one, so it takes over the share.
        ours = [node.name for node in topology.nodes if node.name in primaries]
        heirs = [name for name in ours if not served.get(name)] or ours
        for name, share in zip(heirs, split(homeless, [1] * len(heirs)), strict=True):
            served[name] = served.get(name, NONE) | share
    return served


def _fresh_slots(topology: Topology, primaries: set[str]) -> dict[str, Slots]:
    """The slots that the file gives each of `primaries`, as if nobody served any yet."""
    nodes = [node for node in topology.nodes if node.name in primaries]
    explicit = {node.name: node.slots for node in nodes if node.slots is not None}
    automatic = [node for node in nodes if node.slots is None]
    if not automatic:
        return explicit
    rest = ALL - union(explicit.values())
    shares = split(rest, [node.weight for node in automatic])
    return explicit | {node.name: share for node, share in zip(automatic, shares, strict=True)}


def _replicas(
    topology: Topology, primaries: set[str], pins: Mapping[str, Spot], heads: Mapping[str, str]
) -> dict[str, str]:
    """The primary of every node that is not one."""
    nodes = {node.name: node for node in topology.nodes}
    rest = [node for node in topology.nodes if node.name not in primaries]
    found = {node.name: heads[node.name] for node in rest if node.name in heads}
    for node in rest:
        head = heads.get(node.replica_of or "", node.replica_of)
        if node.name not in found and head in primaries:
            found[node.name] = head
    free = [node for node in rest if node.name not in found]
    if not free:
        return found
    wish: dict[str, str] = {}
    for name, planned in (_replicas(topology, _primaries(topology, {}), {}, {}) if pins else {}).items():
        # Where the file's own choice for fresh nodes still fits, it is kept, as in _primaries.
        head = heads.get(planned, planned)
        if apart(nodes[head], nodes[name]) <= apart(nodes[planned], nodes[name]):
            wish[name] = head
    return found | pair(
        free, [nodes[name] for name in nodes if name in primaries], Counter(found.values()), wish
    )


def _warnings(topology: Topology, spots: Mapping[str, Spot]) -> tuple[Problem, ...]:
    nodes = {node.name: node for node in topology.nodes}
    found: list[Problem] = []
    serving = sum(spot.role == "primary" for spot in spots.values())
    if serving < 3:
        found.append(
            Problem(
                "few-primaries",
                f"{serving} {'primary' if serving == 1 else 'primaries'}: no majority can agree on a "
                "failover when one fails.",
                hint="use at least three primaries where the cluster has to survive the loss of one",
                exit=Exit.DONE,
            )
        )
    idle = [
        name
        for name, spot in spots.items()
        if spot.role == "primary" and not spot.slots and nodes[name].slots is None
    ]
    if idle:
        more = f" and {len(idle) - 5} more" if len(idle) > 5 else ""
        found.append(
            Problem(
                "primary-without-slots",
                f"{', '.join(idle[:5])}{more} {'is a primary' if len(idle) == 1 else 'are primaries'} "
                "without slots: what is served stays where it is, and a tiny weight gets none.",
                node=idle[0],
                hint="move slots there with redis-cli --cluster rebalance --cluster-use-empty-masters",
                exit=Exit.DONE,
            )
        )
    zoned, hosted = [], []
    for name, spot in spots.items():
        if spot.primary is None:
            continue
        replica, primary = nodes[name], nodes[spot.primary]
        if replica.zone is not None and replica.zone == primary.zone:
            zoned.append(f"{name} beside {spot.primary}")
        elif replica.host == primary.host and not _loopback(replica.host):
            hosted.append(f"{name} beside {spot.primary}")
    for where, code, pairs in (("zone", "replica-same-zone", zoned), ("host", "replica-same-host", hosted)):
        if pairs:
            one = len(pairs) == 1
            shared = f"shares the {where} of its primary" if one else f"share the {where} of their primary"
            more = f" and {len(pairs) - 5} more" if len(pairs) > 5 else ""
            found.append(
                Problem(
                    code,
                    f"{len(pairs)} of the replicas {shared}: {', '.join(pairs[:5])}{more}.",
                    hint=f"the loss of one {where} can take a primary and its replica at once",
                    exit=Exit.DONE,
                )
            )
    return tuple(found)


def _loopback(host: str) -> bool:
    return host == "localhost" or host == "::1" or host.startswith("127.")
