"""Nodes that came back empty under another id, and the old ids that the others still list. Pure.

A node that lost its disk gets a new id. The others keep the old one: at its old address until they have
connected to it and found another id there, which takes them some tenths of a second, and from then on without
an address (`:0 noaddr`; cluster_legacy.c, clusterProcessPacket, 'PONG contains mismatching sender ID').
Only CLUSTER FORGET takes it off their lists.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from clusterboot.addresses import is_loopback_address
from clusterboot.core.plan import Views
from clusterboot.core.views import Peer
from clusterboot.errors import Exit, Problem
from clusterboot.wording import listed, shortened


def way_out(node_id: str, names: Sequence[str], views: Views) -> str:
    """Return what to do about an id that `names` list and that is gone for good, as commands.

    A replica cannot forget its primary (Can't forget my master!), and may have all that is left of it.
    """
    replicas = [name for name in names if views[name].me.primary == node_id]
    first = (
        f"run CLUSTER FAILOVER TAKEOVER on {replicas[0]}, which replicates it and may have its data; then "
        if replicas
        else ""
    )
    return f"{first}run CLUSTER FORGET {node_id} on {listed(names)}, all within 60 seconds, then this again"


def successors(
    lines: Mapping[str, Sequence[Peer]], tellers: Mapping[str, Sequence[str]], views: Views
) -> dict[str, str]:
    """Return, by the old id, the node that has its address now and another id.

    `lines` are what the nodes `tellers` say of each id that no node of the topology has. Whose address is
    a loopback one is a node of the teller's own host: that counts only where the teller is on this host as
    well.
    """
    addresses = {(view.me.ip or view.ip, view.me.port): name for name, view in views.items() if view.me.port}
    found: dict[str, str] = {}
    for node_id, its in lines.items():
        for line, teller in zip(its, tellers[node_id], strict=True):
            name = addresses.get((line.ip, line.port)) if line.ip else None
            here = not is_loopback_address(line.ip) or is_loopback_address(views[teller].ip)
            if name is not None and name != teller and here:
                found[node_id] = name
    return found


def likely(ghosts: Sequence[Peer], views: Views) -> str | None:
    """Return the one node that knows nobody, where there is one ghost and the ghost has no address."""
    alone = [name for name, view in views.items() if len(view.peers) == 1 and not view.me.slots]
    return alone[0] if len(alone) == len(ghosts) == 1 and not ghosts[0].ip else None


def gone(
    ghost: Peer, names: Sequence[str], views: Views, successor: str | None, guess: str | None
) -> Problem:
    """Return that `names` still list a node that is gone.

    `successor` is the node that has its address now, `guess` the one that maybe had its id.
    """
    where = ghost.address if ghost.ip else "an address nobody knows"
    why = f"; {successor} has that address now, with another id" if successor else ""
    if guess and not successor:
        why = f"; maybe the former id of {guess}, which is empty and knows nobody"
    who = successor or guess
    return Problem(
        "ghost",
        f"{shortened(names)} still {'knows' if len(names) == 1 else 'know'} a node that is gone: {where} "
        f"(id {ghost.id}){why}.",
        node=names[0],
        peer=who or (ghost.address if ghost.ip else None),
        hint=way_out(ghost.id, names, views),
        exit=Exit.REFUSED,
    )


def doubtful(stranger: Peer, names: Sequence[str], successor: str) -> Problem:
    """Return that an id is listed as alive at the address of a node that has another id.

    Either the links of the others are a moment old, or in their network another node has that address.
    """
    return Problem(
        "stranger",
        f"{shortened(names)} {'knows' if len(names) == 1 else 'know'} {stranger.address} (id {stranger.id}), "
        f"which is the address of {successor}, but not its id: {successor} has just lost its data, or "
        "another cluster has this address in a network of its own and the clusters would be merged.",
        node=names[0],
        peer=successor,
        hint="run this again in a few seconds; if it says the same then, give each cluster its own addresses",
        exit=Exit.REFUSED,
    )
