"""Lowering the timers of nodes while a cluster forms, and changing them again: one node at a time.

`boost` says when, and restores them; `core.timers` says to what.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress

from clusterboot.core import timers
from clusterboot.core.borrowed import kept
from clusterboot.core.timers import TIMEOUT, Settings
from clusterboot.core.views import View, number
from clusterboot.errors import NodeFailed
from clusterboot.loop.configure import Configurator

# Max seconds for changing the timeout of a node once more.
_SET_AGAIN_SECONDS = 5.0


class Lowering:
    """The nodes that a run has lowered.

    `own` has their own values, `low` what was set, `reason` why a node was not lowered.
    """

    def __init__(self, configure: Configurator) -> None:
        """Nothing is lowered yet."""
        self._configure = configure
        self.own: dict[str, Settings] = {}
        self.low: dict[str, str] = {}
        self.reason: str | None = None

    async def lower(self, views: Mapping[str, View]) -> float:
        """Lower the timers of all nodes; returns the node timeout now in force, in seconds.

        A node that refuses it keeps its own values.
        """
        self.low = timers.lowered(len(views))
        timeout = int(self.low[TIMEOUT])
        in_force = await asyncio.gather(*(self._lower(view, timeout) for view in views.values()))
        if not any(timers.LOAD in own for own in self.own.values()):
            del self.low[timers.LOAD]
        return max(in_force)

    async def _lower(self, view: View, timeout: int) -> float:
        try:
            # One command reads all values, as one sets them: another run may change them at this moment.
            current, _ = await self._configure.read(view.name)
            own = timers.own_values(view, current)
            wanted = timers.to_lower(own, timeout)
            if wanted is None:
                key = timers.too_large(own) or TIMEOUT
                self.reason = f"{view.name} has {key} {own.get(key, 'hidden')}, which a mark cannot keep"
                return view.node_timeout
            # Owed before it is sent: the reply may be lost.
            self.own[view.name] = own
            current, refused = await self._configure.put(view.name, wanted)
        except NodeFailed as failed:
            self.reason = failed.problems[0].message
            return view.node_timeout
        if refused is not None:
            self.reason = refused
            # If only a value was set by hand at this moment, the rest is lowered and owed.
            if kept(current) is None and not timers.marked_again(own, current):
                del self.own[view.name]
                return view.node_timeout
        return int(wanted[TIMEOUT]) / 1000

    async def nudge(self, size: int) -> bool:
        """Let every node of a cluster of `size` ping almost all others at once; False if it is not large.

        A ping carries roles. A node pings each node that no other has vouched for during half its timeout
        (clusterProcessGossipSection renews pong_received). With a constantly low timeout all vouch for all,
        and a view can stay stale for minutes. A timeout that is lowered for a fraction of a second, after
        some quiet seconds, makes the nodes ping.
        """
        low = timers.nudged(size)
        if low is None or not self.own:
            return False
        usual = int(self.low[TIMEOUT])

        async def nudge_node(name: str, own: Settings) -> None:
            await self._set_again(name, own, low, expected=usual)
            await asyncio.sleep(timers.NUDGE_SECONDS)
            await self._set_again(name, own, usual, expected=low)

        higher = [(name, own) for name, own in self.own.items() if number(own[TIMEOUT]) > low]
        await asyncio.gather(*(nudge_node(name, own) for name, own in higher))
        return True

    async def ease(self) -> float | None:
        """Raise the lowered timeouts fourfold: nodes without enough CPU lose their links.

        Returns the node timeout then in force, in seconds, or None if none was lowered.
        """
        usual = int(self.low.get(TIMEOUT, "0"))
        timeout = timers.eased(usual)
        higher = [(name, own) for name, own in self.own.items() if number(own[TIMEOUT]) > usual > 0]
        in_force = await asyncio.gather(
            *(self._set_again(name, own, timeout, expected=usual) for name, own in higher)
        )
        if not any(in_force):
            return None
        self.low[TIMEOUT] = str(timeout)
        return max(in_force) / 1000

    async def _set_again(self, name: str, own: Settings, timeout: int, *, expected: int) -> int:
        """Set another low timeout and return it, or 0 if the `expected` one is not in force any more.

        In that case another run may have restored the node, which must stay so.
        """
        wanted = timers.to_lower(own, timeout)
        assert wanted is not None, "it was lowered before"
        with suppress(NodeFailed, TimeoutError):
            async with asyncio.timeout(_SET_AGAIN_SECONDS):
                current, _ = await self._configure.read(name)
                if kept(current) is None or current[TIMEOUT] != str(min(expected, number(own[TIMEOUT]))):
                    return 0
                await self._configure.put(name, wanted)
                return int(wanted[TIMEOUT])
        return 0
