"""Members that leave: forgotten by all nodes, then reset, then watched until nothing brings them back.

A node that is forgotten and still runs comes back: on Valkey 9.1 within two seconds, since it meets whoever
has no link to it (valkey#2788). One that is reset first is a ghost in the views of those that know its old
id. So all forget all in one go, which the ban of 60 s keeps, and the resets follow at once. HARD: a new id.

Nothing is stored. A run that was killed in between is finished by the same call, since each node gets only
what it still lacks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from clusterboot.core.steps import Forget, Reset
from clusterboot.core.views import View, Views
from clusterboot.errors import NodeFailed, Problem, Refused, refusal
from clusterboot.loop.act import Actor
from clusterboot.loop.observe import Asker, Observed, now, survey
from clusterboot.wording import count, duration, shortened

_PAUSE = 0.1
# Seconds without any trace of who has left, until nothing can bring it back.
_QUIET_SECONDS = 3.0
# Max seconds until then.
_WATCH_SECONDS = 60.0
_MYID = ("CLUSTER", "MYID")


@dataclass(frozen=True, slots=True)
class Leavers:
    """Who leaves: the ids of members that answer, by node name, and of dead ones, by the name to show."""

    living: Mapping[str, str]
    dead: Mapping[str, str]

    @property
    def ids(self) -> dict[str, str]:
        """All ids, with the name of each."""
        return {node_id: name for names in (self.living, self.dead) for name, node_id in names.items()}


async def retire(fleet: Asker, actor: Actor, staying: Sequence[str], leaving: Leavers) -> tuple[str, ...]:
    """Let all members forget those that leave, and reset these; returns the names of who has left.

    `staying` are the names of all members that stay. A node of `leaving.living` that has another id by now
    was reset by an earlier run, and is only forgotten. Raises Refused, and changes nothing, when one that
    leaves still has slots, keys or replicas; NodeFailed when a node does not answer, refuses, or comes back.
    """
    observed = await survey(fleet, (*staying, *leaving.living))
    if observed.away:
        raise NodeFailed(*observed.away.values())
    views = observed.views
    if problems := _problems(staying, leaving, views):
        raise Refused(*problems)
    members = {name: node_id for name, node_id in leaving.living.items() if views[name].id == node_id}
    await _forget(actor, views, (*staying, *members), leaving)
    # Replicas first: they would look for another primary. Their data is that of a shard without slots.
    below = [name for name in members if views[name].me.primary in members.values()]
    for names in (below, [name for name in members if name not in below]):
        await _reset(fleet, actor, {name: members[name] for name in names}, views)
    await _watch(fleet, actor, staying, leaving, tuple(members))
    return (*leaving.living, *leaving.dead)


def _problems(staying: Sequence[str], leaving: Leavers, views: Views) -> list[Problem]:
    """Return everything that forbids to let them go."""
    problems = []
    for node_id, name in leaving.ids.items():
        seen = {teller: peer for teller in views if (peer := views[teller].knows(node_id)) is not None}
        owners = [teller for teller, peer in seen.items() if peer.slots or peer.moving]
        if owners:
            problems.append(
                refusal(
                    "still-has-slots",
                    f"{name} cannot leave: it still has slots by the view of {shortened(owners)}.",
                    node=name,
                    hint="run the same command again: it moves what is left first",
                )
            )
        followers = [other for other in staying if views[other].me.primary == node_id]
        if followers:
            problems.append(
                refusal(
                    "still-followed",
                    f"{name} cannot leave: {shortened(followers)} still replicates it.",
                    node=name,
                    hint="run the same command again: it gives them another primary first",
                )
            )
    for name, node_id in leaving.living.items():
        view = views[name]
        if view.id == node_id and view.keys and not view.me.replica:
            problems.append(
                refusal(
                    "has-keys",
                    f"{name} cannot leave: it has no slots, but still {count(view.keys, 'key')}.",
                    node=name,
                    hint="no client finds these keys: look at them; if nobody needs them, run FLUSHALL there",
                )
            )
    return problems


async def _forget(actor: Actor, views: Views, names: Iterable[str], leaving: Leavers) -> None:
    """Let each of `names` forget whom it still lists of those that leave; NodeFailed when one does not."""
    steps = [
        Forget(name, peer, node_id)
        for name in names
        for node_id, peer in leaving.ids.items()
        # A node cannot forget itself nor its primary, which leaves with it.
        if views[name].knows(node_id) is not None and node_id not in (views[name].id, views[name].me.primary)
    ]
    await actor.send(steps, views)
    failures = [actor.failures[step.node] for step in steps if step.node in actor.failures]
    if failures:
        raise NodeFailed(*dict.fromkeys(failures))


async def _reset(fleet: Asker, actor: Actor, ids: Mapping[str, str], views: Views) -> None:
    """Reset the nodes that have these ids; NodeFailed if one does not answer or refuses."""

    async def reset(name: str, node_id: str) -> None:
        # Another process may have taken its address in the meantime.
        (mine,) = await fleet.ask(name, _MYID)
        if mine == node_id:
            await actor.send([Reset(name, node_id)], views)
            if name in actor.failures:
                raise NodeFailed(actor.failures[name])

    results = await asyncio.gather(*(reset(*each) for each in ids.items()), return_exceptions=True)
    failures = [each for each in results if isinstance(each, NodeFailed)]
    for each in results:
        if isinstance(each, BaseException) and not isinstance(each, NodeFailed):
            raise each
    if failures:
        raise NodeFailed(*(problem for failed in failures for problem in failed.problems))


async def _watch(
    fleet: Asker, actor: Actor, staying: Sequence[str], leaving: Leavers, reset: Sequence[str]
) -> None:
    """Wait until no trace of who has left comes back any more; who comes back is forgotten again."""
    quiet = until = now()
    until += _WATCH_SECONDS
    while now() < quiet + _QUIET_SECONDS:
        observed = await survey(fleet, (*staying, *reset))
        back = _traces(observed, staying, leaving, reset)
        if back:
            quiet = now()
            if quiet >= until:
                raise NodeFailed.of(
                    "came-back",
                    f"{back} {duration(_WATCH_SECONDS)} after all nodes were told to forget it.",
                    hint="stop its process, then run the same command again",
                )
            await _forget(actor, observed.views, [n for n in staying if n in observed.views], leaving)
        await asyncio.sleep(_PAUSE)


def _traces(observed: Observed, staying: Sequence[str], leaving: Leavers, reset: Sequence[str]) -> str | None:
    """Return a sentence about who is still listed, or a node that is still in a cluster; or None."""
    for problem in observed.away.values():
        return problem.message.removesuffix(".")
    fresh = {observed.views[name].id: name for name in reset}
    names = {**leaving.ids, **fresh}
    for teller in staying:
        for peer in observed.views[teller].peers:
            if peer.id in names:
                return f"{teller} lists {names[peer.id]}"
            if peer.handshake:
                return f"{teller} is shaking hands with {peer.address}"
    for name in reset:
        if not _alone(observed.views[name]):
            return f"{name} knows other nodes"
    return None


def _alone(view: View) -> bool:
    return len(view.peers) == 1 and not view.me.slots
