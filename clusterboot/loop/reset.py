"""Returning live nodes to single, empty-handed ones: `down --reset`.

RESET HARD gives each node a new id, so that no old peer can pull it back; SOFT keeps the id and is
undone by peers that still know it. It is checked only when every handshake that was under way must
have expired.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from clusterboot.core import preflight
from clusterboot.core.events import Phase, Reporter, Warned
from clusterboot.core.timers import handshake_seconds
from clusterboot.core.views import View
from clusterboot.errors import Exit, NodeFailed, OutOfTime, Problem, from_problems
from clusterboot.loop.boost import Boost, Helper
from clusterboot.loop.investigate import silent
from clusterboot.loop.observe import Asker, survey
from clusterboot.topology import Topology
from clusterboot.wire.replies import Command, Rejected, explain
from clusterboot.wording import count, duration

# Seconds for asking, when the deadline has come, who does not answer.
_ASKED_AGAIN = 0.5


async def reset(
    topology: Topology,
    fleet: Asker,
    report: Reporter,
    helper: Helper | None,
    *,
    flush: bool,
    timeout: float,
) -> tuple[str, ...]:
    """Reset every node of the topology and return their names.

    Raises NodeFailed when a node is away, Refused when the nodes know strangers or hold keys and
    `flush` is not given (all told together, nothing changed), and OutOfTime after `timeout` seconds.
    """
    names = tuple(node.name for node in topology.nodes)
    boost = Boost(fleet, names, helper)
    try:
        until = asyncio.get_running_loop().time() + timeout
        # The first look has bounds of its own, a little earlier: its end is what names who was waited for.
        async with asyncio.timeout_at(until + 2 * _ASKED_AGAIN):
            await _reset(topology, fleet, report, boost, flush=flush, until=until)
            if boost.owes:
                await boost.restore()
    except BaseException as ended:
        if boost.owes:
            await boost.cut_short()
        over = await _out_of_time(fleet, names, timeout) if isinstance(ended, TimeoutError) else ended
        raise boost.ending(over) from ended.__cause__
    finally:
        for problem in boost.warnings:
            report(Warned(problem))
    return names


async def _out_of_time(fleet: Asker, names: Iterable[str], timeout: float) -> OutOfTime:
    return OutOfTime(
        Problem(
            "out-of-time",
            f"not all nodes were standalone and without slots within {duration(timeout)}.",
            hint="run the same command again",
            exit=Exit.NOT_READY,
        ),
        *await silent(fleet, names, _ASKED_AGAIN),
    )


async def _reset(
    topology: Topology, fleet: Asker, report: Reporter, boost: Boost, *, flush: bool, until: float
) -> None:
    names = tuple(node.name for node in topology.nodes)
    report(Phase("look", count(len(names), "node")))
    observed = await survey(fleet, names, until=until + _ASKED_AGAIN)
    boost.notice(observed.views)
    if observed.away:
        raise NodeFailed(*observed.away.values())
    if asyncio.get_running_loop().time() >= until:
        raise TimeoutError
    views = observed.views
    problems = [found for found in preflight.refusals(topology, views) if found.code == "stranger"]
    if not flush:
        problems += [_keys(name, view) for name, view in views.items() if view.keys]
    if not problems:
        problems = await _forbidden(fleet, views)
    if problems:
        raise from_problems(problems)
    report(Phase("down", count(len(names), "node")))
    await _empty_all(fleet, views.values())
    # The nodes serve nothing any more, so short timers are safe: handshakes expire in one second.
    wait = handshake_seconds(await boost.lower(views))
    await asyncio.sleep(wait)
    while True:
        observed = await survey(fleet, names)
        left = [view for view in observed.views.values() if len(view.peers) > 1 or view.me.slots]
        if not left and not observed.away:
            return
        await _empty_all(fleet, left)
        await asyncio.sleep(wait)


async def _forbidden(fleet: Asker, views: Mapping[str, View]) -> list[Problem]:
    """A problem for every node whose user may not run what is to be sent: half a reset is worse than none.

    The probes have an argument that every server refuses, after it has looked at the permission.
    """

    async def one(view: View) -> list[Problem]:
        probes = [
            ("CLUSTER", "RESET", "x") if "RESET" in needed else (*needed, "x") for needed in _needed(view)
        ]
        replies = await fleet.ask(view.name, *probes)
        return [
            explain(reply, view.name, sent)
            for sent, reply in zip(probes, replies, strict=True)
            if isinstance(reply, Rejected) and reply.refuses_permission
        ]

    found = await asyncio.gather(*(one(view) for view in views.values()))
    return [problem for problems in found for problem in problems]


async def _empty_all(fleet: Asker, views: Iterable[View]) -> None:
    """Empty the nodes, all at once; NodeFailed with every one that could not be, once all have been tried."""
    found = await asyncio.gather(*(_empty(fleet, view) for view in views))
    problems = [problem for problems in found for problem in problems]
    if problems:
        raise NodeFailed(*problems)


async def _empty(fleet: Asker, view: View) -> list[Problem]:
    commands = _needed(view)
    try:
        replies = await fleet.ask(view.name, *commands, timeout=30.0)
    except NodeFailed as failed:
        return list(failed.problems)
    return [
        explain(reply, view.name, sent)
        for sent, reply in zip(commands, replies, strict=True)
        if isinstance(reply, Rejected)
    ]


def _needed(view: View) -> list[Command]:
    reset: Command = ("CLUSTER", "RESET", "HARD")
    return [("FLUSHALL",), reset] if view.keys and not view.me.replica else [reset]


def _keys(name: str, view: View) -> Problem:
    return Problem(
        "has-keys",
        f"{name} holds {count(view.keys, 'key')}.",
        node=name,
        hint="add --flush to delete them as well",
        exit=Exit.REFUSED,
    )
