"""Restoring what a boost has lowered, from the marks in the nodes alone: after a run, and after a killed one.

First timeouts, and elections last: a low timeout takes a node that stalls for failed, and a replica that
may be elected then takes over from a primary that is merely slow. So calm is waited for while timers are
still low, for a moment; then the timeouts are restored; then each node gets the rest in one step, a
replica as soon as no node finds its primary failing. A primary that is still failing after twice its
timeout is dead, and is rightly failed over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from clusterboot.core.timers import TIMEOUT, kept, marked_again, restored, timeout_to_restore
from clusterboot.core.views import Peer, number, parse_fields, parse_nodes
from clusterboot.errors import NodeFailed
from clusterboot.loop.configure import Configurator
from clusterboot.loop.observe import CLUSTER_INFO, CLUSTER_NODES, Asker
from clusterboot.wire.replies import Command, Reply

# How long calm is waited for while timers are low, in seconds.
CALM_SECONDS = 1.5
_PAUSE, _LONGEST_PAUSE = 0.1, 1.0
# How long a node has for an answer; one that was silent last time holds up the others no longer than that.
_ANSWER, _SILENT = 1.0, 0.3
_NODES_PER_SECOND = 200  # that answer on a busy machine
_FAILING = frozenset({"fail", "fail?"})


@dataclass(frozen=True, slots=True)
class _State:
    """What a node said: its settings, whether it finds slots failing, its view where that was asked for."""

    now: Mapping[str, str]
    calm: bool
    peers: tuple[Peer, ...]

    @property
    def own(self) -> Mapping[str, str] | None:
        return kept(self.now)

    @property
    def me(self) -> Peer | None:
        return next((peer for peer in self.peers if peer.myself), None)


class Restoring:
    """One attempt to restore all nodes of a fleet that are marked.

    `restored` are the nodes that have their own values again, `left` those that have not, with the reason:
    both are true at any moment, also when `run` was cancelled. `waited` tells that not all was calm.
    """

    def __init__(
        self, fleet: Asker, names: Iterable[str], lowered: Mapping[str, Mapping[str, str]] | None = None
    ) -> None:
        """Take the own values of the nodes that this run has `lowered`: marks may be gone by now."""
        self._lowered = dict(lowered or {})
        self._configure = Configurator(fleet)
        self._names = tuple(names)
        self._seconds = max(_ANSWER, len(self._names) / _NODES_PER_SECOND)
        self._pause = max(_PAUSE, len(self._names) / 500)
        self._states: dict[str, _State] = {}
        self._silent: dict[str, str] = {}
        self._refused: dict[str, str] = {}
        self._looked = False
        self.waited = False
        self.restored: list[str] = []

    @property
    def left(self) -> dict[str, str]:
        """The nodes that are not restored as far as known, with why; those that are silent may be."""
        why = "a primary is failing or was a moment ago" if self._looked else "there was no time"
        owed = {name: self._refused.get(name, why) for name in self._owed()}
        return {**owed, **(self._silent if self._looked else dict.fromkeys(self._names, why))}

    async def run(self, *, calm: float = CALM_SECONDS, linger: float = 0.0) -> None:
        """Restore all that is marked; ends when nothing is left, or when waiting on would be of no use.

        Waits up to `calm` seconds for calm before timeouts are restored. What fails is tried again for twice
        the longest timeout, and nodes that do not answer for `linger` seconds at least. Raises nothing.
        """
        clock = asyncio.get_running_loop().time
        start = clock()
        await self._look(self._names)
        while self._owed() and not self._calm() and clock() - start < calm:
            self.waited = True
            await asyncio.sleep(self._pause)
            await self._look(self._names)
        over = None
        pause = self._pause
        while self._owed() or self._silent:
            await self._put({name: timeout_to_restore(state.now) for name, state in self._states.items()})
            # Servers take a failed primary back after twice the timeout (clearNodeFailureIfNeeded).
            over = over or clock() + 2 * self._longest() + 1.0
            if self._owed():
                await self._look(self._names, views=not self._calm())
            free = self._names if clock() >= over else self._unthreatened()
            await self._put({name: restored(self._states[name].now) for name in free if name in self._states})
            if clock() >= over and not (self._silent and clock() < start + linger):
                return
            if self._owed() or self._silent:
                self.waited = True
                # Those that do not answer are asked ever more rarely, and nobody else with them.
                pause = self._pause if self._owed() else min(1.5 * pause, _LONGEST_PAUSE)
                await asyncio.sleep(pause)
                await self._look(self._names if self._owed() else tuple(self._silent))

    def _owed(self) -> list[str]:
        lowered = self._lowered.keys() - set(self.restored)
        return [name for name, state in self._states.items() if state.own is not None or name in lowered]

    def _longest(self) -> float:
        """The longest timeout in seconds that a marked node has of its own."""
        owns = [state.own for state in self._states.values()]
        return max([number(own[TIMEOUT]) / 1000 for own in owns if own is not None], default=0.0)

    def _calm(self) -> bool:
        return not self._silent and all(state.calm for state in self._states.values())

    def _unthreatened(self) -> Collection[str]:
        """The nodes that may have their elections back: all but replicas of a primary that is failing."""
        if all(state.calm for state in self._states.values()):
            return self._names
        failing = {
            peer.id for state in self._states.values() for peer in state.peers if peer.flags & _FAILING
        }
        return [
            name
            for name, state in self._states.items()
            if state.me is not None and not (state.me.replica and state.me.primary in failing)
        ]

    async def _look(self, names: Iterable[str], *, views: bool = False) -> None:
        """Ask nodes for their settings and whether anything fails; `views` asks for CLUSTER NODES too."""
        more: tuple[Command, ...] = (CLUSTER_INFO, CLUSTER_NODES) if views else (CLUSTER_INFO,)

        async def one(name: str) -> None:
            seconds = _SILENT if name in self._silent else self._seconds
            try:
                async with asyncio.timeout(seconds):
                    now, replies = await self._configure.read(name, *more)
                self._states[name] = _State(now, *_health(replies))
                self._silent.pop(name, None)
            except NodeFailed as failed:
                self._gone(name, failed.problems[0].message.removesuffix("."))
            except TimeoutError:
                self._gone(name, f"{name} does not answer")

        await asyncio.gather(*(one(name) for name in names))
        self._looked = True
        known = self._lowered.keys() & self._states.keys() - set(self.restored)
        lost = {name: self._lowered[name] for name in known if self._states[name].own is None}
        await self._put({name: marked_again(own, self._states[name].now) for name, own in lost.items()})
        # Those that have nothing of it any more, as after a restart, need nothing.
        self.restored += [name for name in lost if self._is_back(name) and name not in self.restored]

    def _is_back(self, name: str) -> bool:
        now = self._states[name].now
        return kept(now) is None and not marked_again(self._lowered[name], now)

    def _gone(self, name: str, why: str) -> None:
        self._silent[name] = why
        # What it said before may be true no longer: it may have been started again.
        self._states.pop(name, None)

    async def _put(self, wanted: Mapping[str, Mapping[str, str]]) -> None:
        async def one(name: str, settings: Mapping[str, str]) -> None:
            try:
                async with asyncio.timeout(self._seconds):
                    now, refused = await self._configure.put(name, settings)
            except (NodeFailed, TimeoutError):
                return  # the next look tells
            if refused is not None:
                self._refused[name] = refused
            self._states[name] = replace(self._states[name], now=now)
            if kept(now) is None and refused is None:
                self.restored.append(name)

        await asyncio.gather(*(one(name, settings) for name, settings in wanted.items() if settings))


def _health(replies: list[Reply]) -> tuple[bool, tuple[Peer, ...]]:
    """Whether a node finds no slots failing, and its view; all of it unknown is no calm."""
    texts = [reply if isinstance(reply, str) else "" for reply in replies]
    fields = parse_fields(texts[0])
    calm = "cluster_state" in fields and all(
        fields.get(f"cluster_slots_{what}", "0") == "0" for what in ("pfail", "fail")
    )
    try:
        peers = parse_nodes(texts[1]) if len(texts) > 1 else ()
    except ValueError:
        peers = ()
    return calm, peers
