"""Primaries, their replicas and their slots, decided from the file: the same file, the same placement. Pure.

A pin (what a node already is) never changes. Primaries are spread over zones, then hosts; replicas go to
another zone than their primary where possible, else another host, evenly. Slots in the file go to their
nodes, served slots stay; primaries without any share the rest by weight. With mixed versions, no replica is
older than its primary if possible.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from clusterboot.addresses import is_loopback
from clusterboot.core.spread import Fit, apart, level, pair, pick, shares
from clusterboot.core.versions import Formats
from clusterboot.errors import Problem, warning
from clusterboot.slots import ALL, NONE, Slots, split, union
from clusterboot.topology import Node, Role, Topology
from clusterboot.wording import count, shortened

# Choices of primaries that are compared for mixed versions; each costs a whole placement.
_MAX_CHOICES = 3


@dataclass(frozen=True, slots=True)
class Spot:
    """A node's place: its role, the name of its primary if it is a replica, the slots it serves."""

    role: Role
    primary: str | None = None
    slots: Slots = NONE


@dataclass(frozen=True, slots=True)
class Placement:
    """A spot for every node, by name and in the order of the file, and warnings about them."""

    spots: Mapping[str, Spot]
    warnings: tuple[Problem, ...] = ()

    @property
    def primary_of(self) -> dict[str, str]:
        """The primary of each replica."""
        return {name: spot.primary for name, spot in self.spots.items() if spot.primary is not None}

    @property
    def slots(self) -> Slots:
        """All slots that are to be served."""
        return union(spot.slots for spot in self.spots.values())


def place(
    topology: Topology,
    pins: Mapping[str, Spot] | None = None,
    formats: Formats | None = None,
    elsewhere: Slots = NONE,
) -> Placement:
    """Return the placement of a valid topology around `pins` (node name → what it already is).

    `formats` tell which node can replicate which (`versions.formats`); without them any node can. The slots
    `elsewhere` are served by nodes without a pin, and are given to none.
    """
    pins, formats = pins or {}, formats or {}
    if topology.slots == "none":
        # A mesh only: no slots, no replicas and no warnings.
        return Placement({node.name: pins.get(node.name, Spot("primary")) for node in topology.nodes})
    fresh = _fresh(topology, formats)
    primaries = _around(topology, pins, fresh, formats) if pins else fresh
    heads = _heads(topology, primaries, pins)
    slots = _slots(topology, primaries, pins, heads, fresh, elsewhere)
    wish = _replicas(topology, fresh, {}, {}, formats)
    followers = _replicas(topology, primaries, heads, wish, formats) if pins else wish
    spots = {
        node.name: Spot("primary", None, slots.get(node.name, NONE))
        if node.name in primaries
        else Spot("replica", followers[node.name])
        for node in topology.nodes
    }
    return Placement(spots, tuple(_warnings(topology, slots, followers)))


