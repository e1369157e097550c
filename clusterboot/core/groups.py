"""Groups of nodes that know each other. Pure.

Nodes are bits of masks here: N sets of N names would take more memory than everything else together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from clusterboot.core.views import Views


def group(views: Views, *, connected: bool = True) -> list[list[str]]:
    """Return the groups of nodes that know each other, in the order of `views`, members likewise.

    Two nodes are in one group when each lists the other's id: packets of unknown nodes are ignored
    (cluster_legacy.c, clusterProcessPacket). Handshakes have random ids, so they never count. `connected`
    also requires a link one way: nodes that all restarted at new addresses need a MEET.
    """
    bit = {view.id: 1 << index for index, view in enumerate(views.values())}
    lists, linked = [], []
    for view in views.values():
        mask = broken = 0
        for peer in view.peers:
            mask |= bit.get(peer.id, 0)
            if not peer.connected:
                broken |= bit.get(peer.id, 0)
        lists.append(mask)
        linked.append(mask & ~broken)
    names = list(views)
    return [list(members(mask, names)) for mask in mutual(lists, linked if connected else lists)]


def mutual(lists: Sequence[int], linked: Sequence[int]) -> list[int]:
    """Return the groups of nodes that list each other, each as a mask, by lowest member.

    Mask i has the nodes that node i lists, or to which it is `linked`; of a pair one link is enough.
    """
    left = (1 << len(lists)) - 1
    groups: list[int] = []
    while left:
        group = edge = left & -left
        left &= ~edge
        while edge:
            mine = edge & -edge
            edge &= ~mine
            index = mine.bit_length() - 1
            found = 0
            candidates = lists[index] & left
            while candidates:
                other = candidates & -candidates
                candidates &= ~other
                number = other.bit_length() - 1
                if lists[number] & mine and (linked[index] & other or linked[number] & mine):
                    found |= other
            left &= ~found
            edge |= found
            group |= found
        groups.append(group)
    return groups


def members(mask: int, names: Sequence[str]) -> Iterator[str]:
    """Yield the names of the nodes whose bits are in `mask`."""
    while mask:
        lowest = mask & -mask
        mask &= ~lowest
        yield names[lowest.bit_length() - 1]
