"""Looking at nodes: what is asked, and how the replies become views.

`survey` asks every node everything. `Watch` looks repeatedly: a small cluster is read in full; in a large one
CLUSTER INFO shows which nodes may be complete, a growing sample of them is read, and one snapshot confirms.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from clusterboot.core.health import Judge
from clusterboot.core.timers import SETTINGS
from clusterboot.core.views import Seen, View, parse_fields, parse_info, parse_nodes
from clusterboot.errors import NodeFailed, Problem
from clusterboot.topology import Node
from clusterboot.wire.replies import Command, Rejected, Reply, explain, loading, slow

CLUSTER_INFO: Command = ("CLUSTER", "INFO")
CLUSTER_NODES: Command = ("CLUSTER", "NODES")
REPLICATION: Command = ("INFO", "replication")
PERSISTENCE: Command = ("INFO", "persistence")  # shows that Valkey is loading its data
# These two show what matters most of INFO where it is renamed or forbidden.
ROLE: Command = ("ROLE",)
DBSIZE: Command = ("DBSIZE",)

# One CONFIG GET per pattern: only servers since Redis 7.0 take several of them.
_PATTERNS = ("cluster-*", "repl-diskless-*", "masterauth", "requirepass", "tls-cluster")
# What is kept of the replies: the settings that the boost lowers, and what a node announces.
_KEPT = {
    *SETTINGS,
    *(f"cluster-announce-{what}" for what in ("ip", "port", "bus-port", "tls-port")),
    "tls-cluster",
}
# Of these a view keeps only whether they are set, never the value.
_SECRETS = {"masterauth", "requirepass"}
SURVEY: tuple[Command, ...] = (
    ("INFO",),
    CLUSTER_INFO,
    CLUSTER_NODES,
    *(("CONFIG", "GET", pattern) for pattern in _PATTERNS),
)

# Max nodes of a small cluster: 64 replies of 64 lines cost less than a tick of the servers' own 100 ms cron,
# and the screen shows every link as it is made.
SMALL = 64
# A round on a larger cluster reads about this many lines of CLUSTER NODES, and at least this many nodes.
_LINES_PER_ROUND, _MIN_SAMPLE = 2_500, 4
# Max full replies under way at once, which bounds memory: a reply of 1,000 lines is 110 kB.
_MAX_FULL_REPLIES = 32
_MAX_FIRST_REPLIES = 512


class Asker(Protocol):
    """What observing and acting need of `client.Fleet`."""

    async def ask(self, name: str, *commands: Command, timeout: float = ...) -> list[Reply]:
        """Send commands to a node and return their replies; NodeFailed when it does not answer."""

    def ip(self, name: str) -> str:
        """Return the numeric address at which the node answered."""

    def add(self, node: Node) -> None:
        """Take one more node, under its name; one that is there already stays."""


@dataclass(frozen=True, slots=True)
class Observed:
    """One look at all nodes: a view of each that answered, the problem of each that did not."""

    views: Mapping[str, View]
    away: Mapping[str, Problem]


def now() -> float:
    """Return the time of the event loop in seconds, in which all deadlines are given."""
    return asyncio.get_running_loop().time()


async def survey(
    fleet: Asker, names: Iterable[str], seen: Seen | None = None, *, until: float | None = None
) -> Observed:
    """Ask every node everything, all at once.

    A node that fails, is loading its data or has not answered everything by `until` (loop time) is `away`.
    """
    seen = {} if seen is None else seen
    first_gate = asyncio.Semaphore(_MAX_FIRST_REPLIES)
    full_gate = asyncio.Semaphore(_MAX_FULL_REPLIES)

    async def view(name: str) -> View:
        async with first_gate:
            replies = await fleet.ask(name, *SURVEY[:2])
            _accept(name, CLUSTER_INFO, replies[1])
            if isinstance(replies[0], Rejected):
                info, keys = _without_info(name, replies[0], *await fleet.ask(name, ROLE, DBSIZE))
            else:
                info, keys = parse_info(text(replies[0]))
            if info.get("loading") == "1":
                raise NodeFailed(loading(name))
            async with full_gate:
                nodes, *settings = await fleet.ask(name, *SURVEY[2:])
        view = View(name, fleet.ip(name), (), info, {}, _config(settings), keys)
        return _with_peers(view, replies[1], nodes, seen)

    async def view_in_time(name: str) -> View:
        try:
            async with asyncio.timeout_at(until):
                return await view(name)
        except TimeoutError as over:
            raise NodeFailed(slow(name)) from over

    return await _each(names, view_in_time)


async def _each(names: Iterable[str], look: Callable[[str], Awaitable[View]]) -> Observed:
    async def attempt(name: str) -> View | Problem:
        try:
            return await look(name)
        except NodeFailed as failed:
            return failed.problems[0]

    names = tuple(names)
    found = dict(zip(names, await asyncio.gather(*map(attempt, names)), strict=True))
    return Observed(
        {name: each for name, each in found.items() if isinstance(each, View)},
        {name: each for name, each in found.items() if isinstance(each, Problem)},
    )


def _without_info(
    name: str, refused: Rejected, role: Reply, keys: Reply
) -> tuple[dict[str, str], dict[int, int]]:
    """Return the most important fields of INFO, and the keys of database 0; NodeFailed if refused too."""
    if isinstance(keys, Rejected) and keys.startswith("LOADING"):
        raise NodeFailed(loading(name))
    if isinstance(role, Rejected) or isinstance(keys, Rejected):
        raise NodeFailed(explain(refused, name, ("INFO",)))
    return _role(role), {0: keys} if isinstance(keys, int) else {}


def _role(reply: Reply) -> dict[str, str]:
    """Return the fields of INFO replication that the reply to ROLE stands for."""
    words = [text(word) for word in reply] if isinstance(reply, list) else []
    if words[:1] != ["slave"]:
        return {"role": "".join(words[:1])}
    state = "".join(words[3:4])
    return {
        "role": "slave",
        "master_link_status": "up" if state == "connected" else "down",
        "master_sync_in_progress": "1" if state == "sync" else "0",
    }


def _config(replies: list[Reply]) -> dict[str, str]:
    """Return the settings that are kept; where CONFIG is renamed or forbidden there are none."""
    config: dict[str, str] = {}
    for reply in replies:
        words = [text(word) for word in reply] if isinstance(reply, list) else []
        for setting, value in zip(words[::2], words[1::2], strict=False):
            if setting in _KEPT:
                config[setting] = value
            elif setting in _SECRETS:
                config[setting] = "set" if value else ""
    return config


def _with_peers(view: View, cluster: Reply, nodes: Reply, seen: Seen) -> View:
    _accept(view.name, CLUSTER_INFO, cluster)
    _accept(view.name, CLUSTER_NODES, nodes)
    try:
        peers = parse_nodes(text(nodes), seen)
    except ValueError as odd:
        raise NodeFailed.of(
            "odd-reply",
            f"{view.name} sent a reply that no Redis or Valkey node sends: {odd}.",
            node=view.name,
            hint="check that the address is a node's own and not a proxy's",
        ) from odd
    return replace(view, peers=peers, cluster=parse_fields(text(cluster)))


def _accept(name: str, command: Command, reply: Reply) -> None:
    if isinstance(reply, Rejected):
        raise NodeFailed(explain(reply, name, command))


def text(reply: Reply) -> str:
    """Return a reply that is text, else an empty one."""
    return reply if isinstance(reply, str) else ""


class Watch:
    """Looks at a forming cluster round by round and keeps the newest view of every node."""

    def __init__(self, fleet: Asker, views: Mapping[str, View], judge: Judge, seen: Seen) -> None:
        """Start from the views of a survey; `judge` decides which nodes are complete."""
        self._fleet = fleet
        self._judge = judge
        self._seen = seen
        self.views = dict(views)
        self._complete: set[str] = set()
        self._rounds = 0
        self._read_in = dict.fromkeys(views, 0)
        self._sample = self._least = max(_MIN_SAMPLE, _LINES_PER_ROUND // max(1, len(views)))

    def sample_at_least(self, count: int) -> None:
        """Read at least `count` nodes of a large cluster whole in every round."""
        self._sample = self._least = max(count, self._least)

    async def look(self) -> Observed:
        """Look once at all nodes, in no more detail than helps."""
        if len(self.views) <= SMALL:
            return await self.snapshot()
        observed = await _each(self.views, self._glance)
        self.views |= observed.views
        sample = self._next_sample(observed.views)
        if sample:
            read = await self._read(sample)
            # While one node of the sample is incomplete, reading the others would show the same.
            self._sample = self._sample * 4 if self._complete.issuperset(sample) else self._least
            observed = Observed({**observed.views, **read.views}, {**observed.away, **read.away})
        return observed

    def _next_sample(self, views: Mapping[str, View]) -> list[str]:
        """Half are nodes not read for longest, half the last read of those that may be complete."""
        left = sorted((name for name in views if name not in self._complete), key=self._read_in.__getitem__)
        if len(left) <= self._sample:
            return left
        half = self._sample // 2

        def maybe_complete(view: View) -> bool:
            return view.known >= len(self._judge.ids) and (view.state_ok or self._judge.mesh_only)

        return left[:half] + [name for name in left[half:] if maybe_complete(views[name])][-half:]

    async def snapshot(self) -> Observed:
        """Read every node whole, all at once: only such a look may find the cluster Ready."""
        return await self._read(self.views)

    def unsettle(self) -> None:
        """Forget which nodes were complete, since roles have just changed."""
        self._complete.clear()
        self._sample = self._least

    @property
    def promising(self) -> bool:
        """Whether every node was complete when it was last read."""
        return len(self._complete) == len(self.views)

    async def _glance(self, name: str) -> View:
        view = self.views[name]
        more = () if view.in_sync and not view.me.replica else (_link(view),)
        cluster, *link = await self._fleet.ask(name, CLUSTER_INFO, *more)
        _accept(name, CLUSTER_INFO, cluster)
        return _with_link(replace(view, cluster=parse_fields(text(cluster))), *link)

    async def _read(self, names: Iterable[str]) -> Observed:
        gate = asyncio.Semaphore(_MAX_FULL_REPLIES)

        async def read(name: str) -> View:
            view = self.views[name]
            async with gate:
                cluster, nodes, link = await self._fleet.ask(name, CLUSTER_INFO, CLUSTER_NODES, _link(view))
                return _with_link(_with_peers(view, cluster, nodes, self._seen), link)

        self._rounds += 1
        observed = await _each(names, read)
        self.views |= observed.views
        self._read_in |= dict.fromkeys(observed.views, self._rounds)
        self._complete -= observed.views.keys()
        self._complete |= {name for name, view in observed.views.items() if self._judge.node(view).ready}
        return observed


def _link(view: View) -> Command:
    return ROLE if view.hides_info else REPLICATION


def _with_link(view: View, reply: Reply = None) -> View:
    """Return the view with what INFO replication, or ROLE, says now."""
    if isinstance(reply, list):
        return replace(view, info={**view.info, **_role(reply)})
    if reply is None or isinstance(reply, Rejected):
        return view
    return replace(view, info={**view.info, **parse_info(text(reply))[0]})
