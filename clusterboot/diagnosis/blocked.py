"""Problems about gaps on the cluster bus: one for all gaps that have the same cause. Pure.

Each names the nodes, the address and bus port, what was observed and where, the most likely cause, and what
to do.
"""

from __future__ import annotations

from collections.abc import Sequence

from clusterboot.addresses import BUS_OFFSET, Endpoint
from clusterboot.diagnosis.bus import BusView, Evidence, Gap, Kind
from clusterboot.errors import Problem, not_ready
from clusterboot.wording import agree, count, listed, shortened

RUN_AGAIN = "then run the same command again: it goes on from here"
_ORDER: tuple[Kind, ...] = ("handshake", "fail", "fail?", "down", "one-sided", "met")


def unreached(bus: BusView, gaps: Sequence[Gap], evidence: Evidence) -> Problem:
    """Bus ports that the same nodes cannot reach."""
    peers, nodes, ends = _peers(gaps), _nodes(gaps), _ends(gaps)
    node = nodes[0] if len(nodes) == 1 else None
    if stuck(gaps, evidence):
        return not_ready(
            "handshake-stuck",
            f"{shortened(nodes)} and {shortened(peers)} never finish their handshake on the cluster bus, "
            f"{_places(ends)}: {observed(gaps, evidence)}: most likely something else answers there.",
            peers[0],
            node,
            f"check that {listed([str(end) for end in ends])} leads to {listed(peers)} itself and not to a "
            f"proxy, and look at the logs of both; {RUN_AGAIN}",
        )
    return not_ready(
        "bus-unreachable",
        f"{cannot_reach(bus, gaps)} {shortened(peers)} on "
        f"{'its bus port' if len(peers) == 1 else 'their bus ports'} {_places(ends)}{_odd(bus, gaps)}: "
        f"{observed(gaps, evidence)}{from_here(ends, evidence)}.",
        peers[0],
        node,
        f"let the other nodes through to TCP port {_ports(ends)} of {listed(peers)}; {RUN_AGAIN}",
    )


def each_other(first: Gap, second: Gap, evidence: Evidence) -> Problem:
    """Two nodes of which neither reaches the other."""
    ends = _ends([second, first])
    return not_ready(
        "bus-unreachable",
        f"{first.node} and {second.node} cannot reach each other on their bus ports {_places(ends)}: "
        f"{observed([first], evidence, it=first.peer)}, {observed([second], evidence, it=second.peer)}"
        f"{from_here(ends, evidence)}.",
        first.node,
        second.node,
        f"let TCP port {_ports(ends)} through between {first.node} and {second.node}, both ways; {RUN_AGAIN}",
    )


def cut_off(alone: Sequence[str], gaps: Sequence[Gap], evidence: Evidence) -> Problem:
    """Nodes that no other node reaches and that reach none; `gaps` are those towards them."""
    ends = _ends(gaps)
    names = shortened(alone)
    return not_ready(
        "bus-cut-off",
        f"{names} {agree('is', alone)} cut off from all other nodes on the cluster bus, in both directions: "
        f"{observed(gaps, evidence)}, and {names} {agree('sees', alone)} no other node"
        f"{from_here(ends, evidence)}.",
        alone[0],
        hint=f"let TCP port {_ports(ends)} through between {listed(alone)} and the other nodes, both ways; "
        f"{RUN_AGAIN}",
    )


def reaches_none(name: str, gaps: Sequence[Gap], evidence: Evidence) -> Problem:
    """A node that reaches no other, while others do."""
    ends = _ends(gaps)
    return not_ready(
        "bus-outgoing-blocked",
        f"{name} can reach no other node on the cluster bus, {_places(ends)}: {observed(gaps, evidence)}"
        f"{from_here(ends, evidence)}.",
        name,
        hint=f"allow {name} to connect to TCP port {_ports(ends)} of the other nodes; {RUN_AGAIN}",
    )


