"""Measuring moves before the first one: how many keys, by which method, and everything that forbids them.

Reads only, and probes for permission that servers refuse: a dry run does the same.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clusterboot.core import travel
from clusterboot.core.open_slots import open_slots
from clusterboot.core.results import Transfer
from clusterboot.core.steps import MoveSlots
from clusterboot.core.views import View, Views, number
from clusterboot.errors import NodeFailed, Problem, refusal
from clusterboot.loop.act import forbidden
from clusterboot.loop.observe import Asker, survey
from clusterboot.rebalance import functions
from clusterboot.rebalance.big_keys import Progress, too_big
from clusterboot.rebalance.counting import count_keys
from clusterboot.slots import NONE, Slots, union
from clusterboot.wire.replies import Command, Rejected, explain

# Seconds until keys where none should be are looked for once more.
_AGAIN_SECONDS = 1.0
# What each method sends, to the source and to the target; `act.probe` has harmless arguments.
_SENT: Mapping[str, tuple[tuple[Command, ...], tuple[Command, ...]]] = {
    "atomic": (
        (("CLUSTER", "MIGRATESLOTS"), ("CLUSTER", "GETSLOTMIGRATIONS")),
        (("CLUSTER", "GETSLOTMIGRATIONS"),),
    ),
    "copy": (
        (("CLUSTER", "SETSLOT"), ("CLUSTER", "GETKEYSINSLOT"), ("MIGRATE",)),
        (("CLUSTER", "SETSLOT"), ("RESTORE-ASKING",)),
    ),
}


@dataclass(frozen=True, slots=True)
class Measured:
    """What would move: a transfer for each step, and the problems that forbid moving anything."""

    transfers: tuple[Transfer, ...]
    problems: tuple[Problem, ...]


async def measure(
    fleet: Asker, steps: Sequence[MoveSlots], views: Views, progress: Progress = lambda looked: None
) -> Measured:
    """Return what the steps would move, and why not. `progress` gets the number of keys whose size was read.

    A problem is a refusal, or that a node does not answer or refuses a command that is needed.
    """
    pairs = sorted({(step.node, step.peer) for step in steps})
    leaving = {name: union(step.slots for step in steps if step.node == name) for name, _ in pairs}
    coming = {name: union(step.slots for step in steps if step.peer == name) for _, name in pairs}
    problems = [each for source, target in pairs if (each := travel.cannot(views[source], views[target]))]
    if problems:
        return Measured((), tuple(problems))
    try:
        problems = await forbidden(fleet, _commands(pairs, views))
        if problems:
            return Measured((), tuple(problems))
        counts = dict(zip(leaving, await _each(fleet, views, leaving), strict=True))
        transfers = tuple(_transfer(step, counts[step.node], views) for step in steps)
        problems += _too_little_memory(transfers, views)
        problems += await _keys_elsewhere(fleet, coming, steps, views)
        for found in await asyncio.gather(*(_databases(fleet, views[s], views[t]) for s, t in pairs)):
            problems += found
        problems += await _functions(fleet, pairs, views)
        timeout = min(view.node_timeout for view in views.values())
        copied = {each.step.node: leaving[each.step.node] for each in transfers if each.method == "copy"}
        for name, slots in copied.items():
            problems += await too_big(fleet, views[name], slots, counts[name], timeout, progress)
    except NodeFailed as failed:
        return Measured((), failed.problems)
    return Measured(transfers, tuple(problems))


def _commands(pairs: Sequence[tuple[str, str]], views: Views) -> list[tuple[str, Command]]:
    found: list[tuple[str, Command]] = []
    for source, target in pairs:
        from_source, to_target = _SENT[travel.method(views[source], views[target])]
        found += [(source, command) for command in (("CLUSTER", "COUNTKEYSINSLOT"), *from_source)]
        found += [(target, command) for command in (("CLUSTER", "COUNTKEYSINSLOT"), *to_target)]
    return found


async def _each(fleet: Asker, views: Views, wanted: Mapping[str, Slots]) -> list[dict[int, int]]:
    return await asyncio.gather(*(count_keys(fleet, views[name], slots) for name, slots in wanted.items()))


def _transfer(step: MoveSlots, counts: Mapping[int, int], views: Views) -> Transfer:
    keys = sum(counts.get(slot, 0) for slot in step.slots)
    return Transfer(step, keys, travel.method(views[step.node], views[step.peer]))


def _too_little_memory(transfers: Sequence[Transfer], views: Views) -> list[Problem]:
    """Return a refusal for every target that would have more data than it may."""
    more: dict[str, float] = defaultdict(float)
    for each in transfers:
        source = views[each.step.node]
        dataset = number(source.info.get("used_memory_dataset", ""))
        share = max(each.keys / max(source.keys, 1), len(each.step.slots) / max(len(source.me.slots), 1))
        # Slots without any keys bring nothing.
        more[each.step.peer] += dataset * min(share, 1.0) if source.keys else 0
    problems = []
    for name, extra in more.items():
        used, most = (number(views[name].info.get(key, "")) for key in ("used_memory", "maxmemory"))
        if most and used + extra > most:
            problems.append(
                refusal(
                    "too-little-memory",
                    f"{name} would use about {_mb(used + extra)} of memory once the slots are there, and its "
                    f"maxmemory is {_mb(most)}.",
                    name,
                    hint=f"raise maxmemory on {name}, or give it fewer slots (weight in the topology)",
                )
            )
    return problems


def _mb(size: float) -> str:
    return f"{size / 1e6:,.0f} MB"


async def _keys_elsewhere(
    fleet: Asker, coming: Mapping[str, Slots], steps: Sequence[MoveSlots], views: Views
) -> list[Problem]:
    """Return a refusal for each target with keys in slots that it does not serve.

    Open slots are left out: `open_slots` decides on their keys first, and they may be the only copies.
    """
    problems = []
    stray = await _stray(fleet, coming, views)
    if any(stray.values()):
        # Nodes are not read at the same moment: somebody may be moving these slots.
        await asyncio.sleep(_AGAIN_SECONDS)
        observed = await survey(fleet, views)
        again = await _stray(fleet, coming, observed.views) if not observed.away else {}
        stray = {name: slots & again.get(name, NONE) for name, slots in stray.items()}
    for name, slots in stray.items():
        if odd := sorted(slots):
            source = next(step.node for step in steps if step.peer == name and odd[0] in step.slots)
            problems.append(
                refusal(
                    "keys-elsewhere",
                    f"{name} holds keys in slot {odd[0]}, which {source} serves: they would come back to "
                    "life when the slot moves, or stand in its way.",
                    name,
                    source,
                    f"'CLUSTER GETKEYSINSLOT {odd[0]} 10' on {name} and on {source} shows them: what "
                    f"{source} has too, delete on {name}, after 'CLUSTER SETSLOT {odd[0]} IMPORTING "
                    f"{views[source].id}' and with ASKING before each DEL; the rest may be the only copies",
                )
            )
    return problems


async def _stray(fleet: Asker, coming: Mapping[str, Slots], views: Views) -> dict[str, Slots]:
    """Return the slots of `coming` whose keys nodes hold that do not serve them, and that nobody moves."""
    counts = await _each(fleet, views, coming)
    opened = open_slots(views)
    return {
        name: Slots.of((slot, slot) for slot in found) - opened - views[name].me.slots
        for name, found in zip(coming, counts, strict=True)
    }


async def _databases(fleet: Asker, source: View, target: View) -> list[Problem]:
    """Return a refusal if `target` lacks a database in which `source` has keys."""
    databases = [database for database, keys in source.databases.items() if database and keys]
    select: list[Command] = [("SELECT", str(database)) for database in databases]
    if not select:
        return []
    replies = await fleet.ask(target.name, *select, ("SELECT", "0"))
    for database, command, reply in zip(databases, select, replies, strict=False):
        if isinstance(reply, Rejected) and reply.refuses_permission:
            raise NodeFailed(explain(reply, target.name, command))
        if isinstance(reply, Rejected):
            return [_no_database(source, target, database, reply)]
    return []


async def _functions(fleet: Asker, pairs: Sequence[tuple[str, str]], views: Views) -> list[Problem]:
    """Return what forbids that each target gets the functions of its sources."""
    names = sorted({name for pair in pairs for name in pair})
    found = await asyncio.gather(*(functions.libraries(fleet, views[name]) for name in names))
    has = dict(zip(names, found, strict=True))
    problems: list[Problem] = []
    load: list[tuple[str, Command]] = []
    for target in sorted({target for _, target in pairs}):
        # Sources must agree too: what one of them brings would be in the way of another.
        holders = [target, *(source for source, its in pairs if its == target)]
        for place, name in enumerate(holders):
            for other in holders[:place]:
                problems += functions.conflicts(views[name], has[name], views[other], has[other])
            if functions.missing(has[name], has[target]):
                load.append((target, ("FUNCTION", "LOAD")))
    return [*problems, *await forbidden(fleet, load)]


def _no_database(source: View, target: View, database: int, reply: str) -> Problem:
    return refusal(
        "too-few-databases",
        f"{source.name} has keys in database {database}, which {target.name} does not have: {reply}",
        source.name,
        target.name,
        f"set cluster-databases on {target.name} to {database + 1} or more, and restart it",
    )
