"""Members that leave: forgotten by all nodes, then reset, and watched until nothing brings them back.

A forgotten node that still runs comes back: on Valkey 9.1 within a second, because it meets whoever has no
link to it (valkey#2788). One that is reset first stays as a ghost in the views of who knew it. So all nodes
forget all ids in one go, under the ban of 60 s, and the resets follow: HARD, for a new id.

One loop does it: look, forget what is still listed, reset what is still in a cluster. So it finishes what a
killed run has left, and what came back because a node was stopped in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from clusterboot.core.steps import Forget, Reset
from clusterboot.core.views import Peer, View, Views
from clusterboot.errors import NodeFailed, Problem, Refused, refusal
from clusterboot.loop.act import Actor
from clusterboot.loop.observe import Asker, now, survey
from clusterboot.wire.replies import Command, Reply
from clusterboot.wording import count, duration, shortened

_PAUSE = 0.1
# Seconds without any trace of who has left. Whatever comes back does so within a second: see above.
_QUIET_SECONDS = 2.0
# Max seconds until then, within the ban of 60 s.
_MAX_SECONDS = 50.0
# How long the replicas of a leaving primary are ahead of it, at most, in seconds.
_AHEAD_SECONDS = 0.5
# Clients that still ask who leaves connect again elsewhere; of a reset node they would hear CLUSTERDOWN.
_SEND_AWAY: Command = ("CLIENT", "KILL", "TYPE", "normal")
_MYID: Command = ("CLUSTER", "MYID")


@dataclass(frozen=True, slots=True)
class Leavers:
    """Who leaves: the ids of members that answer, by node name, and of dead ones, by the name to show."""

    living: Mapping[str, str]
    dead: Mapping[str, str]


async def retire(fleet: Asker, actor: Actor, staying: Sequence[str], leaving: Leavers) -> tuple[str, ...]:
    """Let all members forget those that leave, and reset these; returns the names of who has left.

    `staying` are the names of all members that stay. A node of `leaving.living` that has another id was reset
    by an earlier run: its old id is forgotten, and it is left alone. Raises Refused, and changes nothing,
    when one that leaves has slots, keys or replicas that stay, or is in another cluster; NodeFailed when a
    node does not answer, refuses, or keeps coming back.
    """
    observed = await survey(fleet, (*staying, *leaving.living))
    if observed.away:
        raise NodeFailed(*observed.away.values())
    if problems := _problems(staying, leaving, observed.views):
        raise Refused(*problems)
    names = {node_id: name for each in (leaving.dead, leaving.living) for name, node_id in each.items()}
    ours = {name: view_id for name, view_id in leaving.living.items() if observed.views[name].id == view_id}
    start = quiet = now()
    while True:
        why = next((problem.message for problem in observed.away.values()), None)
        why = why or _trace(staying, ours, names, observed.views)
        if why is None and now() - quiet >= _QUIET_SECONDS:
            return (*leaving.living, *leaving.dead)
        if why is not None:
            if now() - start >= _MAX_SECONDS:
                raise _came_back(why)
            views = observed.views
            await _forget(actor, views, staying, ours, names)
            members = {name: ours[name] for name in ours if name in views and not _alone(views[name])}
            for name, fresh in (await _reset(fleet, actor, members, views)).items():
                ours[name] = fresh
                names[fresh] = name
            quiet = now()
        await asyncio.sleep(_PAUSE)
        observed = await survey(fleet, (*staying, *ours))


def _came_back(why: str) -> NodeFailed:
    return NodeFailed.of(
        "not-gone",
        f"{why.removesuffix('.')}, {duration(_MAX_SECONDS)} after all nodes were told to forget who leaves.",
        hint="stop the process of the node that leaves, then run the same command again",
    )


def _problems(staying: Sequence[str], leaving: Leavers, views: Views) -> list[Problem]:
    """Return everything that forbids to let them go."""
    problems = []
    for name, node_id in (*leaving.living.items(), *leaving.dead.items()):
        if owners := [teller for teller in views if _serves(views[teller].knows(node_id))]:
            message = f"{name} cannot leave: it has slots by the view of {shortened(owners)}."
            hint = "run the same command again: it moves what is left first"
            problems.append(refusal("still-has-slots", message, node=name, hint=hint))
        if followers := [other for other in staying if views[other].me.primary == node_id]:
            message = f"{name} cannot leave: {shortened(followers)} still replicates it."
            hint = "run the same command again: it gives the replica another primary first"
            problems.append(refusal("still-followed", message, node=name, hint=hint))
    members = {views[name].id for name in staying}
    for name, node_id in leaving.living.items():
        view = views[name]
        if view.id != node_id or _alone(view):
            continue
        if view.keys and not view.me.replica:
            message = f"{name} cannot leave: it has no slots, but still {count(view.keys, 'key')}."
            hint = "no client finds these keys: look at them; if nobody needs them, run FLUSHALL there"
            problems.append(refusal("has-keys", message, node=name, hint=hint))
        if members.isdisjoint(peer.id for peer in view.peers):
            message = f"{name} is no member of this cluster: it knows none of the nodes that stay."
            problems.append(refusal("not-a-member", message, node=name, hint="delete it under 'retire'"))
    return problems


def _serves(peer: Peer | None) -> bool:
    return peer is not None and bool(peer.slots or peer.moving)


def _alone(view: View) -> bool:
    return len(view.peers) == 1 and not view.me.slots


def _trace(
    staying: Sequence[str], ours: Mapping[str, str], names: Mapping[str, str], views: Views
) -> str | None:
    """Return a sentence about a trace of who leaves, or None."""
    for teller in staying:
        for peer in views[teller].peers:
            if peer.id in names:
                return f"{teller} lists {names[peer.id]}"
            if peer.handshake:
                return f"{teller} is shaking hands with {peer.address}"
    return next((f"{name} knows other nodes" for name in ours if not _alone(views[name])), None)


async def _forget(
    actor: Actor, views: Views, staying: Sequence[str], ours: Iterable[str], names: Mapping[str, str]
) -> None:
    """Let each node forget the ids of those that leave; raises NodeFailed when one that stays does not."""
    steps = [
        Forget(name, peer, node_id)
        for name in (*staying, *ours)
        for node_id, peer in names.items()
        # A node cannot forget itself nor its primary, which leaves with it.
        if name in views
        and views[name].knows(node_id) is not None
        and node_id not in (views[name].id, views[name].me.primary)
    ]
    await actor.send(steps, views)
    failures = {actor.failures[name]: None for name in staying if name in actor.failures}
    if failures:
        raise NodeFailed(*failures)


async def _reset(fleet: Asker, actor: Actor, ids: Mapping[str, str], views: Views) -> dict[str, str]:
    """Reset the nodes that have these ids, and return the new ids of those that took it.

    Replicas first: their data is that of a shard without slots, so it takes no time. Who does not answer is
    tried again after the next look. Raises NodeFailed when one refuses.
    """
    fresh: dict[str, str] = {}

    async def reset(name: str) -> None:
        # Another process may have taken its address since the look.
        if await _id(fleet, name) == ids[name]:
            with suppress(NodeFailed):  # the next look tells
                await fleet.ask(name, _SEND_AWAY)  # where the user may not, clients find out by themselves
            await actor.send([Reset(name, ids[name])], views)
            mine = await _id(fleet, name)
            if mine not in (None, ids[name]):
                fresh[name] = str(mine)

    below = [name for name in ids if views[name].me.primary in ids.values()]
    first = [asyncio.ensure_future(reset(name)) for name in below]
    if first:
        await asyncio.wait(first, timeout=_AHEAD_SECONDS)
    await asyncio.gather(*first, *(reset(name) for name in ids if name not in below))
    return fresh


async def _id(fleet: Asker, name: str) -> Reply:
    """Return the id of a node, or None where it does not answer: the next look tells."""
    try:
        return (await fleet.ask(name, _MYID))[0]
    except NodeFailed:
        return None
