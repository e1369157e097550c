"""Finishing slots that are half moved, of a run that was killed or of redis-cli, unless somebody is at work.

Key counts do not tell: clients write. Somebody is at work if marks change, or if a node runs MIGRATE.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace

from clusterboot.core.open_slots import disputed_slots, marks, open_slots, opened
from clusterboot.core.open_slots import settle as decide
from clusterboot.core.results import Transfer
from clusterboot.core.views import View, Views, parse_fields
from clusterboot.errors import NodeFailed, Problem, Refused, from_problems, refusal
from clusterboot.loop.observe import CLUSTER_INFO, Asker, now, survey, text
from clusterboot.rebalance.copying import set_slots
from clusterboot.rebalance.counting import count_keys
from clusterboot.rebalance.databases import ask_in, databases
from clusterboot.rebalance.jobs import settle_jobs
from clusterboot.rebalance.move import Mover
from clusterboot.rebalance.same import differing, same_value
from clusterboot.slots import Slots, union
from clusterboot.wire.replies import Command, Rejected
from clusterboot.wording import count, duration

_COMMANDS: Command = ("INFO", "commandstats")

# Seconds in which nothing may move, and between two looks meanwhile.
WATCH_SECONDS, _LOOK_SECONDS = 3.0, 0.5
# Max seconds while nothing but news spreads.
_MAX_WATCH_SECONDS = 15.0
# Max keys of a slot that are compared in one go.
_MAX_COMPARED = 20_000
_MAX_RANGES_SHOWN = 5
_OK_SECONDS = 5.0


async def settle(fleet: Asker, names: Iterable[str], views: Views, mover: Mover) -> bool:
    """Finish all open slots; returns whether there was anything, so that the caller looks again.

    `views` are of the members `names`. First waits for atomic jobs, and watches for three seconds whether
    somebody else moves slots. Raises Refused then, and when a slot cannot be finished without losing a value;
    NodeFailed when a node does not answer.
    """
    names = tuple(names)
    waited = await settle_jobs(fleet, [view.name for view in views.values() if not view.me.replica])
    if not _doubtful(views):
        return waited
    views = await _watch(fleet, names)
    if not _doubtful(views):
        return True
    todo = decide(views, await _count(fleet, views, _doubtful(views)))
    if todo.problems:
        raise from_problems(todo.problems)
    # A target whose source has failed over calls the cluster down, until it knows who serves the slot now.
    for tell in todo.tells:
        await set_slots(fleet, tell.node, tell.slots, "NODE", tell.owner)
    for move in todo.moves:
        await _until_ok(fleet, move.peer)
        await _compare(fleet, views[move.node], views[move.peer], move.slots)
    for clear in todo.clears:
        await set_slots(fleet, clear.node, clear.slots, "STABLE")
    keys = await _count(fleet, views, union(move.slots for move in todo.moves)) if todo.moves else {}
    held = [sum(keys[move.node].get(slot, 0) for slot in move.slots) for move in todo.moves]
    moves = zip(todo.moves, held, strict=True)
    await mover.run([Transfer(move, most, "copy") for move, most in moves], views)
    return True


def _doubtful(views: Views) -> Slots:
    return open_slots(views) | disputed_slots(views)


async def _watch(fleet: Asker, names: tuple[str, ...]) -> Views:
    """Look for three seconds; returns the last views, or raises Refused when slots are moving."""
    views = await _look(fleet, names)
    before, calls = views, await _calls(fleet, views)
    end, latest = now() + WATCH_SECONDS, now() + _MAX_WATCH_SECONDS
    moving = _doubtful(views)
    while now() < end:
        await asyncio.sleep(_LOOK_SECONDS)
        views = await _look(fleet, names)
        moved = await _calls(fleet, views)
        sent = any(moved[name] != calls[name] for name in moved.keys() & calls.keys())
        changed = marks(views) != marks(before)
        if sent or opened(before, views) or (changed and now() > latest):
            raise Refused(_moving(moving | open_slots(views)))
        if changed:
            # What a killed run did last spreads by gossip.
            before, calls, end = views, moved, now() + WATCH_SECONDS
    return views


async def _look(fleet: Asker, names: tuple[str, ...]) -> Views:
    observed = await survey(fleet, names)
    if observed.away:
        raise NodeFailed(*observed.away.values())
    return observed.views


async def _calls(fleet: Asker, views: Views) -> dict[str, str]:
    """Return how many MIGRATEs each node with open slots has run, where it says so."""
    found = {}
    for view in views.values():
        if view.me.moving and not view.me.replica:
            [reply] = await fleet.ask(view.name, _COMMANDS)
            fields = {} if isinstance(reply, Rejected) else parse_fields(text(reply))
            found[view.name] = fields.get("cmdstat_migrate", "").partition(",")[0]
    return found


async def _count(fleet: Asker, views: Views, slots: Slots) -> dict[str, dict[int, int]]:
    """Return the keys of `slots` at all primaries, in all databases."""

    async def keys(view: View) -> dict[int, int]:
        return await count_keys(fleet, replace(view, databases=await databases(fleet, view)), slots)

    primaries = [view for view in views.values() if not view.me.replica]
    found = await asyncio.gather(*map(keys, primaries))
    return {view.name: keys for view, keys in zip(primaries, found, strict=True)}


async def _compare(fleet: Asker, source: View, target: View, slots: Slots) -> None:
    """Raise Refused when a key has two values on both ends: a failover has brought one back."""
    for database in await databases(fleet, target):
        for slot in slots:
            listing = ("CLUSTER", "GETKEYSINSLOT", str(slot), str(_MAX_COMPARED))
            [reply] = await ask_in(fleet, target.name, database, listing)
            keys = [text(key) for key in reply] if isinstance(reply, list) else []
            asked: list[Command] = [("EXISTS", key) for key in keys]
            if not asked:
                continue
            # A source answers ASK for a key that it no longer has.
            replies = await ask_in(fleet, source.name, database, *asked)
            for key in (key for key, there in zip(keys, replies, strict=True) if there == 1):
                if not await same_value(fleet, source, target, database, key):
                    raise differing(source, target, database, key)


async def _until_ok(fleet: Asker, name: str) -> None:
    """Wait until a node answers clients, for some seconds: what is asked next says if it does not."""
    end = now() + _OK_SECONDS
    while now() < end:
        [reply] = await fleet.ask(name, CLUSTER_INFO)
        if parse_fields(text(reply)).get("cluster_state") == "ok":
            return
        await asyncio.sleep(_LOOK_SECONDS / 10)


def _moving(slots: Slots) -> Problem:
    named = f"slots {slots}" if len(slots.ranges) <= _MAX_RANGES_SHOWN else count(len(slots), "slot")
    return refusal(
        "slots-moving",
        f"somebody else is moving slots at this moment: {named} changed within {duration(WATCH_SECONDS)}.",
        hint="let the other tool end first, then run the same command again",
    )
