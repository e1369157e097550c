"""Hurrying newcomers into a serving cluster, with its timers untouched. Pure.

Gossip brings the news of a newcomer, and of its role, to everybody in the end: at the default
cluster-node-timeout that takes up to half a minute. A MEET from the newcomer to a peer that misses it
or has a stale view of it makes both exchange full headers at once, and costs only that one link for
about 100 ms. These MEETs come on top of the minimal plan and are counted apart.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping

from clusterboot.core.plan import Meet, Views, meeting_point
from clusterboot.core.verdict import NodeHealth, Verdict
from clusterboot.topology import Node

# So many extra MEETs one newcomer sends in a round: more links at once would all be down at once.
BATCH = 16
# So many of them a pair gets one after the other; then each pause is twice the last, up to 32 times.
OFTEN = 4


def newcomers(views: Views) -> frozenset[str]:
    """Return the nodes that join a cluster that serves: they know nobody, or fewer than whoever serves.

    A run that was cut off may have left them anywhere between the first MEET and the last link.
    """
    serving = [len(view.peers) for view in views.values() if view.state_ok and view.me.slots]
    if not serving:
        return frozenset()
    few = max(2, min(serving))
    return frozenset(name for name, view in views.items() if len(view.peers) < few and not view.me.slots)


def pause(seconds: float, count: int) -> float:
    """Return the pause before the next extra MEET of a pair that had `count` of them, `seconds` at first.

    Who is still not reached after a few has another reason than slow gossip, such as a role that changed
    meanwhile, and its link is not to be cut off twice a second for ever.
    """
    return seconds * float(2 ** max(0, min(count - OFTEN, 5)))


def hurry(
    nodes: Mapping[str, Node],
    joining: Iterable[str],
    verdict: Verdict,
    views: Views,
    attaching: Mapping[str, str] | None = None,
    resting: Container[tuple[str, str]] = (),
) -> tuple[Meet, ...]:
    """Return the MEETs that tell those about a newcomer who miss it or take it for something else.

    A MEET brings the news of its sender: its receiver learns by it, while the reply only ends the
    handshake and is not read on (clusterProcessPacket). So whom only the newcomer has wrong meets it.
    `attaching` are newcomers that have yet to become replicas, with their primaries: such a one meets its
    primary only, since whoever heard of it before would have to hear of its new role once more. Nor is
    there any news of a node that is not what was planned by its own words. Pairs of sender and receiver
    that are `resting` are left out.
    """
    attaching = attaching or {}
    found: list[Meet] = []
    for name in joining:
        news = not _other(name, verdict)
        behind = {
            peer: (name, peer)
            for peer, health in verdict.nodes.items()
            if peer != name and (name in health.unseen or (news and name in health.stale))
        }
        own = verdict.nodes.get(name, NodeHealth())
        for peer in (*own.unseen, *(peer for peer in own.stale if not _other(peer, verdict))):
            if peer != name:
                behind.setdefault(peer, (peer, name))
        pairs = [
            pair for peer, pair in behind.items() if pair not in resting and attaching.get(name, peer) == peer
        ]
        found += [
            Meet(sender, receiver, *meeting_point(nodes[receiver], views[receiver]))
            for sender, receiver in pairs[:BATCH]
        ]
    return tuple(found)


def _other(name: str, verdict: Verdict) -> bool:
    """Whether a node says of itself that it is something else than planned."""
    return name in verdict.nodes.get(name, NodeHealth()).stale
