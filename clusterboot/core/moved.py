"""Nodes that know each other at addresses where nobody is any more, as after containers restarted. Pure.

The minimal plan connects such nodes again, but gossip brings a new address only to those who take the
node for failing already (cluster_legacy.c, clusterProcessGossipSection), which takes as long as
cluster-node-timeout. A MEET of such a pair at the new address ends at once in 'we already know this
node', and both have each other's address. These MEETs come on top of the minimal plan and are counted
apart, as those of newcomers.
"""

from __future__ import annotations

from collections.abc import Mapping

from clusterboot.core.plan import Meet, Views, meeting_point
from clusterboot.topology import Node

# So many extra MEETs one node sends in a round: each is a connection that it makes at once.
BATCH = 16


def moved(nodes: Mapping[str, Node], views: Views) -> tuple[Meet, ...]:
    """Return a MEET for every pair of which neither reaches the other, and one looks at an old address."""
    names = {view.id: name for name, view in views.items()}
    points = {name: meeting_point(nodes[name], view) for name, view in views.items()}
    lost: dict[str, set[str]] = {}
    stale: list[tuple[str, str]] = []
    for name, view in views.items():
        for peer in view.peers:
            other = None if peer.connected else names.get(peer.id)
            if other is not None:
                lost.setdefault(name, set()).add(other)
                if (peer.ip, peer.port) != points[other][:2]:
                    stale.append((name, other))
    pairs: dict[frozenset[str], tuple[str, str]] = {}
    sent: dict[str, int] = {}
    for name, other in stale:
        pair = frozenset((name, other))
        if name in lost.get(other, ()) and pair not in pairs and sent.get(name, 0) < BATCH:
            pairs[pair] = (name, other)
            sent[name] = sent.get(name, 0) + 1
    return tuple(Meet(name, other, *points[other]) for name, other in pairs.values())
