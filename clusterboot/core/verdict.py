"""The verdict over a cluster: what each node lacks, and every reason why it is not Ready. Pure.

A reason that only follows from another is left out: what others repeat of what a node says of itself,
cluster_state while slots are not served, roles of nodes that do not see each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from clusterboot.core.placement import Placement
from clusterboot.core.views import Peer, View, Views
from clusterboot.errors import Problem, not_ready
from clusterboot.slots import Slots
from clusterboot.wording import shortened

_UP = "run 'clusterboot up': it does what is missing"


@dataclass(frozen=True, slots=True)
class NodeHealth:
    """What one node lacks; empty tuples and True mean that it lacks nothing.

    `unseen` are names of nodes that it does not see, `strangers` listed ids outside the topology, `stale`
    names of nodes that it lists with another role, primary or slots than planned. `handshakes` counts its
    lines in handshake. `state_ok` and `in_sync` are what the node says of itself.
    """

    unseen: tuple[str, ...] = ()
    strangers: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()
    state_ok: bool = True
    in_sync: bool = True
    handshakes: int = 0

    @property
    def meshed(self) -> bool:
        """Whether it sees exactly the nodes of the topology."""
        return not (self.unseen or self.strangers or self.handshakes)

    @property
    def ready(self) -> bool:
        """Whether it lacks nothing at all."""
        return self.meshed and not self.stale and self.state_ok and self.in_sync


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the cluster is Ready or a mesh, what each node lacks, and every reason why it is not Ready.

    `links` counts the links seen, out of `total` = N(N-1); `covered` are the slots that some node serves.
    """

    ready: bool
    mesh: bool
    nodes: Mapping[str, NodeHealth]
    links: int
    total: int
    covered: Slots
    reasons: tuple[Problem, ...]

    @property
    def complete(self) -> int:
        """How many nodes lack nothing."""
        return sum(health.ready for health in self.nodes.values())


def reasons_for(
    target: Placement,
    names: Mapping[str, str],
    views: Views,
    nodes: Mapping[str, NodeHealth],
    lacking: Slots,
) -> Iterator[Problem]:
    """Yield the reasons; `names` are the nodes' names by id, `lacking` the slots that no node serves."""
    # Nodes that say of themselves that they are not as planned: others may only repeat it.
    off = {name: views[name].me for name, health in nodes.items() if name in health.stale}
    to_attach, excused = _behind(target, nodes, off, lacking)
    same: dict[int, bool] = {}
    for name, health in nodes.items():
        yield from _mesh_reasons(name, health)
        stale = [other for other in health.stale if other != name or name not in excused]
        if any(other in off for other in stale if other != name):
            repeated = set(_repeated(views[name], names, off, same)) - {name}
            stale = [other for other in stale if other not in repeated]
        if stale:
            which = shortened(["itself" if other == name else other for other in stale])
            peer = stale[0] if len(stale) == 1 and stale != [name] else None
            message = f"{name} has other roles or slots than planned for {which}."
            yield not_ready("roles-disagree", message, name, peer)
    if lacking:
        which = f"slot{'' if len(lacking) == 1 else 's'} {lacking} ({len(lacking)} of 16384)"
        yield not_ready("slots-missing", f"no node serves the {which}.", hint=_UP)
    if to_attach:
        yield _replicas_missing(to_attach)
    for name, health in nodes.items():
        # By default a server says cluster_state:fail for as long as one slot is not served.
        if not (health.state_ok or lacking):
            yield not_ready("state-fail", f"{name} says cluster_state:fail.", name)
        if not health.in_sync:
            yield _out_of_sync(name, views[name].info, target.spots[name].primary)


def _mesh_reasons(name: str, health: NodeHealth) -> Iterator[Problem]:
    if health.unseen:
        yield not_seen(name, health.unseen)
    elif health.handshakes:
        # Only where no node is unseen: otherwise the handshake is most likely with that one.
        yield not_ready("handshake", f"{name} still has an unfinished handshake.", name)
    if health.strangers:
        ids = shortened(health.strangers)
        yield not_ready(
            "stranger", f"{name} lists {ids}, which is not the id of any node of the topology.", name
        )


def not_seen(name: str, unseen: Sequence[str]) -> Problem:
    """Return the reason that a node does not see the nodes `unseen`."""
    peer = unseen[0] if len(unseen) == 1 else None
    return not_ready("not-seen", f"{name} does not see {shortened(unseen)}.", name, peer)


def _behind(
    target: Placement, nodes: Mapping[str, NodeHealth], off: Mapping[str, Peer], lacking: Slots
) -> tuple[list[tuple[str, str]], set[str]]:
    """The nodes of `off` that are only not as far as planned.

    Return pairs (replica, primary) still to attach, where the replica sees the primary, and the names of all
    nodes that need no separate reason: theirs is this one, unserved slots or an unseen primary.
    """
    to_attach: list[tuple[str, str]] = []
    excused: set[str] = set()
    for name, me in off.items():
        spot = target.spots[name]
        if spot.primary is not None and not me.slots:
            excused.add(name)
            if spot.primary not in nodes[name].unseen:
                to_attach.append((name, spot.primary))
        elif spot.primary is None and not me.replica and me.slots == spot.slots - lacking:
            excused.add(name)
    return to_attach, excused


def _repeated(
    view: View, names: Mapping[str, str], off: Mapping[str, Peer], same: dict[int, bool]
) -> Iterator[str]:
    """The nodes of `off` that this node lists as they describe themselves; `same` caches it by `Peer`."""
    for peer in view.peers:
        name = names.get(peer.id, "")
        if name in off:
            agrees = same.get(id(peer))
            if agrees is None:
                me = off[name]
                agrees = (peer.replica, peer.primary, peer.slots) == (me.replica, me.primary, me.slots)
                same[id(peer)] = agrees
            if agrees:
                yield name


def _replicas_missing(pairs: Sequence[tuple[str, str]]) -> Problem:
    name, primary = pairs[0]
    if len(pairs) == 1:
        message = f"{name} is not a replica of {primary} yet."
        return not_ready("replicas-missing", message, name, primary, _UP)
    which = shortened([f"{name} of {primary}" for name, primary in pairs])
    message = f"{len(pairs)} nodes are not replicas of their primaries yet: {which}."
    return not_ready("replicas-missing", message, name, hint=_UP)


def _out_of_sync(name: str, info: Mapping[str, str], primary: str | None) -> Problem:
    link = info.get("master_link_status", "unknown")
    syncing = ", a sync is in progress" if info.get("master_sync_in_progress") == "1" else ""
    message = f"{name} is not in sync with its primary: its link is {link}{syncing}."
    return not_ready("replica-out-of-sync", message, name, primary)
