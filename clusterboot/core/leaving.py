"""The members that are to leave: which nodes the entries under `retire` mean, and how they stand. Pure.

An entry names an address or an id. Its member may serve, be dead, be forgotten by some members or by all (a
run that was cut off), or have left already, which is no problem: a file may keep its entries.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from clusterboot.core.views import Peer, View, Views
from clusterboot.errors import Problem, refusal, warning
from clusterboot.slots import Slots, union
from clusterboot.topology import Node, Retire, Topology
from clusterboot.wording import agree, shortened

_GONE = frozenset({"fail", "noaddr"})
# Codes of nodes that may be dead: any other reason comes from a node that is alive.
_UNREACHED = {
    *("connection-refused", "connection-lost", "connect-timeout", "unreachable", "name-not-resolved"),
    *("not-answering", "answers-slowly"),
}
_UP = "run 'clusterboot up --rebalance'"


@dataclass(frozen=True, slots=True)
class Leaver:
    """A member that is to leave: its `name` in messages, its `id`, and its `node` where it can be asked.

    `alive` is a full member that takes part until it is drained; any other only has to be forgotten, and
    reset where it answers.
    """

    name: str
    id: str
    node: Node | None
    alive: bool
    replica: bool = False


@dataclass(frozen=True, slots=True)
class Leaving:
    """Every member that is to leave, and what forbids it."""

    leavers: tuple[Leaver, ...] = ()
    refusals: tuple[Problem, ...] = ()

    def extend(self, topology: Topology) -> Topology:
        """Return `topology` with the members that take part until they are drained."""
        alive = [each.node for each in self.leavers if each.alive and each.node is not None]
        return replace(
            topology,
            nodes=(*topology.nodes, *alive),
            leaving=frozenset(node.name for node in alive),
            gone=frozenset(each.id for each in self.leavers if not each.alive),
        )

    def pending(self) -> Iterator[Problem]:
        """Yield a warning if members are still to leave."""
        if names := [each.name for each in self.leavers]:
            yield warning(
                "retire-pending",
                f"{shortened(names)} {agree('is', names)} to leave the cluster (retire) and "
                f"{agree('has', names)} not left yet.",
                names[0],
                hint=f"{_UP}: it drains, forgets and resets what is listed under retire",
            )


def find(
    topology: Topology,
    views: Views,
    answers: Mapping[str, View],
    addresses: Mapping[str, str],
    away: Mapping[str, Problem] | None = None,
) -> Leaving:
    """Return the members that the entries under `retire` mean.

    `views` are of the nodes of the topology, `answers` of the entries that answered (by entry name),
    `addresses` the numeric addresses of the others, where they are known, and `away` why they did not answer.
    """
    away = away or {}
    leavers: list[Leaver] = []
    refusals: list[Problem] = []
    ours = {view.id: name for name, view in views.items()}
    for entry in topology.retire:
        view = answers.get(entry.name)
        if view is not None and entry.id in (None, view.id):
            if view.id in ours:
                refusals.append(_kept_and_retired(entry, ours[view.id]))
                continue
            if (found := _of_view(entry, view, views)) is not None:
                leavers.append(found)
                continue
        if entry.id in ours:
            refusals.append(_kept_and_retired(entry, ours[entry.id]))
            continue
        # Without an answer of the member; what answers at its address may have come after it was lost.
        known = addresses if view is None else {**addresses, entry.name: view.ip}
        for node_id, lines in _by_id(entry, views, known).items():
            taken = any(each.name == entry.name for each in leavers)
            leavers.append(Leaver(node_id if taken else entry.name, node_id, None, alive=False))
            refusals += _not_gone(entry, node_id, lines, away.get(entry.name))
            refusals += _lost(entry, node_id, lines, views)
    return Leaving(tuple(leavers), tuple(refusals))


def to_ask(topology: Topology, views: Views) -> Iterator[Node]:
    """Yield a node for every entry that can be asked: at its own address, or where members list its id."""
    for entry in topology.retire:
        if entry.node is not None:
            yield replace(entry.node, name=entry.name)
        elif (where := _listed_at(entry, views)) is not None:
            auth = topology.nodes[0].auth if topology.nodes else None
            yield Node(entry.name, where.ip, where.port, auth=auth)


def _listed_at(entry: Retire, views: Views) -> Peer | None:
    """Return a line with the address of an entry that has only an id; None where no member is connected."""
    lines = list(_by_id(entry, views, {}).get(entry.id or "", {}).values())
    where = next((line for line in lines if line.ip and line.port), None)
    return where if any(line.connected for line in lines) else None


def _of_view(entry: Retire, view: View, views: Views) -> Leaver | None:
    lines = {name: line for name, each in views.items() if (line := each.knows(view.id)) is not None}
    theirs = {each.id for each in views.values()}
    knows_us = any(peer.id in theirs for peer in view.peers)
    if not lines and not knows_us:
        return None
    members = [name for name, each in views.items() if len(each.peers) > 1]
    served = view.me.slots or any(line.slots for line in lines.values())
    # What serves is a member until it is drained, even if others forgot it: it has the keys of its slots.
    # Forgotten by some and without slots: what is left is to forget it everywhere and to reset it.
    alive = bool(served) or (bool(lines) and all(name in lines for name in members))
    asked = _listed_at(entry, views)
    port = asked.port if asked else view.me.port
    node = replace(entry.node, name=entry.name) if entry.node else Node(entry.name, view.ip, port)
    return Leaver(entry.name, view.id, node, alive, view.me.replica)


def _by_id(entry: Retire, views: Views, addresses: Mapping[str, str]) -> dict[str, dict[str, Peer]]:
    """Return what members list of an entry, by its id or its address: by the id, then by the member."""
    found: dict[str, dict[str, Peer]] = {}
    ours = {view.id for view in views.values()}
    for name, view in views.items():
        for peer in view.peers:
            if entry.id is not None:
                matches = peer.id == entry.id
            elif entry.node is not None and peer.id not in ours and not peer.handshake:
                hosts = {entry.node.host, addresses.get(entry.name)}
                matches = bool(peer.ip) and peer.ip in hosts and peer.port == entry.node.port
            else:
                matches = False
            if matches:
                found.setdefault(peer.id, {})[name] = peer
    return found


def _kept_and_retired(entry: Retire, name: str) -> Problem:
    return refusal(
        "retire-listed",
        f"{entry.name} under retire is the node {name}, which is listed under nodes.",
        name,
        hint="take it out of one of the two lists",
    )


def _not_gone(
    entry: Retire, node_id: str, lines: Mapping[str, Peer], why: Problem | None
) -> Iterator[Problem]:
    """Refuse a member that does not answer, for the reason `why`, and that not all others find failing."""
    doubtful = [name for name, line in lines.items() if not line.flags & _GONE]
    if doubtful and why is not None and why.code not in _UNREACHED:
        yield why
    elif doubtful:
        yield refusal(
            "retire-not-answering",
            f"{entry.name} is to leave and does not answer, but {shortened(doubtful)} "
            f"{agree('does', doubtful)} not find it failing: it may still be alive (id {node_id}).",
            doubtful[0],
            entry.name,
            "start it again; or stop it for good, wait until all nodes flag it 'fail', and run this again",
        )


def _lost(entry: Retire, node_id: str, lines: Mapping[str, Peer], views: Views) -> Iterator[Problem]:
    """Refuse to forget a node that is gone and still owns slots."""
    slots: Slots = union(line.slots for line in lines.values())
    if slots and all(line.flags & _GONE for line in lines.values()):
        replica = next((name for name, view in views.items() if view.me.primary == node_id), None)
        copies = (
            f"only {replica}, its replica, may have their keys"
            if replica
            else "no living node has their keys"
        )
        back = "start it again with its data"
        takeover = f"run CLUSTER FAILOVER TAKEOVER on {replica}, if it is not promoted by itself; or {back}"
        yield refusal(
            "slots-lost",
            f"{entry.name} (id {node_id}) is gone and still owns the slots {slots}: {copies}.",
            next(iter(lines)),
            entry.name,
            takeover if replica else back,
        )
