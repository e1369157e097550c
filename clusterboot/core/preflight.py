"""What must not be: everything that forbids changing these nodes, found before the first change. Pure.

Each check returns problems; `refusals` runs all of them, so that everything that is wrong is told at
once. Nothing can be overridden: each problem's hint names the way out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from clusterboot.addresses import BUS_OFFSET
from clusterboot.core.announced import contradictions
from clusterboot.core.mixed import cannot_follow
from clusterboot.core.placement import Placement
from clusterboot.core.plan import Views
from clusterboot.core.replaced import doubtful, gone, likely, successors
from clusterboot.core.views import Peer
from clusterboot.errors import Exit, Problem
from clusterboot.topology import Topology
from clusterboot.wording import listed, shortened


def refusals(topology: Topology, views: Views, away: Iterable[str] = ()) -> tuple[Problem, ...]:
    """Return every problem of the nodes themselves, whatever the plan; empty when there is none.

    `away` are the ids of nodes of the topology that gave no view: they are no strangers.
    """
    return (
        *_one_server_twice(views),
        *_one_id_twice(views),
        *_strangers(views, away),
        *_old(topology, views),
        *contradictions(topology, views),
    )


def warnings(views: Views) -> tuple[Problem, ...]:
    """Return what is only unfortunate: mixed major versions, servers that hide INFO, slots on their way."""
    return (*_mixed(views), *_hidden(views), *_open(views))


def _mixed(views: Views) -> Iterable[Problem]:
    majors = {(view.kind, view.version.major): name for name, view in views.items() if view.version.major}
    if len(majors) > 1:
        found = ", ".join(f"{kind} {major} on {name}" for (kind, major), name in sorted(majors.items()))
        yield Problem(
            "mixed-versions",
            f"the nodes run different major versions: {found}.",
            hint="a replica must not be older than its primary; finish the upgrade soon",
            exit=Exit.DONE,
        )


def _hidden(views: Views) -> Iterable[Problem]:
    names = [name for name, view in views.items() if view.hides_info]
    if names:
        yield Problem(
            "info-refused",
            f"{shortened(names)} {'does' if len(names) == 1 else 'do'} not answer INFO: nobody can tell the "
            "version, keys outside of database 0, or one server listed twice from a copied nodes.conf.",
            node=names[0],
            hint="allow INFO to the user if it can be",
            exit=Exit.DONE,
        )


def _open(views: Views) -> Iterable[Problem]:
    # Replicas of Valkey tell of what their primary has open as well.
    names = [name for name, view in views.items() if view.me.moving and not view.me.replica]
    if names:
        yield Problem(
            "slots-open",
            f"{shortened(names)} {'has' if len(names) == 1 else 'have'} slots that are being migrated or "
            "imported: a reshard is under way or was cut off.",
            node=names[0],
            hint="wait until it is done, or run redis-cli --cluster fix",
            exit=Exit.DONE,
        )


def _one_server_twice(views: Views) -> Iterable[Problem]:
    """One process answers under two addresses: run_id is random for each start of a server."""
    by_run: dict[str, list[str]] = defaultdict(list)
    for name, view in views.items():
        if view.run_id:
            by_run[view.run_id].append(name)
    for names in by_run.values():
        if len(names) > 1:
            yield Problem(
                "same-server",
                f"{shortened(names)} are the same server: one process answers at all of these addresses.",
                node=names[0],
                peer=names[1],
                hint="list every server once; behind a load balancer use the servers' own addresses",
                exit=Exit.REFUSED,
            )


def _one_id_twice(views: Views) -> Iterable[Problem]:
    """Two processes with one node id: a copied nodes.conf or data folder."""
    by_id: dict[str, list[str]] = defaultdict(list)
    for name, view in views.items():
        by_id[view.id].append(name)
    for node_id, names in by_id.items():
        # One name for each process, where it is known: one process twice is told of as such.
        processes = list({views[name].run_id or name: name for name in reversed(names)}.values())[::-1]
        if len(processes) > 1:
            yield Problem(
                "same-id",
                f"{shortened(processes)} have the same node id {node_id}, as after copying nodes.conf or a "
                "whole data folder.",
                node=processes[0],
                peer=processes[1],
                hint=f"run CLUSTER RESET HARD on {listed(processes[1:])}, or remove nodes.conf there and "
                "start again",
                exit=Exit.REFUSED,
            )


def _strangers(views: Views, away: Iterable[str]) -> Iterable[Problem]:
    """Ids that nodes list and the topology does not have: MEET would bring them in as well."""
    ours = {*away, *(view.id for view in views.values())}
    tellers: dict[str, list[str]] = defaultdict(list)
    seen: dict[str, list[Peer]] = defaultdict(list)
    for name, view in views.items():
        for peer in view.peers:
            if peer.id not in ours and not peer.handshake:
                tellers[peer.id].append(name)
                seen[peer.id].append(peer)
    best = {id_: max(lines, key=lambda peer: (peer.seen, bool(peer.ip))) for id_, lines in seen.items()}
    successor = successors(seen, tellers, views)
    dead = {id_ for id_, lines in seen.items() if all(map(_ghost, lines))}
    # Where a node has the address and another id, nobody is there as soon as no link is left.
    dead |= {id_ for id_ in successor if not any(line.connected for line in seen[id_])}
    guess = likely([best[id_] for id_ in dead], views)
    alive: dict[tuple[str, ...], list[Peer]] = defaultdict(list)
    # By address: every server lists nodes in an order of its own.
    for node_id, peer in sorted(best.items(), key=lambda item: (item[1].ip, item[1].port, item[0])):
        if node_id in dead:
            yield gone(peer, tellers[node_id], views, successor.get(node_id), guess)
        elif node_id in successor:
            yield doubtful(peer, tellers[node_id], successor[node_id])
        else:
            alive[*tellers[node_id]].append(peer)
    for names, strangers in alive.items():
        one = len(strangers) == 1
        known = shortened([f"{peer.address} (id {peer.id})" for peer in strangers])
        yield Problem(
            "stranger",
            f"{shortened(names)} {_know(names)} {known}, which {'is' if one else 'are'} not in the topology: "
            "the clusters would be merged.",
            node=names[0],
            peer=strangers[0].address if one else None,
            hint="add what belongs there to the topology, or take these nodes out of the other cluster: "
            "CLUSTER RESET HARD on an empty node, redis-cli --cluster del-node otherwise",
            exit=Exit.REFUSED,
        )


def _ghost(peer: Peer) -> bool:
    """Gone for good as far as one node can tell: no address, or failed and without slots."""
    return "noaddr" in peer.flags or ("fail" in peer.flags and not peer.slots)


def _old(topology: Topology, views: Views) -> Iterable[Problem]:
    """CLUSTER MEET takes a bus port since Redis 4.0."""
    for node in topology.nodes:
        view = views.get(node.name)
        if view and node.bus_port and node.bus_port != node.port + BUS_OFFSET and 0 < view.version.major < 4:
            yield Problem(
                "bus-port-too-old",
                f"{node.name} runs {view.kind} {view.version}, which knows no other bus port than port + "
                "10000.",
                node=node.name,
                hint="take bus_port out of the topology or upgrade the server to 4.0 or later",
                exit=Exit.REFUSED,
            )


def no_way_in(target: Placement, views: Views) -> tuple[Problem, ...]:
    """Return what keeps replicas from their primaries: no password for one that asks for it, versions."""
    locked = (
        Problem(
            "masterauth-missing",
            f"{name} is to replicate {spot.primary}, which asks for a password, and has no masterauth.",
            node=name,
            peer=spot.primary,
            hint="set masterauth (and masteruser, where not the default user) on every node",
            exit=Exit.REFUSED,
        )
        for name, spot in target.spots.items()
        if spot.primary is not None
        and views[spot.primary].config.get("requirepass") == "set"
        and views[name].config.get("masterauth") == ""
    )
    return (*locked, *cannot_follow(target, views))


def _know(names: Sequence[str]) -> str:
    return "knows" if len(names) == 1 else "know"
