"""Returning live nodes to single, empty-handed ones: `down --reset`.

RESET HARD gives each node a new id, so that no old peer can pull it back; SOFT keeps the id and is
undone by peers that still know it. It is checked only when every handshake that was under way must
have expired.
"""

from __future__ import annotations

import asyncio

from clusterboot import preflight
from clusterboot.boost import Boost, Ledger
from clusterboot.errors import Exit, NodeFailed, OutOfTime, Problem, from_problems
from clusterboot.events import Phase, Reporter
from clusterboot.follow import handshake_seconds
from clusterboot.nodes import View
from clusterboot.observe import Asker, survey
from clusterboot.replies import Command, Rejected, explain
from clusterboot.topology import Topology


async def reset(
    topology: Topology, fleet: Asker, report: Reporter, ledger: Ledger, *, flush: bool, timeout: float
) -> tuple[str, ...]:
    """Reset every node of the topology and return their names.

    Raises NodeFailed when a node is away, Refused when the nodes know strangers or hold keys and
    `flush` is not given (all told together, nothing changed), and OutOfTime after `timeout` seconds.
    """
    try:
        async with asyncio.timeout(timeout):
            return await _reset(topology, fleet, report, ledger, flush=flush)
    except TimeoutError as over:
        raise OutOfTime(
            Problem(
                "out-of-time",
                f"not all nodes were single and empty-handed within {timeout:g} s.",
                hint="run the same command again",
                exit=Exit.NOT_READY,
            )
        ) from over


async def _reset(
    topology: Topology, fleet: Asker, report: Reporter, ledger: Ledger, *, flush: bool
) -> tuple[str, ...]:
    names = tuple(node.name for node in topology.nodes)
    report(Phase("look", f"{len(names)} nodes"))
    observed = await survey(fleet, names)
    if observed.away:
        raise NodeFailed(*observed.away.values())
    views = observed.views
    problems = [found for found in preflight.refusals(topology, views) if found.code == "stranger"]
    if not flush:
        problems += [_keys(name, view) for name, view in views.items() if view.keys]
    if problems:
        raise from_problems(problems)
    report(Phase("down", f"{len(names)} nodes"))
    boost = Boost(fleet, {node.name: node.address for node in topology.nodes}, ledger)
    boost.take_over(views)
    await asyncio.gather(*(_empty(fleet, name, view) for name, view in views.items()))
    # The nodes serve nothing any more, so short timers are safe: handshakes expire in one second.
    try:
        wait = handshake_seconds(await boost.borrow(views))
        await asyncio.sleep(wait)
        while True:
            observed = await survey(fleet, names)
            left = [view for view in observed.views.values() if len(view.peers) > 1 or view.me.slots]
            if not left and not observed.away:
                return names
            await asyncio.gather(*(_empty(fleet, view.name, view) for view in left))
            await asyncio.sleep(wait)
    finally:
        await asyncio.shield(boost.give_back(patient=False))


async def _empty(fleet: Asker, name: str, view: View) -> None:
    commands: list[Command] = [("CLUSTER", "RESET", "HARD")]
    if view.keys and not view.me.replica:
        commands.insert(0, ("FLUSHALL",))
    for sent, reply in zip(commands, await fleet.ask(name, *commands, timeout=30.0), strict=True):
        if isinstance(reply, Rejected):
            raise NodeFailed(explain(reply, name, sent))


def _keys(name: str, view: View) -> Problem:
    return Problem(
        "has-keys",
        f"{name} holds {view.keys} keys.",
        node=name,
        hint="add --flush to delete them as well",
        exit=Exit.REFUSED,
    )
