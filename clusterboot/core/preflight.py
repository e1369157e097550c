"""Everything that forbids changing these nodes, found before the first change. Pure.

All checks run, so that a user sees all problems at once. None can be overridden.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter

from clusterboot.addresses import BUS_OFFSET, Endpoint, is_loopback_address
from clusterboot.core.addressing import contradictions, meeting_point
from clusterboot.core.placement import Placement
from clusterboot.core.replaced import forget_hint, ghost, likely_successor, same_address, successors
from clusterboot.core.steps import Meet
from clusterboot.core.versions import cannot_follow
from clusterboot.core.views import Peer, View, Views
from clusterboot.errors import Exit, Problem, refusal, warning
from clusterboot.slots import Slots
from clusterboot.topology import Topology
from clusterboot.wording import agree, listed, shortened


def refusals(topology: Topology, views: Views, away: Iterable[str] = ()) -> tuple[Problem, ...]:
    """Return every problem of the nodes themselves; `away` are ids of the topology's nodes without a view."""
    return (
        *_one_server_twice(views),
        *_one_id_twice(views),
        *_strangers(views, away),
        *_old(topology, views),
        *contradictions(topology, views),
    )


def warnings(views: Views) -> Iterator[Problem]:
    """Yield the warnings: mixed major versions, servers that hide INFO, slots that are being moved."""
    majors = {(view.kind, view.version.major): name for name, view in views.items() if view.version.major}
    if len(majors) > 1:
        found = ", ".join(f"{kind} {major} on {name}" for (kind, major), name in sorted(majors.items()))
        yield warning(
            "mixed-versions",
            f"the nodes run different major versions: {found}.",
            hint="a replica must not be older than its primary; finish the upgrade soon",
        )
    if hidden := [name for name, view in views.items() if view.hides_info]:
        yield warning(
            "info-refused",
            f"{shortened(hidden)} {agree('does', hidden)} not answer INFO: clusterboot cannot "
            "check the version and keys outside of database 0, nor tell one server that is listed twice from "
            "a copied nodes.conf.",
            hidden[0],
            hint="allow INFO to the user if possible",
        )
    # Replicas of Valkey also list the open slots of their primaries.
    if moving := [name for name, view in views.items() if view.me.moving and not view.me.replica]:
        yield warning(
            "slots-open",
            f"{shortened(moving)} {agree('has', moving)} slots that are being migrated or "
            f"imported: {shortened(_open_slots(views))}. They are being moved, or that was interrupted.",
            moving[0],
            hint="wait until it is done; 'clusterboot up --rebalance' finishes what an interrupted run left",
        )


def _open_slots(views: Views) -> list[str]:
    """Return the open slots as "12-14 from a to b", by the marks of both ends."""
    names = {view.id: name for name, view in views.items()}
    found: dict[tuple[str, str], set[int]] = defaultdict(set)
    for name, view in views.items():
        for slot, other in () if view.me.replica else view.me.migrating:
            found[name, names.get(other, other)].add(slot)
        for slot, other in () if view.me.replica else view.me.importing:
            found[names.get(other, other), name].add(slot)
    return [
        f"{Slots.of((slot, slot) for slot in slots)} from {source} to {target}"
        for (source, target), slots in found.items()
    ]


