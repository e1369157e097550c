"""What nodes are asked once more to find out why a cluster is not Ready, all within a second.

- CLUSTER LINKS: whether a node ever made a connection to a bus port. A TCP connection from here: whether the
  port takes connections from this machine. tls-cluster: whether the bus of a node speaks TLS.
- errorstats of a primary: whether it refused logins of replicas. INFO replication: what they wait for.
- commandstats: whether a node has run CLUSTER FORGET.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar

from clusterboot.addresses import BUS_OFFSET, Endpoint
from clusterboot.core.verdict import Verdict
from clusterboot.core.views import Views, number, parse_fields, parse_nodes
from clusterboot.diagnosis.bus import BusView, Evidence
from clusterboot.diagnosis.diagnose import diagnose
from clusterboot.errors import Exit, NodeFailed, Problem
from clusterboot.loop.observe import CLUSTER_INFO, CLUSTER_NODES, PERSISTENCE, REPLICATION, Asker, now, text
from clusterboot.topology import Topology
from clusterboot.wire.replies import Rejected, Reply, explain, loading, stopped
from clusterboot.wire.resolve import is_numeric, probe

T = TypeVar("T")

SECONDS = 1.0
# Max ports probed and nodes asked: a cluster that lost its network has one cause.
MAX_ASKED = 32
# Max nodes asked whether they still answer.
_MAX_SILENT = 500
# A link is made within two ticks of the servers' own 100 ms cron, a handshake within three.
_LINK_SECONDS = 0.15
# Looks at what each node lists, and the pause between them as a share of the time: a forgotten node comes and
# goes about once a second.
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

    `met` are the pairs for which a MEET was accepted in this run. Unless `views` are `fresh`, nodes may have
    fallen silent since. Changes nothing and raises nothing.
    """
    end = now() + seconds
    away = {reason.node for reason in verdict.reasons if reason.exit is Exit.NODE}
    if not fresh:
        gone = await silent(fleet, [name for name in views if name not in away], seconds / 2)
        verdict = replace(verdict, reasons=(*gone, *verdict.reasons))
        away |= {problem.node for problem in gone}
    here = {name: view for name, view in views.items() if name not in away}
    bus = BusView(topology, here, met)
    unsynced = [each.node for each in verdict.reasons if each.code == "replica-out-of-sync" and each.node]
    lacks = {name for name, each in verdict.nodes.items() if each.unseen or each.stale or each.handshakes}
    # The others come last: servers tell each other which nodes were forgotten.
    doubtful = sorted(here, key=lambda name: name not in lacks) if lacks & here.keys() else []
    inquiry = _Inquiry(fleet, bus, max(0.1, end - now()))
    with suppress(TimeoutError):
        async with asyncio.timeout(inquiry.seconds):
            await asyncio.gather(*inquiry.questions(unsynced, doubtful))
    return diagnose(bus, verdict, inquiry.evidence)


async def silent(fleet: Asker, names: Iterable[str], seconds: float) -> list[Problem]:
    """Return a problem for each of the first 500 nodes that does not answer any more or is loading data."""

    async def ask(name: str) -> Problem | None:
        try:
            async with asyncio.timeout(seconds):
                info, state = await fleet.ask(name, PERSISTENCE, CLUSTER_INFO)
        except NodeFailed as failed:
            return failed.problems[0]
        except TimeoutError:
            return stopped(name)
        if parse_fields(text(info)).get("loading") == "1":
            return loading(name)
        return explain(state, name, CLUSTER_INFO) if isinstance(state, Rejected) else None

    answers = await asyncio.gather(*map(ask, [*names][:_MAX_SILENT]))
    return [problem for problem in answers if problem is not None]


