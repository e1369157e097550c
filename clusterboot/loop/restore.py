"""Restoring what a boost has lowered, from the marks in the nodes alone: after a run, and after a killed one.

With a low timeout a replica that may be elected replaces a slow primary. So restoring waits briefly for calm,
then restores the timeouts, then the rest of each node in one step; for a replica, once no node finds its
primary failing. A primary still failing after twice its timeout is dead, and a failover is right.

Elections that were held (`core.borrowed`) wait for the sync of their node too, for as long at most.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from clusterboot.core.borrowed import kept, marked_again, restored, waits_for_sync
from clusterboot.core.timers import TIMEOUT, Settings, timeout_to_restore
from clusterboot.core.views import Peer, number, parse_fields, parse_nodes
from clusterboot.errors import NodeFailed
from clusterboot.loop.configure import Configurator
from clusterboot.loop.observe import CLUSTER_INFO, CLUSTER_NODES, REPLICATION, Asker, now, text
from clusterboot.wire.replies import Command, Reply

# Max seconds of waiting for calm while timers are low.
CALM_SECONDS = 1.5
_MIN_PAUSE, _MAX_PAUSE = 0.1, 1.0
# Max seconds for an answer, and for one of a node that was silent the last time.
_ANSWER_SECONDS, _SILENT_SECONDS = 1.0, 0.3
# How many nodes answer in a second on a busy machine, and the pause after each round for as many.
_ANSWERS_PER_SECOND, _NODES_PER_PAUSE = 200, 500
_FAILING = frozenset({"fail", "fail?"})


@dataclass(frozen=True, slots=True)
class _State:
    """What a node said: its settings, whether no slots fail by its view, and its peers if asked for.

    `synced`: its link to its primary is up, or it is a primary, or it does not say.
    """

    settings: Settings
    synced: bool
    calm: bool
    peers: tuple[Peer, ...]

    @property
    def own(self) -> Settings | None:
        return kept(self.settings)

    @property
    def me(self) -> Peer | None:
        return next((peer for peer in self.peers if peer.myself), None)


class Restoring:
    """One attempt to restore all nodes of a fleet that are marked.

    `restored` are the nodes that have their own values again, `left` the others, with the reason; both hold
    at any time, also after `run` was cancelled. `waited` says that not all was calm.
    """

    def __init__(
        self, fleet: Asker, names: Iterable[str], lowered: Mapping[str, Settings] | None = None
    ) -> None:
        """Take the own values of the nodes that this run has `lowered`, whose marks may be gone by now."""
        self._lowered = dict(lowered or {})
        self._configure = Configurator(fleet)
        self._names = tuple(names)
        self._seconds = max(_ANSWER_SECONDS, len(self._names) / _ANSWERS_PER_SECOND)
        self._pause = max(_MIN_PAUSE, len(self._names) / _NODES_PER_PAUSE)
        self._states: dict[str, _State] = {}
        self._silent: dict[str, str] = {}
        self._refused: dict[str, str] = {}
        self._looked = False
        self.waited = False
        self.restored: list[str] = []

    @property
    def left(self) -> dict[str, str]:
        """The nodes that are not known to be restored, with the reason."""
        why = "a primary is failing or was failing just before" if self._looked else "there was no time"
        unsynced = {name: f"the sync of {name} is not done" for name in self._unsynced()}
        owed = {name: self._refused.get(name, unsynced.get(name, why)) for name in self._owed()}
        return {**owed, **(self._silent if self._looked else dict.fromkeys(self._names, why))}

    async def run(self, *, calm: float = CALM_SECONDS, linger: float = 0.0) -> None:
        """Restore all that is marked; ends when nothing is left, or when more waiting would not help.

        Waits up to `calm` seconds for calm before it restores timeouts. Tries again after a failure for twice
        the longest timeout, and nodes that do not answer for at least `linger` seconds. Raises nothing.
        """
        start = now()
        await self._look(self._names)
        while self._owed() and not self._calm() and now() - start < calm:
            self.waited = True
            await asyncio.sleep(self._pause)
            await self._look(self._names)
        over = None
        pause = self._pause
        while self._owed() or self._silent:
            await self._restore(self._names, timeout_to_restore)
            # Servers clear the fail flag of a primary after twice the timeout (clearNodeFailureIfNeeded).
            over = over or now() + 2 * self._longest() + 1.0
            if self._owed():
                await self._look(self._names, views=not self._calm())
            free = self._names if now() >= over else self._unthreatened()
            await self._restore(free, restored)
            if now() >= over and not (self._silent and now() < start + linger):
                return
            if self._owed() or self._silent:
                self.waited = True
                # Once only silent nodes are left, they alone are asked, more and more rarely.
                pause = self._pause if self._owed() else min(1.5 * pause, _MAX_PAUSE)
                await asyncio.sleep(pause)
                await self._look(self._names if self._owed() else tuple(self._silent))

    def _owed(self) -> list[str]:
        lowered = self._lowered.keys() - set(self.restored)
        return [name for name, state in self._states.items() if state.own is not None or name in lowered]

    def _longest(self) -> float:
        """The longest own timeout of a marked node, in seconds."""
        owns = [{**state.settings, **state.own} for state in self._states.values() if state.own is not None]
        return max([number(own.get(TIMEOUT, "")) / 1000 for own in owns], default=0.0)

    def _calm(self) -> bool:
        return not self._silent and all(state.calm for state in self._states.values())

    def _unthreatened(self) -> Collection[str]:
        """The nodes whose elections may be restored: not without its data, nor below a failing primary."""
        unsynced = self._unsynced()
        if all(state.calm for state in self._states.values()):
            return [name for name in self._names if name not in unsynced]
        failing = {
            peer.id for state in self._states.values() for peer in state.peers if peer.flags & _FAILING
        }
        return [
            name
            for name, state in self._states.items()
            if name not in unsynced
            if state.me is not None and not (state.me.replica and state.me.primary in failing)
        ]

    def _unsynced(self) -> set[str]:
        """The nodes whose elections are held, and that do not have the data of their shard yet."""
        return {
            name
            for name, state in self._states.items()
            if waits_for_sync(state.settings) and not state.synced
        }

    async def _look(self, names: Iterable[str], *, views: bool = False) -> None:
        """Ask nodes for their settings and whether anything fails; `views` asks for CLUSTER NODES too."""
        more: tuple[Command, ...] = (REPLICATION, CLUSTER_INFO, *((CLUSTER_NODES,) if views else ()))

        async def look(name: str) -> None:
            seconds = _SILENT_SECONDS if name in self._silent else self._seconds
            try:
                async with asyncio.timeout(seconds):
                    settings, (replication, *replies) = await self._configure.read(name, *more)
                self._states[name] = _State(settings, _synced(replication), *_health(replies))
                self._silent.pop(name, None)
            except NodeFailed as failed:
                self._fell_silent(name, failed.problems[0].message.removesuffix("."))
            except TimeoutError:
                self._fell_silent(name, f"{name} does not answer")

        await asyncio.gather(*map(look, names))
        self._looked = True
        known = self._lowered.keys() & self._states.keys() - set(self.restored)
        lost = {name: self._lowered[name] for name in known if self._states[name].own is None}
        await self._put({name: marked_again(own, self._states[name].settings) for name, own in lost.items()})
        # Nodes without any lowered value, as after a restart, need nothing.
        for name, own in lost.items():
            settings = self._states[name].settings
            if name not in self.restored and kept(settings) is None and not marked_again(own, settings):
                self.restored.append(name)

    def _fell_silent(self, name: str, why: str) -> None:
        self._silent[name] = why
        # It may have been restarted.
        self._states.pop(name, None)

    async def _restore(self, names: Iterable[str], due: Callable[[Settings], Settings]) -> None:
        await self._put({name: due(self._states[name].settings) for name in names if name in self._states})

    async def _put(self, wanted: Mapping[str, Settings]) -> None:
        async def put(name: str, own: Settings) -> None:
            try:
                async with asyncio.timeout(self._seconds):
                    settings, refused = await self._configure.put(name, own)
            except (NodeFailed, TimeoutError):
                return  # the next look tells
            if refused is not None:
                self._refused[name] = refused
            self._states[name] = replace(self._states[name], settings=settings)
            if kept(settings) is None and refused is None:
                self.restored.append(name)

        await asyncio.gather(*(put(name, own) for name, own in wanted.items() if own))


def _synced(reply: Reply) -> bool:
    return parse_fields(text(reply)).get("master_link_status", "up") == "up"


def _health(replies: list[Reply]) -> tuple[bool, tuple[Peer, ...]]:
    """Return whether no slots fail by the view of a node, and its view; an unknown state is no calm."""
    fields = parse_fields(text(replies[0]))
    calm = "cluster_state" in fields and all(
        fields.get(f"cluster_slots_{what}", "0") == "0" for what in ("pfail", "fail")
    )
    try:
        return calm, parse_nodes("".join(map(text, replies[1:])))
    except ValueError:
        return calm, ()
