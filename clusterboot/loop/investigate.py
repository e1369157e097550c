"""What a run that is stuck asks once more before it says why: quickly, and changing nothing.

CLUSTER LINKS of the nodes in question tells whether a connection to a bus port was ever made; a TCP
connection from here to that port, closed at once, tells what this machine makes of it; tls-cluster
tells whether a node speaks TLS on its bus; errorstats of a primary tells whether it turned replicas away,
its INFO replication what they wait for; commandstats whether a node was told to forget another one. All of
it at the same time and within a second; what is not there by then is left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from clusterboot.addresses import BUS_OFFSET, Endpoint
from clusterboot.core.verdict import NodeHealth, Verdict
from clusterboot.core.views import Views, number, parse_fields, parse_nodes
from clusterboot.diagnosis.blocked import Evidence
from clusterboot.diagnosis.bus import BusView
from clusterboot.diagnosis.diagnose import diagnose
from clusterboot.errors import Exit, NodeFailed, Problem
from clusterboot.loop.observe import CLUSTER_INFO, CLUSTER_NODES, PERSISTENCE, REPLICATION, Asker
from clusterboot.topology import Topology
from clusterboot.wire.replies import Rejected, Reply, explain, loading, stopped
from clusterboot.wire.resolve import is_numeric, probe

SECONDS = 1.0
# So many ports are tried and so many nodes asked: a cluster that lost its network has one cause.
MOST = 32
_ASKED = 500
# A link is made within two ticks of the servers' own 100 ms cron, a handshake within three.
_MOMENT = 0.15
# So many more looks at who lists whom, spread over nearly all of the time: whom a node was told to forget
# comes and goes about once a second.
_LOOKS, _PAUSE = 4, 0.29


async def why(
    fleet: Asker,
    topology: Topology,
    views: Views,
    verdict: Verdict,
    met: Iterable[tuple[str, str]] = (),
    *,
    seconds: float = SECONDS,
    fresh: bool = True,
) -> tuple[Problem, ...]:
    """Return every reason why the cluster is not Ready, the causes first; takes `seconds` at most.

    `met` are the pairs for which a MEET was accepted in this run. Without `fresh` the views may be older
    than the silence of a node: the deadline came while an answer was waited for. Changes nothing and
    never raises.
    """
    end = asyncio.get_running_loop().time() + seconds
    away = {reason.node for reason in verdict.reasons if reason.exit is Exit.NODE}
    if not fresh:
        gone = await silent(fleet, [name for name in views if name not in away], seconds / 2)
        verdict = replace(verdict, reasons=(*gone, *verdict.reasons))
        away |= {problem.node for problem in gone}
    here = {name: view for name, view in views.items() if name not in away}
    bus = BusView(topology, here, met)
    unsynced = [each.node for each in verdict.reasons if each.code == "replica-out-of-sync" and each.node]
    doubts = [name for name in here if _doubts(verdict.nodes.get(name))]
    # All others as well: servers hand on to each other whom they were told to forget.
    doubtful = list(dict.fromkeys((*doubts, *here))) if doubts else []
    left = max(0.1, end - asyncio.get_running_loop().time())
    return diagnose(bus, verdict, await collect(fleet, bus, unsynced, doubtful, left))


def _doubts(health: NodeHealth | None) -> bool:
    return health is not None and bool(health.unseen or health.stale or health.handshakes)


async def silent(fleet: Asker, names: Iterable[str], seconds: float) -> list[Problem]:
    """Return those who do not answer any more or are loading, of so many as can be asked in the time."""

    async def one(name: str) -> Problem | None:
        try:
            async with asyncio.timeout(seconds):
                told, state = await fleet.ask(name, PERSISTENCE, CLUSTER_INFO)
        except NodeFailed as failed:
            return failed.problems[0]
        except TimeoutError:
            return stopped(name)
        if isinstance(told, str) and parse_fields(told).get("loading") == "1":
            return loading(name)
        return explain(state, name, CLUSTER_INFO) if isinstance(state, Rejected) else None

    found = await asyncio.gather(*(one(name) for name in [*names][:_ASKED]))
    return [problem for problem in found if problem is not None]


async def collect(
    fleet: Asker, bus: BusView, unsynced: Iterable[str], doubtful: Iterable[str], seconds: float = SECONDS
) -> Evidence:
    """Return what is found within `seconds`; never raises.

    Looked into are the gaps of `bus`, the replicas `unsynced`, and whether one of the nodes `doubtful`
    was told to forget somebody.
    """
    evidence = Evidence()
    views, gaps = bus.views, tuple(bus.gaps.values())
    tried = [gap.at for gap in gaps] + [bus.endpoint(peer) for _, peer in bus.unlisted()]
    ends = list(dict.fromkeys(end for end in tried if is_numeric(end.host)))[:MOST]
    asked = list(dict.fromkeys(name for gap in gaps for name in (gap.node, gap.peer)))[:MOST]
    by_id = {view.id: name for name, view in views.items()}
    replicas = [name for name in unsynced if name in views][:MOST]
    primaries = dict.fromkeys(by_id.get(views[name].me.primary or "") for name in replicas)
    work: list[Awaitable[None]] = [
        *(_probe(end, seconds, evidence) for end in ends),
        *(_settled(fleet, name, bus, seconds, evidence) for name in asked),
        *(_replication(fleet, name, evidence) for name in replicas),
        *(_primary(fleet, name, seconds, evidence) for name in primaries if name is not None),
        _memory(fleet, list(doubtful)[:MOST], views, seconds, evidence),
    ]
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await asyncio.gather(*work)
    return evidence


async def _probe(end: Endpoint, seconds: float, evidence: Evidence) -> None:
    evidence.ports[end] = await probe(*end, seconds * 0.8)


async def _settled(fleet: Asker, name: str, bus: BusView, seconds: float, evidence: Evidence) -> None:
    """Look at a node until all its gaps are closed or have lasted: a link that is being made is no fault."""
    end = asyncio.get_running_loop().time() + seconds * 0.8
    gaps = [gap for gap in bus.gaps.values() if gap.node == name]
    while True:
        await _links(fleet, name, bus.views, evidence)
        # What refuses us or does not answer us will not let the other nodes in a moment later.
        left = [gap for gap in gaps if evidence.ports.get(gap.at, "open") == "open"]
        if all((gap.node, gap.peer) in evidence.closed for gap in left):
            return
        await asyncio.sleep(_MOMENT)
        if asyncio.get_running_loop().time() > end:
            return


async def _links(fleet: Asker, name: str, views: Views, evidence: Evidence) -> None:
    with suppress(NodeFailed, ValueError):
        replies = await fleet.ask(name, CLUSTER_NODES, ("CLUSTER", "LINKS"), ("CONFIG", "GET", "tls-cluster"))
        tls = replies[2]
        # A server that was built without TLS has no such setting and answers with nothing.
        if isinstance(tls, list):
            evidence.tls[name] = len(tls) == 2 and tls[1] == "yes"
        lines = parse_nodes(replies[0] if isinstance(replies[0], str) else "")
        names = {view.id: other for other, view in views.items()}
        evidence.closed.update((name, names[line.id]) for line in lines if line.seen and line.id in names)
        links = replies[1]
        if not isinstance(links, list):
            return
        where = {
            line.id: Endpoint(line.ip, line.bus_port or line.port + BUS_OFFSET)
            for line in lines
            if not line.myself
        }
        made = dict.fromkeys(where.values(), False)
        for link in links:
            fields = _fields(link)
            if fields.get("direction") == "to" and fields.get("node") in where:
                # No event is waited for on a link whose connection is still being made.
                made[where[fields["node"]]] = "r" in fields.get("events", "")
        evidence.links[name] = made


def _fields(link: Reply) -> dict[str, str]:
    if not isinstance(link, list):
        return {}
    return {str(key): str(value) for key, value in zip(link[::2], link[1::2], strict=False)}


async def _replication(fleet: Asker, name: str, evidence: Evidence) -> None:
    with suppress(NodeFailed):
        (reply,) = await fleet.ask(name, REPLICATION)
        if isinstance(reply, str):
            evidence.replication[name] = parse_fields(reply)


async def _primary(fleet: Asker, name: str, seconds: float, evidence: Evidence) -> None:
    """What a primary tells of its replicas, of refused logins, and of syncs that begin meanwhile."""
    with suppress(NodeFailed):
        told, errors, delay, stats, saves = await fleet.ask(
            name,
            REPLICATION,
            ("INFO", "errorstats"),
            ("CONFIG", "GET", "repl-diskless-sync-delay"),
            ("INFO", "stats"),
            PERSISTENCE,
        )
        if isinstance(saves, str) and parse_fields(saves).get("rdb_last_bgsave_status") == "err":
            evidence.unsaved.add(name)
        if isinstance(told, str):
            evidence.replication[name] = parse_fields(told)
        if isinstance(errors, str):
            found = parse_fields(errors)
            evidence.denied[name] = tuple(
                kind for kind in ("WRONGPASS", "NOAUTH", "NOPERM") if f"errorstat_{kind}" in found
            )
        if isinstance(delay, list) and len(delay) == 2:
            evidence.sync_delay[name] = number(str(delay[1]))
        before = _syncs(stats)
        await asyncio.sleep(seconds * 0.7)
        (stats,) = await fleet.ask(name, ("INFO", "stats"))
        evidence.syncs[name] = _syncs(stats) - before


def _syncs(stats: Reply) -> int:
    return number(parse_fields(stats if isinstance(stats, str) else "").get("sync_full", ""))


async def _memory(
    fleet: Asker, names: Sequence[str], views: Views, seconds: float, evidence: Evidence
) -> None:
    """Who has carried out a CLUSTER FORGET, and, where anybody has, who is listed and dropped again."""
    await asyncio.gather(*(_forgot(fleet, name, evidence) for name in names))
    if not evidence.forgot:
        return
    ids = {view.id: name for name, view in views.items()}
    listed = {name: {peer.id for peer in views[name].peers} for name in names}
    for _ in range(_LOOKS):
        await asyncio.gather(*(_relisted(fleet, name, ids, listed[name], evidence) for name in names))
        await asyncio.sleep(seconds * _PAUSE)


async def _forgot(fleet: Asker, name: str, evidence: Evidence) -> None:
    with suppress(NodeFailed):
        (reply,) = await fleet.ask(name, ("INFO", "commandstats"))
        told = parse_fields(reply if isinstance(reply, str) else "").get("cmdstat_cluster|forget", "")
        counts = dict(field.split("=", 1) for field in told.split(",") if "=" in field)
        if number(counts.get("calls", "")) > number(counts.get("failed_calls", "")):
            evidence.forgot.add(name)


async def _relisted(
    fleet: Asker, name: str, ids: Mapping[str, str], listed: set[str], evidence: Evidence
) -> None:
    """Note whom a node has dropped since the last look; `listed` becomes what it lists now."""
    with suppress(NodeFailed, ValueError):
        (reply,) = await fleet.ask(name, CLUSTER_NODES)
        now = {line.id for line in parse_nodes(reply if isinstance(reply, str) else "")}
        evidence.dropped.update((name, ids[gone]) for gone in listed - now if gone in ids)
        listed.clear()
        listed.update(now)