def split(groups: Sequence[Sequence[str]]) -> Problem:
    """Groups of nodes that see each other, with nothing between the groups."""
    parts = "; ".join(f"{shortened(group)} see each other" for group in groups)
    return not_ready(
        "bus-split",
        f"the nodes are split on the cluster bus: {parts}; nothing passes between them (CLUSTER NODES of "
        "all).",
        groups[0][0],
        groups[1][0],
        f"let the bus ports through between {groups[0][0]} and {groups[1][0]}, both ways; {RUN_AGAIN}",
    )


def many(gaps: Sequence[Gap]) -> Problem:
    """Too many gaps to name one by one."""
    pairs = [f"{gap.node} to {gap.peer} ({gap.at})" for gap in gaps]
    return not_ready(
        "bus-unreachable",
        f"{count(len(gaps), 'more connection')} between nodes {agree('is', gaps)} blocked on the cluster "
        f"bus: {shortened(pairs)}.",
        gaps[0].peer,
        gaps[0].node,
        f"let the bus ports through between all nodes, both ways; {RUN_AGAIN}",
    )


def tls_differs(gaps: Sequence[Gap], evidence: Evidence) -> Problem:
    """Nodes of which some speak TLS on the bus and some do not."""
    found = list(dict.fromkeys(name for gap in gaps for name in (gap.node, gap.peer)))
    with_tls = [name for name in found if evidence.tls[name]]
    without = [name for name in found if not evidence.tls[name]]
    return not_ready(
        "bus-tls-differs",
        f"{shortened(with_tls)} {agree('speaks', with_tls)} TLS on the cluster bus and {shortened(without)} "
        f"{agree('does', without)} not, so their handshake never completes (CONFIG GET tls-cluster of both).",
        with_tls[0],
        without[0],
        f"set tls-cluster alike on all nodes; {RUN_AGAIN}",
    )


def announced(bus: BusView, gaps: Sequence[Gap], evidence: Evidence) -> Problem:
    """A node that others try at an announced address where it does not answer, as with NAT."""
    name, (host, port) = gaps[0].peer, gaps[0].at
    view, node = bus.views[name], bus.nodes[name]
    # Without the usual likely cause: here the address is wrong.
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
        name,
        hint=f"set cluster-announce-ip (and -port, -bus-port) on {name} to what the other nodes can reach, "
        f"and 'announce' in the topology to the same; {RUN_AGAIN}",
    )


def at_former_address(bus: BusView, gap: Gap) -> bool:
    """Return whether a node is tried at a former address, and this run has sent no MEET to correct it.

    Without an announcement the others keep the last address at which they heard of it.
    """
    node, config = bus.nodes[gap.peer], bus.views[gap.peer].config
    known = gap.kind in ("down", "fail?", "fail") and not bus.met
    silent = config.get("cluster-announce-ip") == "" and config.get("cluster-announce-port") == "0"
    return known and silent and node.announce is None and gap.at != bus.endpoint(gap.peer)


def moved(bus: BusView, gaps: Sequence[Gap], evidence: Evidence) -> Problem:
    """Nodes that the others try at their former addresses."""
    names = _peers(gaps)
    before = _places(_ends(gaps))
    now = _places([Endpoint(bus.views[name].ip, bus.nodes[name].port) for name in names])
    it, stands = ("it", "it is") if len(names) == 1 else ("them", "they are")
    return not_ready(
        "node-moved",
        f"{shortened(names)} cannot be reached at {before}, which the other nodes still have for {it}: "
        f"{stands} at {now} now; {observed(gaps, evidence)}.",
        node=names[0],
        hint="run 'clusterboot up': it tells the nodes each other's new addresses",
    )


def cannot_reach(bus: BusView, gaps: Sequence[Gap]) -> str:
    """Return "no other node can reach" or "a and b cannot reach", without the peers of `gaps`."""
    nodes = _nodes(gaps)
    all_others = len(nodes) > 1 and len(nodes) == len(bus.names) - len(_peers(gaps))
    return "no other node can reach" if all_others else f"{shortened(nodes)} cannot reach"


