"""Looking at nodes: what is asked, and how the replies become views.

`survey` asks everything of every node at once. `Watch` looks again and again while a cluster forms:
small clusters are read whole in every round; on large ones CLUSTER INFO's counts tell which nodes may
be complete, and of those a sample is read whole, which grows as long as it finds nobody incomplete, until
one confirming snapshot of all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from clusterboot.core.health import Judge
from clusterboot.core.views import Seen, View, parse_fields, parse_info, parse_nodes
from clusterboot.errors import Exit, NodeFailed, Problem
from clusterboot.wire.replies import Command, Rejected, Reply, explain, loading, slow

CLUSTER_INFO: Command = ("CLUSTER", "INFO")
CLUSTER_NODES: Command = ("CLUSTER", "NODES")
REPLICATION: Command = ("INFO", "replication")
# Where Valkey tells that it is loading its data.
PERSISTENCE: Command = ("INFO", "persistence")
# What tells the most important of it where INFO is renamed or forbidden.
ROLE: Command = ("ROLE",)
DBSIZE: Command = ("DBSIZE",)

# Settings that decide how long things take, what the boost borrows, what a node announces, and whether
# replicas will get in. One CONFIG GET per pattern: several in one are understood since Redis 7 only.
_PATTERNS = ("cluster-*", "repl-diskless-*", "masterauth", "requirepass", "tls-cluster")
_SETTINGS = frozenset(
    {
        "cluster-migration-barrier",
        "cluster-node-timeout",
        "cluster-replica-no-failover",
        "cluster-announce-ip",
        "cluster-announce-port",
        "cluster-announce-bus-port",
        "cluster-announce-tls-port",
        "repl-diskless-load",
        "repl-diskless-sync-delay",
        "tls-cluster",
    }
)
# Of these only whether they are set is kept, never what they are set to.
_SECRETS = frozenset({"masterauth", "requirepass"})
SURVEY: tuple[Command, ...] = (
    ("INFO",),
    CLUSTER_INFO,
    CLUSTER_NODES,
    *(("CONFIG", "GET", pattern) for pattern in _PATTERNS),
)

# Up to so many nodes everything is read in every round: 64 replies of 64 lines cost less than a tick of
# the servers' own 100 ms cron, and the screen shows every link as it comes.
SMALL = 64
# On larger ones a round reads as many nodes whole as give so many lines, and a few in any case.
_LINES, _FEW = 2_500, 4
_AT_ONCE = 32  # full replies under way at once: bounds memory, a reply of 1,000 lines is 110 kB


class Asker(Protocol):
    """What observing and acting need of `client.Fleet`."""

    async def ask(self, name: str, *commands: Command, timeout: float = ...) -> list[Reply]:
        """Send commands to a node and return their replies; NodeFailed when it does not answer."""

    def ip(self, name: str) -> str:
        """Return the numeric address at which the node answered."""


@dataclass(frozen=True, slots=True)
class Observed:
    """One look at all nodes: a view of each that answered, the problem of each that did not."""

    views: Mapping[str, View]
    away: Mapping[str, Problem]


async def survey(
    fleet: Asker, names: Iterable[str], seen: Seen | None = None, *, until: float | None = None
) -> Observed:
    """Ask every node everything, all at once; one that fails is `away` with the reason.

    So is one that is still loading its data, and one that has not answered everything by `until` (in the
    loop's time).
    """
    seen = {} if seen is None else seen
    gate = asyncio.Semaphore(_AT_ONCE)
    connected = asyncio.Semaphore(512)

    async def one(name: str) -> View:
        async with connected:
            replies = await fleet.ask(name, *SURVEY[:2])
            _accept(name, SURVEY[1], replies[1])
            if isinstance(replies[0], Rejected):
                told = _instead(name, replies[0], *await fleet.ask(name, ROLE, DBSIZE))
            else:
                told = parse_info(_text(replies[0]))
            if told[0].get("loading") == "1":
                raise NodeFailed(loading(name))
            async with gate:
                replies += await fleet.ask(name, *SURVEY[2:])
        return _surveyed(name, fleet.ip(name), told, replies, seen)

    async def in_time(name: str) -> View:
        try:
            async with asyncio.timeout_at(until):
                return await one(name)
        except TimeoutError as over:
            raise NodeFailed(slow(name)) from over

    return await _each(names, in_time)


async def _each(names: Iterable[str], work: Callable[[str], Awaitable[View]]) -> Observed:
    names = tuple(names)
    found = await asyncio.gather(*(_caught(work, name) for name in names))
    views = {name: result for name, result in zip(names, found, strict=True) if isinstance(result, View)}
    away = {name: result for name, result in zip(names, found, strict=True) if isinstance(result, Problem)}
    return Observed(views, away)


async def _caught(work: Callable[[str], Awaitable[View]], name: str) -> View | Problem:
    # Called here and not before: cancelled in its first moment it would never be awaited, which Python tells.
    try:
        return await work(name)
    except NodeFailed as failed:
        return failed.problems[0]


def _instead(name: str, refused: Rejected, role: Reply, keys: Reply) -> tuple[dict[str, str], int]:
    """What INFO would have told, and the keys of database 0; NodeFailed where all of it is refused."""
    if isinstance(role, Rejected) or isinstance(keys, Rejected):
        if isinstance(keys, Rejected) and keys.startswith("LOADING"):
            raise NodeFailed(loading(name))
        raise NodeFailed(explain(refused, name, ("INFO",)))
    return _role(role), keys if isinstance(keys, int) else 0


def _role(reply: Reply) -> dict[str, str]:
    words = [_text(word) for word in reply] if isinstance(reply, list) else []
    if words[:1] != ["slave"]:
        return {"role": "".join(words[:1])}
    state = "".join(words[3:4])
    syncing = "1" if state == "sync" else "0"
    link = "up" if state == "connected" else "down"
    return {"role": "slave", "master_link_status": link, "master_sync_in_progress": syncing}


def _surveyed(name: str, ip: str, told: tuple[dict[str, str], int], replies: list[Reply], seen: Seen) -> View:
    info, keys = told
    config: dict[str, str] = {}
    for reply in replies[3:]:
        # CONFIG may be renamed or forbidden: its values then stay unknown, and no boost is possible.
        if isinstance(reply, list):
            for setting, value in zip(map(_text, reply[::2]), map(_text, reply[1::2]), strict=False):
                if setting in _SETTINGS:
                    config[setting] = value
                elif setting in _SECRETS:
                    config[setting] = "set" if value else ""
    view = View(name, ip, (), info, {}, config, keys)
    return _reread(view, replies[1], replies[2], seen)


def _reread(view: View, cluster: Reply, nodes: Reply, seen: Seen) -> View:
    _accept(view.name, CLUSTER_INFO, cluster)
    _accept(view.name, CLUSTER_NODES, nodes)
    try:
        peers = parse_nodes(_text(nodes), seen)
    except ValueError as odd:
        raise NodeFailed(
            Problem(
                "odd-reply",
                f"{view.name} sent what no Redis or Valkey node sends: {odd}.",
                node=view.name,
                hint="check that the address is a node's own and not a proxy's",
                exit=Exit.NODE,
            )
        ) from odd
    return replace(view, peers=peers, cluster=parse_fields(_text(cluster)))


def _accept(name: str, command: Command, reply: Reply) -> None:
    if isinstance(reply, Rejected):
        raise NodeFailed(explain(reply, name, command))


def _text(reply: Reply) -> str:
    return reply if isinstance(reply, str) else ""


class Watch:
    """Looks at a forming cluster round by round and keeps the newest view of every node."""

    def __init__(self, fleet: Asker, views: Mapping[str, View], judge: Judge, seen: Seen) -> None:
        """Start from the views of a survey; `judge` tells which views need no further look."""
        self._fleet = fleet
        self._judge = judge
        self._seen = seen
        self.views = dict(views)
        self._complete: set[str] = set()
        self._rounds = 0
        self._read_in = dict.fromkeys(views, 0)
        self._sample = self._least = max(_FEW, _LINES // max(1, len(views)))

    def sample_at_least(self, count: int) -> None:
        """Read so many nodes of a large cluster whole in every round, even when they may not be complete."""
        self._sample = self._least = max(count, self._least)

    async def look(self) -> Observed:
        """Look once at all nodes, no more closely than is of use."""
        if len(self.views) <= SMALL:
            return await self.snapshot()
        observed = await _each(self.views, self._glance)
        self.views |= observed.views
        sample = self._next_sample(observed.views)
        if sample:
            read = await self._read(sample)
            # As long as the sample shows somebody incomplete, reading the others would show the same.
            self._sample = self._sample * 4 if self._complete.issuperset(sample) else self._least
            observed = Observed({**observed.views, **read.views}, {**observed.away, **read.away})
        return observed

    def _next_sample(self, views: Mapping[str, View]) -> list[str]:
        """Half those that may be complete by their counts and were read last, half those not read longest."""
        left = sorted((name for name in views if name not in self._complete), key=self._read_in.__getitem__)
        if len(left) <= self._sample:
            return left
        half = self._sample // 2
        wanted = len(self._judge.ids)
        maybe = [
            name
            for name in left[half:]
            if views[name].known >= wanted and (views[name].state_ok or self._judge.mesh_only)
        ]
        return left[:half] + maybe[-half:]

    async def snapshot(self) -> Observed:
        """Read every node whole, all at once: the only kind of look that may find the cluster Ready."""
        return await self._read(self.views)

    def unsettle(self) -> None:
        """Forget who was complete, since roles have just changed."""
        self._complete.clear()
        self._sample = self._least

    @property
    def promising(self) -> bool:
        """Whether every node was complete by its own words when it was last read."""
        return len(self._complete) == len(self.views)

    async def _glance(self, name: str) -> View:
        view = self.views[name]
        commands = (CLUSTER_INFO,) if view.in_sync and not view.me.replica else (CLUSTER_INFO, _link(view))
        replies = await self._fleet.ask(name, *commands)
        _accept(name, CLUSTER_INFO, replies[0])
        return _told(replace(view, cluster=parse_fields(_text(replies[0]))), replies[1:])

    async def _read(self, names: Iterable[str]) -> Observed:
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(name: str) -> View:
            async with gate:
                replies = await self._fleet.ask(name, CLUSTER_INFO, CLUSTER_NODES, _link(self.views[name]))
                return _told(_reread(self.views[name], replies[0], replies[1], self._seen), replies[2:])

        self._rounds += 1
        observed = await _each(names, one)
        self.views |= observed.views
        for name, view in observed.views.items():
            self._read_in[name] = self._rounds
            if self._judge.node(view).ready:
                self._complete.add(name)
            else:
                self._complete.discard(name)
        return observed


def _link(view: View) -> Command:
    """What to ask a node about its link to its primary."""
    return ROLE if view.hides_info else REPLICATION


def _told(view: View, replies: list[Reply]) -> View:
    """The view with what INFO replication, or ROLE, says now."""
    if replies and isinstance(replies[0], list):
        return replace(view, info={**view.info, **_role(replies[0])})
    if replies and not isinstance(replies[0], Rejected):
        return replace(view, info={**view.info, **parse_info(_text(replies[0]))[0]})
    return view