def _names_by(views: Views, key: Callable[[View], str]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = defaultdict(list)
    for name, view in views.items():
        names[key(view)].append(name)
    return names


def _one_server_twice(views: Views) -> Iterator[Problem]:
    """One process at two addresses: each start of a server has a new random run_id."""
    for run_id, names in _names_by(views, attrgetter("run_id")).items():
        if run_id and len(names) > 1:
            yield refusal(
                "same-server",
                f"{shortened(names)} are the same server: one process answers at all of these addresses.",
                names[0],
                names[1],
                "list every server once; behind a load balancer use the servers' own addresses",
            )


def _one_id_twice(views: Views) -> Iterator[Problem]:
    for node_id, names in _names_by(views, attrgetter("id")).items():
        # One name for each process, where it is known: `same-server` is about one process twice.
        processes = list({views[name].run_id or name: name for name in reversed(names)}.values())[::-1]
        if len(processes) > 1:
            yield refusal(
                "same-id",
                f"{shortened(processes)} have the same node id {node_id}, as after copying nodes.conf or a "
                "whole data folder.",
                processes[0],
                processes[1],
                f"run CLUSTER RESET HARD on {listed(processes[1:])}, or remove nodes.conf there and "
                "start again",
            )


def _strangers(views: Views, away: Iterable[str]) -> Iterator[Problem]:
    """Ids that nodes list and the topology does not have: MEET would bring them in."""
    ours = {*away, *(view.id for view in views.values())}
    # By the stranger's id, then by the node that lists it.
    lines: dict[str, dict[str, Peer]] = defaultdict(dict)
    for name, view in views.items():
        for peer in view.peers:
            if peer.id not in ours and not peer.handshake:
                lines[peer.id][name] = peer
    best = {id_: max(its.values(), key=lambda peer: (peer.seen, bool(peer.ip))) for id_, its in lines.items()}
    successor = successors(lines, views)
    # A node no longer exists where every line has no address for it, or has it as failed and without slots.
    dead = {
        id_
        for id_, its in lines.items()
        if all("noaddr" in p.flags or ("fail" in p.flags and not p.slots) for p in its.values())
    }
    # Where a node has the address and another id, the old node is gone as soon as no link is left.
    dead |= {id_ for id_ in successor if not any(line.connected for line in lines[id_].values())}
    guess = likely_successor([best[id_] for id_ in dead], views)
    alive: dict[tuple[str, ...], list[Peer]] = defaultdict(list)
    # Sorted, since the order in which a server lists nodes means nothing.
    for node_id, peer in sorted(best.items(), key=lambda item: (item[1].ip, item[1].port, item[0])):
        tellers = tuple(lines[node_id])
        if node_id in dead:
            yield ghost(peer, tellers, views, successor.get(node_id), guess)
        elif node_id in successor:
            yield same_address(peer, tellers, successor[node_id])
        else:
            alive[tellers].append(peer)
    for names, strangers in alive.items():
        known = shortened([f"{peer.address} (id {peer.id})" for peer in strangers])
        yield refusal(
            "stranger",
            f"{shortened(names)} {agree('knows', names)} {known}, which {agree('is', strangers)} not "
            "in the topology: it lists only a part of the cluster, or two clusters would be merged.",
            names[0],
            strangers[0].address if len(strangers) == 1 else None,
            "add what belongs to this cluster to 'nodes' in the topology, or what is to leave it to "
            "'retire'; or take these nodes out of the other "
            "one: CLUSTER RESET HARD on an empty node, 'redis-cli --cluster del-node' otherwise",
        )


def _old(topology: Topology, views: Views) -> Iterator[Problem]:
    """Nodes with another bus port than the default before Redis 4.0, where CLUSTER MEET takes none."""
    for node in topology.nodes:
        view = views.get(node.name)
        if view and node.bus_port and node.bus_port != node.port + BUS_OFFSET and 0 < view.version.major < 4:
            yield refusal(
                "bus-port-too-old",
                f"{node.name} runs {view.kind} {view.version}, which has no other bus port than port + "
                "10000.",
                node.name,
                hint="take bus_port out of the topology or upgrade the server to 4.0 or later",
            )


def no_way_in(target: Placement, views: Views) -> tuple[Problem, ...]:
    """Return what keeps replicas from their primaries: a missing masterauth, versions."""
    locked = (
        refusal(
            "masterauth-missing",
            f"{name} is to replicate {primary}, which asks for a password, and has no masterauth.",
            name,
            primary,
            "set masterauth (and masteruser, where not the default user) on every node",
        )
        for name, primary in target.primary_of.items()
        if views[primary].config.get("requirepass") == "set" and views[name].config.get("masterauth") == ""
    )
    return (*locked, *cannot_follow(target.primary_of, views))


def out_of_reach(topology: Topology, meets: Iterable[Meet], views: Views) -> tuple[Problem, ...]:
    """Return a problem for every node to be met at a loopback address though others have real ones.

    A node that hears of 127.0.0.1 by gossip takes it for its own host.
    """
    hosts = {node.name: meeting_point(node, views[node.name])[0] for node in topology.nodes}
    far = next((name for name, host in hosts.items() if not is_loopback_address(host)), None)
    if far is None:
        return ()
    return tuple(
        refusal(
            "loopback-among-others",
            f"{meet.peer} would be met at {meet.host}, which only its own host reaches; "
            f"{far} is at {hosts[far]}.",
            meet.peer,
            far,
            "list it by an address that all nodes reach, or give it cluster-announce-ip and 'announce'",
        )
        for meet in meets
        if is_loopback_address(meet.host)
    )


def during_run(
    ids: Mapping[str, str], views: Views, problems: Sequence[Problem], *, acted: bool
) -> tuple[Problem, ...]:
    """Return what forbids going on in the middle of a run.

    `ids` are the nodes' first ids: a node with another id is a new, empty one, and the others still list the
    old. `problems` is what preflight finds now. Once something was changed (`acted`) the exit status of a
    refusal, which says that nothing was, is replaced.
    """
    replaced = {name: view for name, view in views.items() if ids.get(name, view.id) != view.id}
    found = [
        Problem(
            "node-replaced",
            f"{name} was replaced during this run: {Endpoint(view.ip, view.me.port)} answers with another "
            f"node id now ({view.id}, before {ids[name]}).",
            node=name,
            hint=forget_hint(ids[name], [n for n in views if views[n].knows(ids[name])], views)
            + ": it takes the new node in",
            exit=Exit.NODE,
        )
        for name, view in replaced.items()
    ]
    follows = {"ghost", "stranger"} if replaced else set()
    rest = [problem for problem in problems if problem.code not in follows]
    return (*found, *(replace(problem, exit=Exit.NODE) if acted else problem for problem in rest))
