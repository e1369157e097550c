"""After a window of moved slots: all members agree on the new owner, and its replicas have what it got.

An OK to a command proves neither. MIGRATE deletes a key at the source as soon as the target has it, before
any replica of the target has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

from clusterboot.core.views import Seen, View, Views, number, parse_fields, parse_nodes
from clusterboot.errors import Exit, NodeFailed, Problem
from clusterboot.loop.observe import CLUSTER_NODES, REPLICATION, Asker, now, text
from clusterboot.slots import Slots
from clusterboot.wire.replies import Rejected, explain
from clusterboot.wording import count, duration

# Seconds between two looks: the first, and at most.
_POLL, _SLOW_POLL = 0.005, 0.1
# Seconds until members that still disagree are told again, and until the move ends with an error.
_AGAIN, _AGREE = 1.0, 30.0
# Seconds until a replica that gets no nearer to its primary ends the move.
_STALLED = 10.0

Tell = Callable[[str], Awaitable[None]]
"""Tells a member of the new owner once more."""


async def agreed(
    fleet: Asker, names: Iterable[str], target: View, slots: Slots, seen: Seen, tell: Tell | None = None
) -> None:
    """Wait until each of the members `names` says that `target` serves all of `slots`.

    After a second `tell` is called for each that does not. Raises NodeFailed when one does not answer, or
    still says otherwise after half a minute.
    """
    left, start, told, pause = list(names), now(), now(), _POLL
    while left := await _disagreeing(fleet, left, target, slots, seen):
        if now() - start > _AGREE:
            raise NodeFailed(_no_agreement(left[0], target, slots))
        if tell is not None and now() - told > _AGAIN:
            told = now()
            await asyncio.gather(*map(tell, left))
        await asyncio.sleep(pause)
        pause = min(2 * pause, _SLOW_POLL)


async def _disagreeing(
    fleet: Asker, names: Sequence[str], target: View, slots: Slots, seen: Seen
) -> list[str]:
    async def agrees(name: str) -> bool:
        [reply] = await fleet.ask(name, CLUSTER_NODES)
        if isinstance(reply, Rejected):
            raise NodeFailed(explain(reply, name, CLUSTER_NODES))
        try:
            peers = parse_nodes(text(reply), seen)
        except ValueError:
            return False
        owner = next((peer for peer in peers if peer.id == target.id), None)
        return owner is not None and not slots - owner.slots

    found = await asyncio.gather(*map(agrees, names))
    return [name for name, good in zip(names, found, strict=True) if not good]


def _no_agreement(name: str, target: View, slots: Slots) -> Problem:
    return Problem(
        "slots-disagree",
        f"{name} still does not say that {target.name} serves {_named(slots)}, {duration(_AGREE)} after they "
        "moved there.",
        name,
        target.name,
        f"check the bus connections of {name} with 'clusterboot status', then run the same command again",
        Exit.NODE,
    )


def _named(slots: Slots) -> str:
    return f"{count(len(slots), 'slot')} ({str(slots)[:40]})"


def replicas_of(target: View, views: Views) -> tuple[str, ...]:
    """Return the names of the replicas of `target` that were connected to it."""
    return tuple(
        view.name
        for view in views.values()
        if view.me.replica and view.me.primary == target.id and view.in_sync
    )


async def caught_up(fleet: Asker, target: View, replicas: Sequence[str]) -> float:
    """Wait until `replicas` have everything that `target` has written so far; returns the seconds.

    Asks the replicas: a primary hears of their offsets only once a second. Raises NodeFailed when one does
    not answer, is no replica any more, or gets no nearer for ten seconds.
    """
    if not replicas:
        return 0.0
    start = now()
    fields = await _replication(fleet, target.name)
    if fields.get("role") != "master":
        raise NodeFailed(_changed(target.name, "a primary"))
    wanted = number(fields.get("master_repl_offset", ""))

    async def follow(name: str) -> None:
        best, since, pause = -1, now(), _POLL
        while True:
            fields = await _replication(fleet, name)
            if fields.get("role") != "slave":
                raise NodeFailed(_changed(name, "a replica"))
            # What a replica has got of a primary that it is not connected to says nothing.
            linked = fields.get("master_link_status") == "up"
            offset = number(fields.get("slave_repl_offset", "")) if linked else -1
            if offset >= wanted:
                return
            if offset > best:
                best, since = offset, now()
            if now() - since > _STALLED:
                raise NodeFailed(_lagging(name, target.name))
            await asyncio.sleep(pause)
            pause = min(2 * pause, _SLOW_POLL)

    await asyncio.gather(*map(follow, replicas))
    return now() - start


async def _replication(fleet: Asker, name: str) -> dict[str, str]:
    [reply] = await fleet.ask(name, REPLICATION)
    if isinstance(reply, Rejected):
        raise NodeFailed(explain(reply, name, REPLICATION))
    return parse_fields(text(reply))


def _changed(name: str, role: str) -> Problem:
    return Problem(
        "role-changed",
        f"{name} is not {role} any more: its role has changed while slots moved.",
        name,
        hint="run the same command again: it goes on from what it finds",
        exit=Exit.NODE,
    )


def _lagging(name: str, primary: str) -> Problem:
    return Problem(
        "replica-lags",
        f"{name} has not received what its primary {primary} got from moved slots, for {duration(_STALLED)}.",
        name,
        primary,
        f"check the link and the load of {name}, then run the same command again",
        Exit.NODE,
    )
