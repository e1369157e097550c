"""Nodes that were told to forget another and refuse it, which looks like a firewall and is none. Pure.

CLUSTER FORGET bans an id for 60 s on the node that gets it: gossip about it is not listened to
(cluster_legacy.c, clusterBlacklistExists). A MEET brings it in all the same, but servers since Redis 7.2
and Valkey tell each other in every ping whom they were told to forget, and drop it again
(clusterProcessPingExtensions). So the ban shows in either of two ways: one node does not list another that
sees it, or it lists that node and drops it again; nothing else ever takes a known id off the list.
"""

from __future__ import annotations

from collections.abc import Sequence

from clusterboot.core.views import View
from clusterboot.diagnosis.blocked import Evidence
from clusterboot.diagnosis.bus import Reach
from clusterboot.errors import Exit, Problem
from clusterboot.wording import listed, shortened

# Where nodes tell each other whom they were told to forget: (Redis, Valkey).
_SPREADS = ("valkey", (7, 2))


def refused(reach: Reach, evidence: Evidence) -> dict[str, list[str]]:
    """Return the nodes that are refused, each with those who refuse it, in the order of the topology."""
    found: dict[str, list[str]] = {}
    pairs = [pair for pair in reach.unlisted() if _banned(reach, evidence, *pair)]
    for node, peer in (*pairs, *sorted(evidence.dropped)):
        if node not in found.setdefault(peer, []):
            found[peer].append(node)
    return {name: [n for n in reach.names if n in found[name]] for name in reach.names if name in found}


def _banned(reach: Reach, evidence: Evidence, node: str, peer: str) -> bool:
    """Whether `node` most likely has `peer` banned, which sees it and which it does not list."""
    if (node, peer) in evidence.closed or evidence.ports.get(reach.endpoint(peer), "open") != "open":
        return False
    gap = reach.gaps.get((node, peer))
    if gap is not None and gap.kind == "handshake":
        # A ban ends a handshake at once; one that is still there has another reason not to end.
        links = evidence.links.get(node)
        if links is None or gap.at in links:
            return False
    return node in evidence.forgot or (bool(evidence.forgot) and _spreads(reach.views[node]))


def _spreads(view: View) -> bool:
    kind, since = _SPREADS
    return view.kind == kind or view.version[:2] >= since


def tell(reach: Reach, evidence: Evidence, peer: str, nodes: Sequence[str]) -> Problem:
    """Say that `nodes` refuse `peer`, by what that is known, and what to do."""
    do, them = ("does", "it") if len(nodes) == 1 else ("do", "them")
    again = [node for node in nodes if (node, peer) in evidence.dropped]
    if again == list(nodes):
        lists, drops = ("lists", "drops") if len(again) == 1 else ("list", "drop")
        how = f"{shortened(nodes)} {lists} {peer} and {drops} it again (CLUSTER NODES)"
    else:
        how = f"{shortened(nodes)} {do} not list {peer}, which sees {them} (CLUSTER NODES of both)"
    end = reach.endpoint(peer)
    if evidence.ports.get(end) == "open":
        how += f"; from here its bus port {end} takes connections"
    # The count of FORGETs has no date: only who is dropped again is surely refused.
    news = "" if again else ", or gossip about it is still under way"
    told = list(nodes)
    if not evidence.forgot.issuperset(nodes):
        told = [name for name in reach.names if name in evidence.forgot]
    who = f"{shortened(told)} {'was' if len(told) == 1 else 'were'} told to forget a node (INFO commandstats)"
    return Problem(
        "forgotten",
        f"{how}; {who}: most likely {peer}, which is then refused for 60 s{news}.",
        node=nodes[0],
        peer=peer,
        hint="wait a minute and run 'clusterboot up' again: it goes on from here; if it still says this, let "
        f"TCP port {end.port} of {peer} through for {listed(nodes)}",
        exit=Exit.NOT_READY,
    )
