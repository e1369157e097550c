"""Nodes that others try at a wrong address: one that is announced, or a former one. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from clusterboot.addresses import Endpoint
from clusterboot.diagnosis.blocked import AGAIN, Evidence, cannot_reach, from_here, observed
from clusterboot.diagnosis.bus import BusView, Gap
from clusterboot.errors import Problem, not_ready
from clusterboot.wording import shortened


def elsewhere(bus: BusView, gap: Gap) -> bool:
    """Return whether a node is tried at another address than the one at which it answered here."""
    return gap.at[0] != bus.views[gap.peer].ip


def announced(bus: BusView, gaps: Sequence[Gap], evidence: Evidence) -> Problem:
    """A node that others try at an address that it announces and that is not its own, as with NAT."""
    name, (host, port) = gaps[0].peer, gaps[0].at
    view, node = bus.views[name], bus.nodes[name]
    # Without the most likely cause: it does not answer there because the address is wrong.
    seen = f"{observed(gaps, evidence)}{from_here([gaps[0].at], evidence).partition(': most likely')[0]}"
    by = "that the others have for it"
    if node.announce and node.announce.host == host:
        by = "that the topology announces"
    elif view.config.get("cluster-announce-ip") != "":
        by = "that it announces"
    return not_ready(
        "announced-unreachable",
        f"{cannot_reach(bus, gaps)} {name} at {Endpoint(host, port)}, the address {by}; clusterboot reached "
        f"it at {Endpoint(view.ip, node.port)}: {seen}.",
        node=name,
        hint=f"set cluster-announce-ip (and -port, -bus-port) on {name} to what the other nodes can reach, "
        f"and 'announce' in the topology to the same; {AGAIN}",
    )


def left(bus: BusView, gap: Gap) -> bool:
    """Return whether a node is tried at its former address, and this run has sent no MEET to correct that.

    Without an announcement the others have the address at which they last heard of it.
    """
    node, config = bus.nodes[gap.peer], bus.views[gap.peer].config
    known = gap.kind in ("down", "fail?", "fail") and not bus.met
    silent = config.get("cluster-announce-ip") == "" and config.get("cluster-announce-port") == "0"
    return known and silent and node.announce is None and gap.at != bus.endpoint(gap.peer)


def moved(bus: BusView, gaps: Sequence[Gap], evidence: Evidence) -> Problem:
    """Nodes that the others try at their former addresses."""
    names = list(dict.fromkeys(gap.peer for gap in gaps))
    before = shortened([str(end) for end in dict.fromkeys(gap.at for gap in gaps)])
    now = shortened([str(Endpoint(bus.views[name].ip, bus.nodes[name].port)) for name in names])
    it, stands = ("it", "it is") if len(names) == 1 else ("them", "they are")
    return not_ready(
        "node-moved",
        f"{shortened(names)} cannot be reached at {before}, which the other nodes still have for {it}: "
        f"{stands} at {now} now; {observed(gaps, evidence)}.",
        node=names[0],
        hint="run 'clusterboot up': it tells the nodes each other's new addresses",
    )
