"""Replicas that take over, and replicas that go to another shard, on a cluster that serves.

Both wait for data: a replica that is in sync takes over without a lost write and within milliseconds, and one
that has changed shards holds the old shard's data until its sync is done. So elections of the latter are held
(`Boost.hold`). An OK proves nothing; each step ends when all nodes are seen to agree.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence

from clusterboot.core.steps import Failover, Replicate
from clusterboot.core.views import Views, number, parse_fields
from clusterboot.errors import NodeFailed
from clusterboot.loop.act import Actor
from clusterboot.loop.boost import Boost
from clusterboot.loop.observe import CLUSTER_NODES, PERSISTENCE, REPLICATION, Asker, now, survey, text
from clusterboot.wording import duration

_PAUSE = 0.05
# Max seconds without progress of a sync; a loaded primary takes long for its snapshot.
_SYNC_SECONDS = 60.0
# Max bytes that a replica is behind when it is asked to take over: the primary pauses its clients meanwhile.
_MAX_LAG = 1_000_000
_LAG_SECONDS = 10.0
# Max seconds in which a node learns of its new primary.
_SEND_SECONDS = 10.0
# A manual failover is dropped after 5 s (CLUSTER_MF_TIMEOUT), and nobody is told.
_FAILOVER_SECONDS = 6.0
_FAILOVERS = 2


async def fail_over(fleet: Asker, actor: Actor, step: Failover, views: Views) -> None:
    """Let a replica take the place of its primary; returns when the nodes of `views` all agree.

    Only a replica in sync is asked, and never with FORCE or TAKEOVER. Raises NodeFailed when it is not in
    sync, refuses, or does not take over in two tries.
    """
    for _ in range(_FAILOVERS):
        await _until(lambda: _why_behind(fleet, step), step, _LAG_SECONDS)
        if await actor.send([step], views):
            raise NodeFailed(actor.refusals[step])
        if step.node in actor.failures:
            raise NodeFailed(actor.failures[step.node])
        if await _took_over(fleet, step.node):
            timeout = max(view.node_timeout for view in views.values())
            # Roles travel in pings, and a node pings each other one within half the timeout.
            seconds = 2 * timeout + _SYNC_SECONDS
            return await _until(lambda: _why_not_agreed(fleet, views, step), step, seconds)
    raise NodeFailed.of(
        "failover-dropped",
        f"{step.node} did not take over from {step.peer} in {_FAILOVERS} tries of "
        f"{duration(_FAILOVER_SECONDS)}: the servers dropped the failover.",
        node=step.node,
        hint="look at the log of both nodes; most often the replica lags behind, or more than half of the "
        "primaries do not answer",
    )


async def _until(why: Callable[[], Awaitable[str | None]], step: Failover, seconds: float) -> None:
    """Wait until there is no reason why not any more; NodeFailed with the last one after `seconds`."""
    until = now() + seconds
    while (reason := await why()) is not None:
        if now() >= until:
            raise NodeFailed.of(
                "failover-incomplete",
                f"{reason}, {duration(seconds)} after it was waited for.",
                node=step.node,
                hint=f"look at the log of {step.node} and of {step.peer}, then run the same command again",
            )
        await asyncio.sleep(_PAUSE)


async def _why_behind(fleet: Asker, step: Failover) -> str | None:
    """Return why a replica may not take over now, or None."""
    replica, primary = await asyncio.gather(*(_replication(fleet, name) for name in (step.node, step.peer)))
    if replica.get("master_link_status", "down") != "up":
        return f"{step.node} is not in sync with {step.peer}"
    lag = number(primary.get("master_repl_offset", "")) - number(replica.get("slave_repl_offset", ""))
    return f"{step.node} is {lag} bytes behind {step.peer}" if lag > _MAX_LAG else None


async def _took_over(fleet: Asker, name: str) -> bool:
    """Return whether a replica becomes a primary before the servers drop its failover."""
    until = now() + _FAILOVER_SECONDS
    while (await _replication(fleet, name)).get("role") != "master":
        if now() >= until:
            return False
        await asyncio.sleep(_PAUSE)
    return True


async def _replication(fleet: Asker, name: str) -> dict[str, str]:
    (reply,) = await fleet.ask(name, REPLICATION)
    return parse_fields(text(reply))


async def _why_not_agreed(fleet: Asker, views: Views, step: Failover) -> str | None:
    """Return why not all nodes see a failover, or why the old primary is no replica in sync; or None."""
    new_id, old_id = views[step.node].id, views[step.peer].id
    observed = await survey(fleet, views)
    if observed.away:
        return next(iter(observed.away.values())).message.removesuffix(".")
    if observed.views[step.node].me.replica:
        raise _undone(step, views)
    for name, view in observed.views.items():
        new, old = view.knows(new_id), view.knows(old_id)
        if new is None or old is None or new.replica or old.primary != new_id or old.slots:
            return f"{name} does not see yet that {step.node} took over from {step.peer}"
    if not observed.views[step.peer].in_sync:
        return f"{step.peer} is not in sync with {step.node}, its new primary"
    return None


def _undone(step: Failover, views: Views) -> NodeFailed:
    """Return that the others did not accept a failover.

    Redis does not forget the votes of a replica's last election for twice its node timeout, and wins with
    them at once, under the old epoch; it begins no other election for four (clusterHandleSlaveFailover). So
    this happens where roles go to and fro. Valkey forgets them with each CLUSTER FAILOVER.
    """
    return NodeFailed.of(
        "failover-undone",
        f"{step.node} took over from {step.peer}, but not by a new vote, and the other nodes gave the slots "
        "back.",
        node=step.node,
        hint=f"run the same command again in {duration(4 * views[step.node].node_timeout)}: Redis needs this "
        "time between two failovers of one replica",
    )


async def attach(
    fleet: Asker,
    actor: Actor,
    boost: Boost,
    steps: Sequence[Replicate],
    views: Views,
    progress: Callable[[], None],
) -> None:
    """Send replicas of serving shards to other primaries, one shard after the other.

    The replicas that one shard gets are waited for until all have its data; their elections are held until
    then; `progress` is called when some has come. Raises NodeFailed when a node refuses, or when nothing
    moves any more before its sync is done.
    """
    shards: dict[str, list[Replicate]] = defaultdict(list)
    for step in steps:
        shards[step.primary].append(step)
    for mine in shards.values():
        names = [step.node for step in mine]
        await boost.hold(names, elections=True)
        await _send(actor, mine, views)
        await asyncio.gather(*(_synced(fleet, step, views[step.primary].id, progress) for step in mine))
        await boost.release(names)


async def _send(actor: Actor, steps: Sequence[Replicate], views: Views) -> None:
    """Send steps, and again those that are refused for a transient reason; NodeFailed if one stays so."""
    until = now() + _SEND_SECONDS
    left = await actor.send(steps, views)
    while left and now() < until:
        await asyncio.sleep(_PAUSE)
        left = await actor.send([step for step in steps if step in left], views)
    problems = [actor.refusals[step] for step in left]
    problems += [actor.failures[step.node] for step in steps if step.node in actor.failures]
    if problems:
        raise NodeFailed(*problems)


async def _synced(fleet: Asker, step: Replicate, primary_id: str, progress: Callable[[], None]) -> None:
    """Wait until a replica has the data of its new primary, as long as something moves."""
    before: object = None
    until = now() + _SYNC_SECONDS
    while True:
        why, moved = await _sync(fleet, step, primary_id)
        if why is None:
            return
        if moved != before:
            before, until = moved, now() + _SYNC_SECONDS
            progress()
        if now() >= until:
            raise NodeFailed.of(
                "replica-out-of-sync",
                f"{step.node} does not get the data of {step.primary}: {why}, and nothing has moved for "
                f"{duration(_SYNC_SECONDS)}.",
                node=step.node,
                hint=f"look at the log of {step.node} and of {step.primary}, then run the same command again",
            )
        await asyncio.sleep(_PAUSE)


async def _sync(fleet: Asker, step: Replicate, primary_id: str) -> tuple[str | None, object]:
    """Return why a sync is not done, or None; and what changes while it goes on."""
    try:
        (replica, loading, nodes), (saving,) = await asyncio.gather(
            fleet.ask(step.node, REPLICATION, PERSISTENCE, CLUSTER_NODES),
            fleet.ask(step.primary, PERSISTENCE),
        )
    except NodeFailed as failed:
        return failed.problems[0].message.removesuffix("."), None
    fields = parse_fields(text(replica))
    mine = (line.split(" ") for line in text(nodes).splitlines() if "myself" in line)
    if fields.get("master_link_status") == "up" and any(line[3:4] == [primary_id] for line in mine):
        return None, None
    moved = [fields.get(key) for key in ("master_sync_in_progress", "master_sync_read_bytes")]
    moved += [parse_fields(text(loading)).get("loading_loaded_bytes")]
    # The seconds of its snapshot, which a replica waits for without any news.
    moved += [parse_fields(text(saving)).get("rdb_current_bgsave_time_sec")]
    return "its link to it is not up", moved
