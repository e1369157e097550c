"""Nodes that refuse another after CLUSTER FORGET, which looks like a firewall. Pure.

CLUSTER FORGET bans an id for 60 s on the node that gets it: gossip about it is ignored (cluster_legacy.c,
clusterBlacklistExists). A MEET still brings it in, but Valkey and Redis since 7.2 send bans in every ping,
and receivers drop the node again (clusterProcessPingExtensions). So a banned node is either not listed
by a node that it sees, or listed and dropped again; nothing else ever removes a known id.
"""

from __future__ import annotations

from collections.abc import Sequence

from clusterboot.diagnosis.bus import BusView, Evidence
from clusterboot.errors import Problem, not_ready
from clusterboot.wording import agree, listed, shortened


def refused(bus: BusView, evidence: Evidence) -> dict[str, list[str]]:
    """Return the nodes that are refused, each with the nodes that refuse it, in the order of the topology."""
    found: dict[str, list[str]] = {}
    pairs = [pair for pair in bus.unlisted() if _banned(bus, evidence, *pair)]
    for node, peer in (*pairs, *sorted(evidence.dropped)):
        if node not in found.setdefault(peer, []):
            found[peer].append(node)
    return {name: [n for n in bus.names if n in found[name]] for name in bus.names if name in found}


def _banned(bus: BusView, evidence: Evidence, node: str, peer: str) -> bool:
    """Whether `node`, which does not list `peer`, most likely has it banned; `peer` sees `node`."""
    if (node, peer) in evidence.closed or evidence.ports.get(bus.endpoint(peer), "open") != "open":
        return False
    gap = bus.gaps.get((node, peer))
    if gap is not None and gap.kind == "handshake":
        # A ban ends a handshake at once; one that is still there has another reason not to end.
        links = evidence.links.get(node)
        if links is None or gap.at in links:
            return False
    view = bus.views[node]
    told_by_pings = view.kind == "valkey" or view.version[:2] >= (7, 2)
    return node in evidence.forgot or (told_by_pings and bool(evidence.forgot))


def forgotten(bus: BusView, evidence: Evidence, peer: str, nodes: Sequence[str]) -> Problem:
    """Return the problem that `nodes` refuse `peer`, with what shows it."""
    again = [node for node in nodes if (node, peer) in evidence.dropped]
    if again == list(nodes):
        lists, drops = agree("lists", nodes), agree("drops", nodes)
        how = f"{shortened(nodes)} {lists} {peer} and {drops} it again (CLUSTER NODES)"
    else:
        them = "it" if len(nodes) == 1 else "them"
        does = agree("does", nodes)
        how = f"{shortened(nodes)} {does} not list {peer}, which sees {them} (CLUSTER NODES of both)"
    end = bus.endpoint(peer)
    if evidence.ports.get(end) == "open":
        how += f"; from here its bus port {end} takes connections"
    # Counts of FORGET have no date: only a node that is dropped again is certainly refused.
    news = "" if again else ", or gossip about it is still under way"
    told = list(nodes)
    if not evidence.forgot.issuperset(nodes):
        told = [name for name in bus.names if name in evidence.forgot]
    cause = f"{shortened(told)} {agree('was', told)} told to forget a node (INFO commandstats)"
    return not_ready(
        "forgotten",
        f"{how}; {cause}: most likely {peer}, which is then refused for 60 s{news}.",
        node=nodes[0],
        peer=peer,
        hint="wait a minute and run 'clusterboot up' again: it goes on from here; if it still says this, let "
        f"TCP port {end.port} of {peer} through for {listed(nodes)}",
    )
