"""Knowledge on one side only that gossip does not mend: a MEET for every node that misses another. Pure.

A node ignores gossip about whom it was told to forget, for 60 s (CLUSTER FORGET; clusterBlacklistExists
in cluster_legacy.c), and a packet of a node that it does not know altogether. A MEET it takes from
anybody. Where everybody is connected by way of others the minimal plan has no MEET for such a pair, so
these are sent when a run stands still, and count as repairs.
"""

from __future__ import annotations

from clusterboot.core.plan import Meet, Views, meeting_point
from clusterboot.diagnosis.bus import Reach
from clusterboot.topology import Topology


def onesided(topology: Topology, views: Views) -> tuple[Meet, ...]:
    """Return for every node that does not list another, which sees it, a MEET from one such other.

    One is enough for each: with it comes the gossip about the rest.
    """
    reach = Reach(topology, views)
    senders: dict[str, str] = {}
    for node, peer in reach.unlisted():
        senders.setdefault(node, peer)
    return tuple(
        Meet(peer, node, *meeting_point(reach.nodes[node], views[node])) for node, peer in senders.items()
    )
