"""What is said about gaps on the cluster bus: one problem for all gaps that have one cause. Pure.

Each says who cannot reach whom at which address and bus port, what was observed and by what
(CLUSTER NODES of which side, CLUSTER LINKS, a probe from here), what it most likely is, and what to do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from clusterboot.addresses import BUS_OFFSET, Endpoint
from clusterboot.diagnosis.bus import Gap, Kind, Reach
from clusterboot.errors import Exit, Problem
from clusterboot.wording import listed, shortened

Outcome = Literal["open", "refused", "silent", "unreachable"]

NOBODY = "no other node"
AGAIN = "then run the same command again: it goes on from here"
_ORDER: tuple[Kind, ...] = ("handshake", "fail", "fail?", "down", "one-sided", "met")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was asked beyond the views; whatever could not be found out in time is not in it.

    `ports` is what a connection from here to a bus port came to. `links` tells by node and by the
    address that it connects to whether the connection stands (CLUSTER LINKS, since Redis 7). `closed`
    are pairs of which the first sees the second by now: their gap was a moment's. `tls` is whether a
    node's bus speaks TLS. `replication` has INFO replication of replicas that are out of sync and of their
    primaries, `denied` the kinds of refused logins that these primaries have counted, `sync_delay` their
    repl-diskless-sync-delay in seconds, `syncs` how many full syncs they were asked for meanwhile, `unsaved`
    those that cannot save their data. `forgot` are nodes that have carried out a CLUSTER FORGET (since
    Redis 7), `dropped` pairs of which the first listed the second by its id and does not any more.
    """

    ports: dict[Endpoint, Outcome] = field(default_factory=dict)
    links: dict[str, dict[Endpoint, bool]] = field(default_factory=dict)
    closed: set[tuple[str, str]] = field(default_factory=set)
    tls: dict[str, bool] = field(default_factory=dict)
    replication: dict[str, Mapping[str, str]] = field(default_factory=dict)
    denied: dict[str, tuple[str, ...]] = field(default_factory=dict)
    sync_delay: dict[str, int] = field(default_factory=dict)
    syncs: dict[str, int] = field(default_factory=dict)
    unsaved: set[str] = field(default_factory=set)
    forgot: set[str] = field(default_factory=set)
    dropped: set[tuple[str, str]] = field(default_factory=set)


def unreached(reach: Reach, gaps: Sequence[Gap], evidence: Evidence) -> Problem:
    """Bus ports that the same nodes do not get through to."""
    who, peers, nodes, ends = tellers(reach, gaps), _peers(gaps), _nodes(gaps), _ends(gaps)
    if stuck(gaps, evidence):
        return _problem(
            "handshake-stuck",
            f"{shortened(nodes)} and {shortened(peers)} never finish their handshake on the cluster bus, "
            f"{_places(ends)}: {observed(gaps, evidence)}: most likely something else answers there.",
            peers[0],
            nodes[0] if len(nodes) == 1 else None,
            f"check that {listed([str(end) for end in ends])} leads to {listed(peers)} itself and not to a "
            f"proxy, and look at the logs of both; {AGAIN}",
        )
    return _problem(
        "bus-unreachable",
        f"{who} {'can' if who == NOBODY else 'cannot'} reach {shortened(peers)} on "
        f"{'its bus port' if len(peers) == 1 else 'their bus ports'} {_places(ends)}{_odd(reach, gaps)}: "
        f"{observed(gaps, evidence)}{from_here(ends, evidence)}.",
        peers[0],
        nodes[0] if len(nodes) == 1 else None,
        f"let the other nodes through to TCP port {_ports(ends)} of {listed(peers)}; {AGAIN}",
    )


def each_other(first: Gap, second: Gap, evidence: Evidence) -> Problem:
    """Two nodes of which neither gets through to the other."""
    ends = _ends([second, first])
    return _problem(
        "bus-unreachable",
        f"{first.node} and {second.node} cannot reach each other on their bus ports {_places(ends)}: "
        f"{observed([first], evidence, it=first.peer)}, {observed([second], evidence, it=second.peer)}"
        f"{from_here(ends, evidence)}.",
        first.node,
        second.node,
        f"let TCP port {_ports(ends)} through between {first.node} and {second.node}, both ways; {AGAIN}",
    )


def cut_off(alone: Sequence[str], gaps: Sequence[Gap], evidence: Evidence) -> Problem:
    """Nodes that nobody reaches and that reach nobody; `gaps` are those towards them."""
    ends = _ends(gaps)
    who = shortened(alone)
    return _problem(
        "bus-cut-off",
        f"{who} {_s('is', alone)} cut off from all other nodes on the cluster bus, in both directions: "
        f"{observed(gaps, evidence)}, and {who} {_s('sees', alone)} nobody{from_here(ends, evidence)}.",
        alone[0],
        None,
        f"let TCP port {_ports(ends)} through between {listed(alone)} and the other nodes, both ways; "
        f"{AGAIN}",
    )


def reaches_nobody(name: str, gaps: Sequence[Gap], evidence: Evidence) -> Problem:
    """A node that gets through to nobody, while others do."""
    ends = _ends(gaps)
    return _problem(
        "bus-outgoing-blocked",
        f"{name} can reach no other node on the cluster bus, {_places(ends)}: {observed(gaps, evidence)}"
        f"{from_here(ends, evidence)}.",
        name,
        None,
        f"let connections from {name} to TCP port {_ports(ends)} of the other nodes through; {AGAIN}",
    )