def wanted_primaries(topology: Topology) -> int:
    """Return how many primaries the file asks for: those that it names if it has every role.

    Otherwise `nodes // (1 + replicas)`, but never a node that the file calls a replica.
    """
    replicas = sum(spelled_role(node) == "replica" for node in topology.nodes)
    if all(spelled_role(node) for node in topology.nodes):
        return len(topology.nodes) - replicas
    return min(len(topology.nodes) // (1 + topology.replicas), len(topology.nodes) - replicas)


def spelled_role(node: Node) -> Role | None:
    """Return the role that the file gives a node, explicitly or by `replica_of` or `slots`."""
    if node.replica_of is not None:
        return "replica"
    return "primary" if node.role is None and node.slots is not None else node.role


def called_primaries(topology: Topology) -> set[str]:
    """Return the nodes that the file calls primaries: by their role, their slots or a `replica_of`."""
    named = {node.name for node in topology.nodes if spelled_role(node) == "primary"}
    return named | {node.replica_of for node in topology.nodes if node.replica_of}


def _fresh(topology: Topology, formats: Formats) -> set[str]:
    """The primaries on fresh nodes: those that the file names, then a spread over zones and hosts."""
    named = called_primaries(topology)
    unnamed = [node for node in topology.nodes if spelled_role(node) is None and node.name not in named]
    taken = [node for node in topology.nodes if node.name in named]
    missing = max(0, wanted_primaries(topology) - len(named))
    ways = [named | set(way) for way in _ways(unnamed, taken, missing, formats)]
    fitting = [way for way in ways if _fitting(topology, way, {}, formats)][:_MAX_CHOICES]
    if len(fitting) < 2:
        return (fitting or ways)[0]
    nodes = {node.name: node for node in topology.nodes}

    def closeness(way: set[str]) -> int:
        followers = _replicas(topology, way, {}, {}, formats)
        return sum(apart(nodes[primary], nodes[name]) for name, primary in followers.items())

    return min(fitting, key=closeness)


def _around(topology: Topology, pins: Mapping[str, Spot], fresh: set[str], formats: Formats) -> set[str]:
    wanted = wanted_primaries(topology)
    chosen = {name for name, spot in pins.items() if spot.role == "primary"}
    followed = {node.replica_of for node in topology.nodes if node.replica_of}
    named = {n.name for n in topology.nodes if n.name in followed or spelled_role(n) is not None}
    succeeded = {node.replica_of for node in topology.nodes if node.name in chosen}
    # First the primaries on fresh nodes: an interrupted run goes on as planned. Last a node whose replica
    # has taken over: a failover is kept even if the old primary is new.
    candidates = sorted(
        (node for node in topology.nodes if node.name in followed or spelled_role(node) != "replica"),
        key=lambda node: (node.name in succeeded, node.name not in named, node.name not in fresh),
    )
    free = [node for node in candidates if node.name not in pins]
    first = free[: max(0, wanted - len(chosen))]
    ways = [chosen | {node.name for node in first}]
    if formats:
        fixed = chosen | {node.name for node in first if node.name in named}
        taken = [node for node in topology.nodes if node.name in fixed]
        unnamed = [node for node in free if node.name not in named]
        missing = len(chosen) + len(first) - len(fixed)
        ways += [fixed | set(way) for way in _ways(unnamed, taken, missing, formats)]
    return next((way for way in ways if _fitting(topology, way, pins, formats)), ways[0])


def _ways(
    candidates: Sequence[Node], taken: Sequence[Node], count: int, formats: Formats
) -> Iterator[list[str]]:
    """The choices of `count` primaries: by zones and hosts alone; then the oldest, by zones and hosts."""
    yield [node.name for node in pick(candidates, taken, count)]
    for share in shares((formats.get(node.name) for node in candidates), count) if formats else ():
        picked: list[Node] = []
        for number, most in share.items():
            those = [node for node in candidates if formats.get(node.name) == number]
            picked += pick(those, [*taken, *picked], most)
        yield [node.name for node in picked]


def _fitting(topology: Topology, primaries: set[str], pins: Mapping[str, Spot], formats: Formats) -> bool:
    """Whether every replica that the file leaves open can get one of `primaries` that it can replicate."""
    if not formats:
        return True
    given = _given(topology, primaries, _heads(topology, primaries, pins))
    free = [node.name for node in topology.nodes if node.name not in primaries and node.name not in given]
    if not free:
        return True
    counts = Counter(given.values())
    have = {name: counts[name] for name in primaries}
    return Fit(formats, have, free, level(have.values(), len(free))[0]).possible


def _heads(topology: Topology, primaries: set[str], pins: Mapping[str, Spot]) -> dict[str, str]:
    """The primaries of pinned replicas, and of primaries whose replica has taken over."""
    heads = {name: spot.primary or name for name, spot in pins.items() if spot.role == "replica"}
    for node in topology.nodes:
        # A node that took over from a primary that came back empty is now its primary.
        if node.replica_of is not None and node.name in primaries and node.replica_of not in primaries:
            heads.setdefault(node.replica_of, node.name)
    return heads


def _slots(
    topology: Topology,
    primaries: set[str],
    pins: Mapping[str, Spot],
    heads: Mapping[str, str],
    planned: set[str],
    elsewhere: Slots,
) -> dict[str, Slots]:
    """The slots of every primary: those that it serves, and its share of the unserved ones.

    The shares of `planned`, the primaries on fresh nodes, are passed on.
    """
    served = {name: spot.slots for name, spot in pins.items() if spot.slots}
    unserved = union((*served.values(), elsewhere)).complement()
    fresh = _fresh_slots(topology, planned)
    homeless = NONE
    for name, whole in fresh.items():
        head, share = heads.get(name, name), whole & unserved
        # The node that took over gets the share unless it has one already.
        if head in primaries and (head == name or head not in fresh):
            served[head] = served.get(head, NONE) | share
        else:
            homeless |= share
    if homeless:
        # Other nodes became primaries in place of the planned ones, and get their shares.
        ours = [node.name for node in topology.nodes if node.name in primaries]
        heirs = [name for name in ours if not served.get(name)] or ours
        for name, share in zip(heirs, split(homeless, [1] * len(heirs)), strict=True):
            served[name] = served.get(name, NONE) | share
    return served


def _fresh_slots(topology: Topology, primaries: set[str]) -> dict[str, Slots]:
    nodes = [node for node in topology.nodes if node.name in primaries]
    explicit = {node.name: node.slots for node in nodes if node.slots is not None}
    automatic = [node for node in nodes if node.slots is None]
    if not automatic:
        return explicit
    rest = ALL - union(explicit.values())
    shares = split(rest, [node.weight for node in automatic])
    return explicit | {node.name: share for node, share in zip(automatic, shares, strict=True)}


def _given(topology: Topology, primaries: set[str], heads: Mapping[str, str]) -> dict[str, str]:
    """The primaries of the replicas that are pinned, or that the file gives one."""
    rest = [node for node in topology.nodes if node.name not in primaries]
    found = {node.name: heads[node.name] for node in rest if node.name in heads}
    for node in rest:
        head = heads.get(node.replica_of or "", node.replica_of)
        if node.name not in found and head in primaries:
            found[node.name] = head
    return found


def _replicas(
    topology: Topology,
    primaries: set[str],
    heads: Mapping[str, str],
    fresh: Mapping[str, str],
    formats: Formats,
) -> dict[str, str]:
    """The primary of every replica; the choice for `fresh` nodes is kept where it still fits."""
    nodes = {node.name: node for node in topology.nodes}
    found = _given(topology, primaries, heads)
    free = [node for node in topology.nodes if node.name not in primaries and node.name not in found]
    if not free:
        return found
    wish: dict[str, str] = {}
    for name, planned in fresh.items():
        head = heads.get(planned, planned)
        if apart(nodes[head], nodes[name]) <= apart(nodes[planned], nodes[name]):
            wish[name] = head
    ours = [nodes[name] for name in nodes if name in primaries]
    return found | pair(free, ours, Counter(found.values()), wish, formats)


def _warnings(
    topology: Topology, slots: Mapping[str, Slots], primary_of: Mapping[str, str]
) -> Iterator[Problem]:
    """Yield warnings about a valid but weak placement; `slots` are by primary, `primary_of` by replica."""
    nodes = {node.name: node for node in topology.nodes}
    primaries = [name for name in nodes if name not in primary_of]
    if len(primaries) < 3:
        yield warning(
            "few-primaries",
            f"{count(len(primaries), 'primary', 'primaries')}: no majority can agree on a failover "
            "when one fails.",
            hint="use at least three primaries where the cluster must survive the loss of one",
        )
    idle = [name for name in primaries if not slots.get(name) and nodes[name].slots is None]
    if idle:
        yield warning(
            "primary-without-slots",
            f"{shortened(idle)} {'is a primary' if len(idle) == 1 else 'are primaries'} "
            "without slots: slots that are served stay where they are, and a tiny weight gets none.",
            idle[0],
            hint="'clusterboot up --rebalance' moves slots there",
        )
    zoned, hosted = [], []
    for name, replica in nodes.items():
        primary = nodes.get(primary_of.get(name, ""))
        if primary is None:
            continue
        if replica.zone is not None and replica.zone == primary.zone:
            zoned.append(f"{name} beside {primary.name}")
        elif replica.host == primary.host and not is_loopback(replica.host):
            hosted.append(f"{name} beside {primary.name}")
    for where, code, pairs in (("zone", "replica-same-zone", zoned), ("host", "replica-same-host", hosted)):
        if pairs:
            share = count(len(pairs), "replica shares", "replicas share")
            its = "its" if len(pairs) == 1 else "their"
            yield warning(
                code,
                f"{share} the {where} of {its} primary: {shortened(pairs)}.",
                hint=f"the loss of one {where} can take a primary and its replica at once",
            )
