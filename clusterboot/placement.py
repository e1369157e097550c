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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

from clusterboot.errors import Exit, Problem
from clusterboot.slots import ALL, NONE, Slots, split, union
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
    replicas = sum(_role(node) == "replica" for node in topology.nodes)
    if all(map(_roled, topology.nodes)):
        return len(topology.nodes) - replicas
    return min(len(topology.nodes) // (1 + topology.replicas), len(topology.nodes) - replicas)


def _role(node: Node) -> Role | None:
    if node.replica_of is not None:
        return "replica"
    return "primary" if node.role is None and node.slots is not None else node.role


def _roled(node: Node) -> bool:
    return _role(node) is not None


def _primaries(topology: Topology, pins: Mapping[str, Spot]) -> set[str]:
    """Pinned primaries, then those that the file names, then a spread over zones and hosts."""
    chosen = {name for name, spot in pins.items() if spot.role == "primary"}
    followed = {node.replica_of for node in topology.nodes if node.replica_of}
    free = [node for node in topology.nodes if node.name not in pins]
    chosen |= {node.name for node in free if _role(node) == "primary" or node.name in followed}
    missing = wanted_primaries(topology) - len(chosen)
    candidates = [node for node in free if _role(node) is None and node.name not in chosen]
    if pins:
        # Whoever would be a primary on fresh nodes comes first: a run that was cut off goes on as planned.
        fresh = _primaries(topology, {})
        candidates.sort(key=lambda node: node.name not in fresh)
        return chosen | {node.name for node in candidates[: max(0, missing)]}
    taken = [node for node in topology.nodes if node.name in chosen]
    return chosen | {node.name for node in _spread(candidates, taken, max(0, missing))}


def _spread(candidates: Sequence[Node], taken: Iterable[Node], count: int) -> list[Node]:
    """Pick `count` candidates, each time from the zone, then the host, that has the fewest so far."""
    taken = list(taken)
    in_zone = Counter(node.zone for node in taken)
    on_host = Counter((node.zone, node.host) for node in taken)
    queues: dict[str | None, dict[str, list[Node]]] = {}
    for node in reversed(candidates):
        queues.setdefault(node.zone, {}).setdefault(node.host, []).append(node)
    order = {node.name: index for index, node in enumerate(candidates)}

    def first(nodes: list[Node]) -> int:
        return order[nodes[-1].name]

    zones: list[tuple[int, int, str | None]] = []
    hosts: dict[str | None, list[tuple[int, int, str]]] = {}
    for zone, by_host in queues.items():
        hosts[zone] = [(on_host[zone, host], first(nodes), host) for host, nodes in by_host.items()]
        heapify(hosts[zone])
        zones.append((in_zone[zone], min(entry[1] for entry in hosts[zone]), zone))
    # The second field is different for every entry, so that zones and hosts themselves never compare.
    heapify(zones)
    picked: list[Node] = []
    while zones and len(picked) < count:
        zone_count, _, zone = heappop(zones)
        host_count, _, host = heappop(hosts[zone])
        queue = queues[zone][host]
        picked.append(queue.pop())
        if queue:
            heappush(hosts[zone], (host_count + 1, first(queue), host))
        if hosts[zone]:
            heappush(zones, (zone_count + 1, min(entry[1] for entry in hosts[zone][:1]), zone))
    return picked


def _slots(
    topology: Topology, primaries: set[str], pins: Mapping[str, Spot], heads: Mapping[str, str]
) -> dict[str, Slots]:
    """The slots of every primary: what it serves already, and its share of what nobody serves."""
    served = {name: spot.slots for name, spot in pins.items() if spot.slots}
    nobody = union(served.values()).complement()
    fresh = fresh_slots(topology, _primaries(topology, {}) if pins else primaries)
    homeless = NONE
    for name, planned in fresh.items():
        head, share = heads.get(name, name), planned & nobody
        if head in primaries:
            served[head] = served.get(head, NONE) | share
        else:
            homeless |= share
    if homeless:
        # Another node has become a primary in place of the planned one, so it takes over the share.
        heirs = [name for name in sorted(primaries) if not served.get(name)] or sorted(primaries)
        for name, share in zip(heirs, split(homeless, [1] * len(heirs)), strict=True):
            served[name] = served.get(name, NONE) | share
    return served


def fresh_slots(topology: Topology, primaries: set[str]) -> dict[str, Slots]:
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
    rest = [node for node in topology.nodes if node.name not in primaries]
    found = {node.name: heads[node.name] for node in rest if node.name in heads}
    for node in rest:
        if node.name not in found and node.replica_of is not None:
            found[node.name] = heads.get(node.replica_of, node.replica_of)
    free = [node for node in rest if node.name not in found]
    if free:
        targets = [node for node in topology.nodes if node.name in primaries]
        planned = _replicas(topology, _primaries(topology, {}), {}, {}) if pins else {}
        quota = -(-len(rest) // max(1, len(targets)))
        count = Counter(found.values())
        for node in free:
            # Where the file's own choice for fresh nodes still fits, it is kept: see _primaries.
            head = heads.get(planned.get(node.name, ""), planned.get(node.name, ""))
            if head in primaries and count[head] < quota:
                found[node.name] = head
                count[head] += 1
        free = [node for node in free if node.name not in found]
        found |= _match(free, targets, count)
    return found


def apart(primary: Node, replica: Node) -> int:
    """How bad it is to put `replica` beside `primary`: 2 for the same zone, 1 for the same host."""
    same_zone = primary.zone is not None and primary.zone == replica.zone
    return 2 * same_zone + (primary.host == replica.host)


def _match(replicas: list[Node], primaries: list[Node], count: Counter[str]) -> dict[str, str]:
    """Give every replica a primary: evenly, and as far apart as a greedy choice and swaps can bring it."""
    buckets: dict[tuple[str | None, str], list[Node]] = {}
    for node in reversed(replicas):
        buckets.setdefault((node.zone, node.host), []).append(node)
    order = {node.name: index for index, node in enumerate(replicas)}
    turn = [(count[node.name], index) for index, node in enumerate(primaries)]
    heapify(turn)
    pairs: list[tuple[Node, Node]] = []
    for _ in replicas:
        have, index = heappop(turn)
        heappush(turn, (have + 1, index))
        primary = primaries[index]
        # The fullest place first among the equally good: what is plentiful is the least use to keep.
        key = min(
            buckets,
            key=lambda place: (
                apart(primary, buckets[place][-1]),
                -len(buckets[place]),
                order[buckets[place][-1].name],
            ),
        )
        pairs.append((buckets[key].pop(), primary))
        if not buckets[key]:
            del buckets[key]
    if len({(node.zone, node.host) for node in (*replicas, *primaries)}) > 1:
        _swap(pairs)
    return {replica.name: primary.name for replica, primary in pairs}


def _swap(pairs: list[tuple[Node, Node]]) -> None:
    """Trade replicas between two primaries wherever that puts more distance between the four."""
    better = True
    while better:
        better = False
        for left, (replica, primary) in enumerate(pairs):
            if not apart(primary, replica):
                continue
            for right, (other, its_primary) in enumerate(pairs):
                now = apart(primary, replica) + apart(its_primary, other)
                if apart(primary, other) + apart(its_primary, replica) < now:
                    pairs[left], pairs[right] = (other, primary), (replica, its_primary)
                    better = True
                    break


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
            more = f" and {len(pairs) - 5} more" if len(pairs) > 5 else ""
            found.append(
                Problem(
                    code,
                    f"{len(pairs)} of the replicas share the {where} of their primary: "
                    f"{', '.join(pairs[:5])}{more}.",
                    hint=f"the loss of one {where} can take a primary and its replica at once",
                    exit=Exit.DONE,
                )
            )
    return tuple(found)


def _loopback(host: str) -> bool:
    return host == "localhost" or host == "::1" or host.startswith("127.")
