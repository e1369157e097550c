"""MEETs beyond the minimal plan, where gossip is slow or does not help. Pure.

Newcomers: at the default cluster-node-timeout, gossip takes up to 30 s to bring a newcomer and its role to
all nodes of a serving cluster. After a MEET both nodes exchange full headers at once.
Moved nodes: gossip brings a new address only to nodes that already take the node for failing
(cluster_legacy.c, clusterProcessGossipSection), after cluster-node-timeout. A MEET at the new address gives
both nodes the other's address, and ends at once in 'we already know this node'.
One-sided pairs: a node ignores gossip about a node that it was told to forget, for 60 s (CLUSTER FORGET;
clusterBlacklistExists), and all packets of an unknown node, but accepts a MEET from any node.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping

from clusterboot.core.addressing import meeting_point
from clusterboot.core.steps import Meet
from clusterboot.core.verdict import NodeHealth, Verdict
from clusterboot.core.views import Views
from clusterboot.topology import Node, Topology

# Extra MEETs that one node sends in a round, and so how many links are down at once.
MAX_MEETS_PER_ROUND = 16
# MEETs of a pair before its pause doubles, and how often it doubles at most.
_MEETS_BEFORE_DOUBLING, _MAX_DOUBLINGS = 4, 5


def newcomers(views: Views) -> frozenset[str]:
    """Return the nodes that join a serving cluster: they know no node, or fewer than the serving ones.

    A run that was cut off may have left them anywhere between the first MEET and the last link.
    """
    serving = [len(view.peers) for view in views.values() if view.state_ok and view.me.slots]
    if not serving:
        return frozenset()
    few = max(2, min(serving))
    return frozenset(name for name, view in views.items() if len(view.peers) < few and not view.me.slots)


def pause(seconds: float, count: int) -> float:
    """Return the seconds before the next extra MEET of a pair that had `count` of them; `seconds` at first.

    If a few MEETs did not help, the reason is not slow gossip, but for example a changed role: the link must
    not be cut twice a second without end.
    """
    return seconds * float(2 ** max(0, min(count - _MEETS_BEFORE_DOUBLING, _MAX_DOUBLINGS)))


def newcomer_meets(
    nodes: Mapping[str, Node],
    joining: Iterable[str],
    verdict: Verdict,
    views: Views,
    attaching: Mapping[str, str] | None = None,
    resting: Container[tuple[str, str]] = (),
) -> tuple[Meet, ...]:
    """Return the MEETs between the newcomers `joining` and the nodes of which one has the other wrong.

    Only the receiver learns from a MEET: the reply ends the handshake and is not read further
    (clusterProcessPacket). So a peer that only the newcomer has wrong is the sender, and a node that is not
    yet as planned sends no news of itself. `attaching` maps newcomers that have yet to become replicas to
    their primaries, which alone they meet: all other nodes would need the new role again. Pairs (sender,
    receiver) in `resting` are left out.
    """
    attaching = attaching or {}
    differing = {name for name, health in verdict.nodes.items() if name in health.stale}
    found: list[Meet] = []
    for name in joining:
        news = name not in differing
        behind = {
            peer: (name, peer)
            for peer, health in verdict.nodes.items()
            if peer != name and (name in health.unseen or (news and name in health.stale))
        }
        own = verdict.nodes.get(name, NodeHealth())
        for peer in (*own.unseen, *(peer for peer in own.stale if peer not in differing)):
            if peer != name:
                behind.setdefault(peer, (peer, name))
        pairs = [
            pair for peer, pair in behind.items() if pair not in resting and attaching.get(name, peer) == peer
        ]
        found += [
            Meet(sender, receiver, *meeting_point(nodes[receiver], views[receiver]))
            for sender, receiver in pairs[:MAX_MEETS_PER_ROUND]
        ]
    return tuple(found)


def moved_meets(nodes: Mapping[str, Node], views: Views) -> tuple[Meet, ...]:
    """Return a MEET for every pair of which neither is connected to the other and one has an old address."""
    names = {view.id: name for name, view in views.items()}
    points = {name: meeting_point(nodes[name], view) for name, view in views.items()}
    lost: set[tuple[str, str]] = set()
    stale: list[tuple[str, str]] = []
    for name, view in views.items():
        for peer in view.peers:
            other = None if peer.connected else names.get(peer.id)
            if other is not None:
                pair = name, other
                lost.add(pair)
                if (peer.ip, peer.port) != points[other][:2]:
                    stale.append(pair)
    meets: dict[tuple[str, str], Meet] = {}
    sent: Counter[str] = Counter()
    for name, other in stale:
        if (other, name) in lost and (other, name) not in meets and sent[name] < MAX_MEETS_PER_ROUND:
            meets[name, other] = Meet(name, other, *points[other])
            sent[name] += 1
    return tuple(meets.values())


def one_sided_meets(
    topology: Topology, views: Views, unlisted: Iterable[tuple[str, str]]
) -> tuple[Meet, ...]:
    """Return for every node that does not list another a MEET from one such other.

    In each pair of `unlisted` the first does not list the second, which sees the first. Gossip does the rest.
    """
    nodes = {node.name: node for node in topology.nodes}
    senders: dict[str, str] = {}
    for node, peer in unlisted:
        senders.setdefault(node, peer)
    return tuple(Meet(peer, node, *meeting_point(nodes[node], views[node])) for node, peer in senders.items())
