"""Nodes that others look for where they are not: announced there, or there before. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from clusterboot.addresses import Endpoint
from clusterboot.diagnosis.blocked import AGAIN, NOBODY, Evidence, from_here, observed, tellers
from clusterboot.diagnosis.bus import Gap, Reach
from clusterboot.errors import Exit, Problem
from clusterboot.wording import shortened


def elsewhere(reach: Reach, gap: Gap) -> bool:
    """Whether a node is tried at another address than the one at which it answered here."""
    return gap.at[0] != reach.views[gap.peer].ip


def announced(reach: Reach, gaps: Sequence[Gap], evidence: Evidence) -> Problem:
    """A node that others look for at an address that it announces and that is not its own, as with NAT."""
    name, (host, port) = gaps[0].peer, gaps[0].at
    view, node = reach.views[name], reach.nodes[name]
    who = tellers(reach, gaps)
    # Why it does not answer there is known: it is the wrong place.
    seen = f"{observed(gaps, evidence)}{from_here([gaps[0].at], evidence).partition(': most likely')[0]}"
    by = "that the others have for it"
    if node.announce and node.announce.host == host:
        by = "that the topology announces"
    elif view.config.get("cluster-announce-ip") != "":
        by = "that it announces"
    return Problem(
        "announced-unreachable",
        f"{who} {'can' if who == NOBODY else 'cannot'} reach {name} at {Endpoint(host, port)}, the address "
        f"{by}; clusterboot reached it at {Endpoint(view.ip, node.port)}: {seen}.",
        node=name,
        hint=f"set cluster-announce-ip (and -port, -bus-port) on {name} to what the other nodes can reach, "
        f"and 'announce' in the topology to the same; {AGAIN}",
        exit=Exit.NOT_READY,
    )


def left(reach: Reach, gap: Gap) -> bool:
    """Whether a node is looked for where it was before, and this run has not told the others better.

    Without an announcement the others have the address at which they last heard of it.
    """
    node, config = reach.nodes[gap.peer], reach.views[gap.peer].config
    known = gap.kind in ("down", "fail?", "fail") and not reach.met
    silent = config.get("cluster-announce-ip") == "" and config.get("cluster-announce-port") == "0"
    return known and silent and node.announce is None and gap.at != reach.endpoint(gap.peer)


def moved(reach: Reach, gaps: Sequence[Gap], evidence: Evidence) -> Problem:
    """Nodes that the others look for at addresses where they were before."""
    names = list(dict.fromkeys(gap.peer for gap in gaps))
    before = shortened([str(end) for end in dict.fromkeys(gap.at for gap in gaps)])
    now = shortened([str(Endpoint(reach.views[name].ip, reach.nodes[name].port)) for name in names])
    it, stands = ("it", "it is") if len(names) == 1 else ("them", "they are")
    return Problem(
        "node-moved",
        f"{shortened(names)} cannot be reached at {before}, which the other nodes still have for {it}: "
        f"{stands} at {now} now; {observed(gaps, evidence)}.",
        node=names[0],
        hint="run 'clusterboot up': it tells the nodes each other's new addresses",
        exit=Exit.NOT_READY,
    )
