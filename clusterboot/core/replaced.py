"""Nodes that came back empty under another id, and the old ids that the others still list. Pure.

The others list the old id at its address until they connect and find another id there, some tenths of a
second, then without an address (`:0 noaddr`; cluster_legacy.c, clusterProcessPacket, 'PONG contains
mismatching sender ID'). Only CLUSTER FORGET removes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from clusterboot.addresses import is_loopback_address
from clusterboot.core.views import Peer, Views
from clusterboot.errors import Problem, refusal
from clusterboot.wording import agree, listed, shortened


def forget_hint(node_id: str, names: Sequence[str], views: Views) -> str:
    """Return how to remove the id of a node that no longer exists from the nodes `names`, as commands.

    A replica cannot forget its primary (Can't forget my master!), and may have the only copy of its data.
    """
    forget = (
        f"list {node_id} under 'retire' and run 'clusterboot up --rebalance'; or "
        f"run CLUSTER FORGET {node_id} on {listed(names)}, all within 60 seconds, then run this again"
    )
    for name in names:
        if views[name].me.primary == node_id:
            takeover = f"run CLUSTER FAILOVER TAKEOVER on {name}, which replicates it and may have its data"
            return f"{takeover}; then {forget}"
    return forget


def successors(lines: Mapping[str, Mapping[str, Peer]], views: Views) -> dict[str, str]:
    """Return, by the old id, the node that has its address now and another id.

    `lines` are, by id and by reporting node, the lines about ids outside the topology. A loopback address is
    on the reporting node's host, so it only counts where that is this host too.
    """
    addresses = {(view.me.ip or view.ip, view.me.port): name for name, view in views.items() if view.me.port}
    found: dict[str, str] = {}
    for node_id, its in lines.items():
        for teller, line in its.items():
            name = addresses.get((line.ip, line.port)) if line.ip else None
            here = not is_loopback_address(line.ip) or is_loopback_address(views[teller].ip)
            if name is not None and name != teller and here:
                found[node_id] = name
    return found


def likely_successor(ghosts: Sequence[Peer], views: Views) -> str | None:
    """Return the only node that knows no other, where there is one ghost and it has no address."""
    alone = [name for name, view in views.items() if len(view.peers) == 1 and not view.me.slots]
    return alone[0] if len(alone) == len(ghosts) == 1 and not ghosts[0].ip else None


def ghost(
    peer: Peer, names: Sequence[str], views: Views, successor: str | None, guess: str | None
) -> Problem:
    """Return the problem that `names` still list a node that no longer exists.

    `successor` is the node that has its address now, `guess` the one that maybe had its id.
    """
    where, why = peer.address if peer.ip else "at no known address", ""
    if successor:
        why = f"; {successor} has that address now, with another id"
    elif guess:
        why = f"; maybe the former id of {guess}, which is empty and knows no other node"
    return refusal(
        "ghost",
        f"{shortened(names)} still {agree('knows', names)} a node that is gone: {where} (id {peer.id}){why}.",
        names[0],
        successor or guess or (peer.address if peer.ip else None),
        forget_hint(peer.id, names, views),
    )


def same_address(stranger: Peer, names: Sequence[str], successor: str) -> Problem:
    """Return the problem that an id is listed as alive at the address of a node that has another id.

    Either the others' links are outdated, or another node has that address in their network.
    """
    return refusal(
        "stranger",
        f"{shortened(names)} {agree('knows', names)} {stranger.address} (id {stranger.id}), which is the "
        f"address of {successor}, but not its id: either {successor} has just lost its data, or another "
        "cluster uses this address in its own network and the clusters would be merged.",
        names[0],
        successor,
        "run this again in a few seconds; if it says the same then, give each cluster its own addresses",
    )