def split(groups: Sequence[Sequence[str]]) -> Problem:
    """Groups of nodes that see each other, with nothing between the groups."""
    parts = "; ".join(f"{shortened(group)} see each other" for group in groups)
    return _problem(
        "bus-split",
        f"the nodes are split on the cluster bus: {parts}; nothing passes between them (CLUSTER NODES of "
        "all).",
        groups[0][0],
        groups[1][0],
        f"let the bus ports through between {groups[0][0]} and {groups[1][0]}, both ways; {AGAIN}",
    )


def many(gaps: Sequence[Gap]) -> Problem:
    """More gaps than anybody wants to read about one by one."""
    pairs = [f"{gap.node} to {gap.peer} ({gap.at})" for gap in gaps]
    return _problem(
        "bus-unreachable",
        f"{len(gaps)} more ways between nodes are blocked on the cluster bus: {shortened(pairs)}.",
        gaps[0].peer,
        gaps[0].node,
        f"let the bus ports through between all nodes, both ways; {AGAIN}",
    )


def tls_differs(gaps: Sequence[Gap], evidence: Evidence) -> Problem:
    """Nodes of which some speak TLS on the bus and some do not."""
    found = list(dict.fromkeys(name for gap in gaps for name in (gap.node, gap.peer)))
    with_tls = [name for name in found if evidence.tls[name]]
    without = [name for name in found if not evidence.tls[name]]
    return _problem(
        "bus-tls-differs",
        f"{shortened(with_tls)} {_s('speaks', with_tls)} TLS on the cluster bus and {shortened(without)} "
        f"{_s('does', without)} not, so their handshake never completes (CONFIG GET tls-cluster of both).",
        with_tls[0],
        without[0],
        f"set tls-cluster alike on all nodes; {AGAIN}",
    )


def tellers(reach: Reach, gaps: Sequence[Gap]) -> str:
    """Those who do not get through, in words."""
    nodes = _nodes(gaps)
    everybody = len(nodes) > 1 and len(nodes) == len(reach.names) - len(_peers(gaps))
    return NOBODY if everybody else shortened(nodes)


def _odd(reach: Reach, gaps: Sequence[Gap]) -> str:
    """A remark on a bus port that nobody would guess."""
    node = reach.nodes[gaps[0].peer]
    port = gaps[0].at[1]
    if len(_peers(gaps)) > 1 or node.bus_port is not None or node.announce or port == node.port + BUS_OFFSET:
        return ""
    return f" ({port} as it says itself, not port + 10000)"


def stuck(gaps: Sequence[Gap], evidence: Evidence) -> bool:
    """Whether connections stand and only the handshake does not end."""
    shaking = [gap for gap in gaps if gap.kind == "handshake"]
    return bool(shaking) and all(evidence.links.get(gap.node, {}).get(gap.at) is True for gap in shaking)


def observed(gaps: Sequence[Gap], evidence: Evidence, it: str = "") -> str:
    """What shows that they do not get through, and where it was seen; the most telling kind only."""
    kind = min((gap.kind for gap in gaps), key=_ORDER.index)
    its = [gap for gap in gaps if gap.kind == kind]
    nodes, peers = _nodes(its), _peers(its)
    who = shortened(nodes)
    it = it or ("it" if len(peers) == 1 else "them")
    if kind == "handshake":
        made = [evidence.links[gap.node].get(gap.at) for gap in its if gap.node in evidence.links]
        if made and not any(made):
            return f"{who} {_s('gets', nodes)} no connection to {it} (CLUSTER LINKS)"
        if made and all(made):
            return f"{who} {_s('gets', nodes)} a connection to {it} but no answer (CLUSTER LINKS)"
        return f"{who} {_s('has', nodes)} a handshake with {it} that does not end (CLUSTER NODES)"
    if kind == "down":
        return f"{who} {_s('has', nodes)} lost the link to {it} (CLUSTER NODES)"
    if kind == "one-sided":
        they = "they" if it == "them" else it
        return (
            f"{they} {_s('lists', peers)} {who}, but {who} {_s('does', nodes)} not list {it} "
            "(CLUSTER NODES of both)"
        )
    if kind == "met":
        was, does = _s("was", nodes), _s("does", nodes)
        return f"{who} {was} told to meet {it} and {does} not know {it} (CLUSTER NODES)"
    return f"{who} {_s('lists', nodes)} {it} as {kind} (CLUSTER NODES)"


def from_here(ends: Sequence[Endpoint], evidence: Evidence) -> str:
    """What a connection from this machine came to, and what that most likely means."""
    outcomes = {evidence.ports.get(end) for end in ends}
    if len(outcomes) != 1:
        return ""
    it = _s("it", ends)
    match outcomes.pop():
        case "open":
            likely = "a firewall or a missing route between the nodes themselves"
            return f"; from here {it} {_s('takes', ends)} connections: most likely {likely}"
        case "refused":
            likely = "nothing listens there, or a firewall rejects them"
            return f"; from here {it} {_s('refuses', ends)} connections too: most likely {likely}"
        case "silent":
            likely = "a firewall drops the packets"
            return f"; from here {it} {_s('does', ends)} not answer either: most likely {likely}"
        case "unreachable":
            likely = "a wrong address or a missing route"
            return f"; from here there is no way to {it} either: most likely {likely}"
    return ""


_PLURAL = {
    "is": "are",
    "has": "have",
    "was": "were",
    "does": "do",
    "it": "they",
    "gets": "get",
    "lists": "list",
    "speaks": "speak",
    "sees": "see",
    "takes": "take",
    "refuses": "refuse",
}


def _s(word: str, subjects: Sequence[object]) -> str:
    """The word as it is for one subject, or for several."""
    return word if len(subjects) == 1 else _PLURAL[word]


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


def _problem(code: str, message: str, node: str, peer: str | None, hint: str) -> Problem:
    return Problem(code, message, node=node, peer=peer, hint=hint, exit=Exit.NOT_READY)