class _Inquiry:
    """Collects `evidence`: about the gaps of `bus`, about replicas, about forgotten nodes."""

    def __init__(self, fleet: Asker, bus: BusView, seconds: float) -> None:
        self._fleet = fleet
        self._bus = bus
        self._views = bus.views
        self._names = {view.id: name for name, view in bus.views.items()}
        self.seconds = seconds
        self.evidence = Evidence()

    def questions(
        self, unsynced: Iterable[str], doubtful: Sequence[str]
    ) -> Iterator[Coroutine[Any, Any, None]]:
        """Yield what is to be asked, all at the same time; none of it raises NodeFailed."""
        gaps = tuple(self._bus.gaps.values())
        ends = [gap.at for gap in gaps] + [self._bus.endpoint(peer) for _, peer in self._bus.unlisted()]
        yield from map(self._probe, _first(end for end in ends if is_numeric(end.host)))
        yield from map(self._settle, _first(name for gap in gaps for name in (gap.node, gap.peer)))
        replicas = _first(name for name in unsynced if name in self._views)
        yield from map(self._replica, replicas)
        primaries = _first(self._names.get(self._views[name].me.primary or "") for name in replicas)
        yield from map(self._primary, filter(None, primaries))
        yield self._find_forgotten(doubtful[:MAX_ASKED])

    async def _probe(self, end: Endpoint) -> None:
        self.evidence.ports[end] = await probe(*end, self.seconds * 0.8)

    async def _settle(self, name: str) -> None:
        """Ask a node until all its gaps are closed or have lasted: a link may just be in the making."""
        end = now() + self.seconds * 0.8
        gaps = [gap for gap in self._bus.gaps.values() if gap.node == name]
        while True:
            await self._links(name)
            # A port that refuses us or does not answer us will not answer other nodes soon either.
            left = [gap for gap in gaps if self.evidence.ports.get(gap.at, "open") == "open"]
            if all((gap.node, gap.peer) in self.evidence.closed for gap in left):
                return
            await asyncio.sleep(_LINK_SECONDS)
            if now() > end:
                return

    async def _links(self, name: str) -> None:
        with suppress(NodeFailed, ValueError):
            nodes, links, tls = await self._fleet.ask(
                name, CLUSTER_NODES, ("CLUSTER", "LINKS"), ("CONFIG", "GET", "tls-cluster")
            )
            # A server that was built without TLS has no such setting, and replies with an empty list.
            if isinstance(tls, list):
                self.evidence.tls[name] = len(tls) == 2 and tls[1] == "yes"
            lines = parse_nodes(text(nodes))
            self.evidence.closed.update(
                (name, self._names[line.id]) for line in lines if line.seen and line.id in self._names
            )
            if not isinstance(links, list):
                return
            others = [line for line in lines if not line.myself]
            where = {line.id: Endpoint(line.ip, line.bus_port or line.port + BUS_OFFSET) for line in others}
            made = dict.fromkeys(where.values(), False)
            for link in links:
                words = [str(word) for word in link] if isinstance(link, list) else []
                fields = dict(zip(words[::2], words[1::2], strict=False))
                if fields.get("direction") == "to" and fields.get("node") in where:
                    # While the connection is being made, the link waits for no event.
                    made[where[fields["node"]]] = "r" in fields.get("events", "")
            self.evidence.links[name] = made

    async def _replica(self, name: str) -> None:
        with suppress(NodeFailed):
            (info,) = await self._fleet.ask(name, REPLICATION)
            if isinstance(info, str):
                self.evidence.replication[name] = parse_fields(info)

    async def _primary(self, name: str) -> None:
        """Ask about the replicas of a primary, the logins that it refused, and syncs that begin meanwhile."""
        with suppress(NodeFailed):
            info, errors, delay, stats, saves = await self._fleet.ask(
                name,
                REPLICATION,
                ("INFO", "errorstats"),
                ("CONFIG", "GET", "repl-diskless-sync-delay"),
                ("INFO", "stats"),
                PERSISTENCE,
            )
            if parse_fields(text(saves)).get("rdb_last_bgsave_status") == "err":
                self.evidence.unsaved.add(name)
            if isinstance(info, str):
                self.evidence.replication[name] = parse_fields(info)
            if isinstance(errors, str):
                counted = parse_fields(errors)
                self.evidence.denied[name] = tuple(
                    kind for kind in ("WRONGPASS", "NOAUTH", "NOPERM") if f"errorstat_{kind}" in counted
                )
            if isinstance(delay, list) and len(delay) == 2:
                self.evidence.sync_delay[name] = number(str(delay[1]))
            await asyncio.sleep(self.seconds * 0.7)
            (later,) = await self._fleet.ask(name, ("INFO", "stats"))
            self.evidence.syncs[name] = _syncs(later) - _syncs(stats)

    async def _find_forgotten(self, names: Sequence[str]) -> None:
        """Find out which nodes have run a CLUSTER FORGET, and if any, which are listed and dropped again."""
        await asyncio.gather(*map(self._forgot, names))
        if not self.evidence.forgot:
            return
        listed = {name: {peer.id for peer in self._views[name].peers} for name in names}
        for _ in range(_LOOKS):
            await asyncio.gather(*(self._dropped(name, listed[name]) for name in names))
            await asyncio.sleep(self.seconds * _PAUSE)

    async def _forgot(self, name: str) -> None:
        with suppress(NodeFailed):
            (stats,) = await self._fleet.ask(name, ("INFO", "commandstats"))
            forget = parse_fields(text(stats)).get("cmdstat_cluster|forget", "")
            counts = dict(field.split("=", 1) for field in forget.split(",") if "=" in field)
            if number(counts.get("calls", "")) > number(counts.get("failed_calls", "")):
                self.evidence.forgot.add(name)

    async def _dropped(self, name: str, listed: set[str]) -> None:
        """Note which nodes a node has dropped since the last look; `listed` becomes what it lists now."""
        with suppress(NodeFailed, ValueError):
            (nodes,) = await self._fleet.ask(name, CLUSTER_NODES)
            current = {line.id for line in parse_nodes(text(nodes))}
            dropped = (listed - current) & self._names.keys()
            self.evidence.dropped.update((name, self._names[gone]) for gone in dropped)
            listed.clear()
            listed.update(current)


def _first(found: Iterable[T]) -> list[T]:
    return list(dict.fromkeys(found))[:MAX_ASKED]


def _syncs(stats: Reply) -> int:
    return number(parse_fields(text(stats)).get("sync_full", ""))
