"""Resetting live nodes to standalone nodes without slots: `down --reset`.

RESET HARD gives each node a new id; with SOFT, peers that still know the old one would undo the reset. The
result is checked when every handshake that was under way has expired.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from clusterboot.core import preflight
from clusterboot.core.events import Phase, Reporter, Warned
from clusterboot.core.timers import handshake_seconds
from clusterboot.core.views import View, Views
from clusterboot.errors import Exit, NodeFailed, OutOfTime, Problem, from_problems, not_ready
from clusterboot.loop.act import forbidden
from clusterboot.loop.boost import Boost, Helper
from clusterboot.loop.investigate import silent
from clusterboot.loop.observe import Asker, now, survey
from clusterboot.topology import Topology
from clusterboot.wire.replies import Command, Rejected, explain
from clusterboot.wording import count, duration

# Seconds after the deadline in which the nodes that do not answer are found out.
_LATE_SECONDS = 0.5
# Max seconds for one node: FLUSHALL takes long with many keys.
_RESET_SECONDS = 30.0


async def reset(
    topology: Topology,
    fleet: Asker,
    report: Reporter,
    helper: Helper | None,
    *,
    flush: bool,
    timeout: float,
) -> tuple[str, ...]:
    """Reset every node of the topology; returns their names.

    Changes nothing and raises NodeFailed when a node is away, Refused when nodes know strangers, or hold keys
    and `flush` is not given. Raises OutOfTime after `timeout` seconds.
    """
    names = tuple(node.name for node in topology.nodes)
    boost = Boost(fleet, names, helper)
    until = now() + timeout
    try:
        # The first look ends a little later than the deadline, to name the nodes that did not answer.
        async with asyncio.timeout_at(until + 2 * _LATE_SECONDS) as limit:
            report(Phase("look", count(len(names), "node")))
            observed = await survey(fleet, names, until=until + _LATE_SECONDS)
            boost.notice(observed.views)
            if observed.away:
                raise NodeFailed(*observed.away.values())
            limit.reschedule(until)
            await _refuse(topology, fleet, observed.views, flush=flush)
            report(Phase("down", count(len(names), "node")))
            await _reset(fleet, observed.views, boost)
            if boost.owes:
                await boost.restore()
    except BaseException as ended:
        if boost.owes:
            await boost.restore_within_grace()
        over = await _out_of_time(fleet, names, timeout) if isinstance(ended, TimeoutError) else ended
        raise boost.to_raise(over) from ended.__cause__
    finally:
        for problem in boost.warnings:
            report(Warned(problem))
    return names


async def _out_of_time(fleet: Asker, names: Iterable[str], timeout: float) -> OutOfTime:
    return OutOfTime(
        not_ready(
            "out-of-time",
            f"not all nodes were standalone and without slots within {duration(timeout)}.",
            hint="run the same command again",
        ),
        *await silent(fleet, names, _LATE_SECONDS),
    )


async def _refuse(topology: Topology, fleet: Asker, views: Views, *, flush: bool) -> None:
    """Raise everything that forbids a reset."""
    problems = [each for each in preflight.refusals(topology, views) if each.code == "stranger"]
    if not flush:
        problems += [_has_keys(name, view.keys) for name, view in views.items() if view.keys]
    if not problems:
        wanted = [(name, command) for name, view in views.items() for command in _commands(view)]
        problems = await forbidden(fleet, wanted)
    if problems:
        raise from_problems(problems)


def _has_keys(node: str, keys: int) -> Problem:
    hint = "add --flush to delete them too"
    return Problem("has-keys", f"{node} holds {count(keys, 'key')}.", node, hint=hint, exit=Exit.REFUSED)


async def _reset(fleet: Asker, views: Views, boost: Boost) -> None:
    """Reset nodes again and again, until none has a peer or slots; the caller bounds it."""
    await _empty(fleet, views.values())
    # The nodes serve nothing any more, so short timers are safe, and handshakes expire in one second.
    wait = handshake_seconds(await boost.lower(views))
    while True:
        await asyncio.sleep(wait)
        observed = await survey(fleet, views)
        left = [view for view in observed.views.values() if len(view.peers) > 1 or view.me.slots]
        if not left and not observed.away:
            return
        await _empty(fleet, left)


async def _empty(fleet: Asker, views: Iterable[View]) -> None:
    """Empty the nodes, all at once; raises NodeFailed with each failure once all have been tried."""

    async def empty(view: View) -> list[Problem]:
        commands = _commands(view)
        try:
            replies = await fleet.ask(view.name, *commands, timeout=_RESET_SECONDS)
        except NodeFailed as failed:
            return list(failed.problems)
        return [
            explain(reply, view.name, sent)
            for sent, reply in zip(commands, replies, strict=True)
            if isinstance(reply, Rejected)
        ]

    failures = await asyncio.gather(*map(empty, views))
    if any(failures):
        raise NodeFailed(*(problem for problems in failures for problem in problems))


def _commands(view: View) -> list[Command]:
    reset: Command = ("CLUSTER", "RESET", "HARD")
    return [("FLUSHALL",), reset] if view.keys and not view.me.replica else [reset]