def _odd(bus: BusView, gaps: Sequence[Gap]) -> str:
    """A remark on a bus port other than the default."""
    node = bus.nodes[gaps[0].peer]
    port = gaps[0].at[1]
    if len(_peers(gaps)) > 1 or node.bus_port is not None or node.announce or port == node.port + BUS_OFFSET:
        return ""
    return f" ({port} as it reports itself, not port + 10000)"


def stuck(gaps: Sequence[Gap], evidence: Evidence) -> bool:
    """Return whether connections stand and only the handshake does not end."""
    shaking = [gap for gap in gaps if gap.kind == "handshake"]
    return bool(shaking) and all(evidence.links.get(gap.node, {}).get(gap.at) is True for gap in shaking)


def observed(gaps: Sequence[Gap], evidence: Evidence, it: str = "") -> str:
    """Return the clearest sign of the gaps, and where it was seen."""
    kind = min((gap.kind for gap in gaps), key=_ORDER.index)
    its = [gap for gap in gaps if gap.kind == kind]
    nodes, peers = _nodes(its), _peers(its)
    names = shortened(nodes)
    it = it or ("it" if len(peers) == 1 else "them")
    if kind == "handshake":
        made = [evidence.links[gap.node].get(gap.at) for gap in its if gap.node in evidence.links]
        if made and not any(made):
            return f"{names} {agree('gets', nodes)} no connection to {it} (CLUSTER LINKS)"
        if made and all(made):
            return f"{names} {agree('gets', nodes)} a connection to {it} but no answer (CLUSTER LINKS)"
        return f"{names} {agree('has', nodes)} a handshake with {it} that does not end (CLUSTER NODES)"
    if kind == "down":
        return f"{names} {agree('has', nodes)} lost the link to {it} (CLUSTER NODES)"
    if kind == "one-sided":
        they = "they" if it == "them" else it
        return (
            f"{they} {agree('lists', peers)} {names}, but {names} {agree('does', nodes)} not list {it} "
            "(CLUSTER NODES of both)"
        )
    if kind == "met":
        was, does = agree("was", nodes), agree("does", nodes)
        return f"{names} {was} told to meet {it} and {does} not list {it} (CLUSTER NODES)"
    return f"{names} {agree('lists', nodes)} {it} as {kind} (CLUSTER NODES)"


def from_here(ends: Sequence[Endpoint], evidence: Evidence) -> str:
    """Return the outcome of a connection from this machine, and what that most likely means."""
    outcomes = {evidence.ports.get(end) for end in ends}
    outcome = outcomes.pop() if len(outcomes) == 1 else None
    it = agree("it", ends)
    match outcome:
        case "open":
            seen = f"{it} {agree('takes', ends)} connections"
            likely = "a firewall or a missing route between the nodes themselves"
        case "refused":
            seen = f"{it} {agree('refuses', ends)} connections too"
            likely = "nothing listens there, or a firewall rejects them"
        case "silent":
            seen, likely = f"{it} {agree('does', ends)} not answer either", "a firewall drops the packets"
        case "unreachable":
            seen, likely = f"there is no route to {it} either", "a wrong address or a missing route"
        case None:
            return ""
    return f"; from here {seen}: most likely {likely}"


def _places(ends: Sequence[Endpoint]) -> str:
    return shortened([str(end) for end in ends])


def _ports(ends: Sequence[Endpoint]) -> str:
    return listed(list(dict.fromkeys(str(port) for _, port in ends)))


def _nodes(gaps: Sequence[Gap]) -> list[str]:
    return list(dict.fromkeys(gap.node for gap in gaps))


def _peers(gaps: Sequence[Gap]) -> list[str]:
    return list(dict.fromkeys(gap.peer for gap in gaps))


def _ends(gaps: Sequence[Gap]) -> list[Endpoint]:
    return list(dict.fromkeys(gap.at for gap in gaps))
