"""Holding settings of nodes that serve: elections or replica migration off, until a change is done.

`boost` restores them; `core.borrowed` says which, and what for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from clusterboot.core import borrowed, timers
from clusterboot.core.borrowed import kept
from clusterboot.core.timers import Settings
from clusterboot.errors import Problem, warning
from clusterboot.loop.configure import Configurator


class Holding:
    """The nodes that a run holds: `own` has their own values, `warnings` why one could not be held."""

    def __init__(self, configure: Configurator) -> None:
        """Nothing is held yet."""
        self._configure = configure
        self.own: dict[str, Settings] = {}
        self.warnings: list[Problem] = []

    async def hold(self, names: Iterable[str], *, elections: bool, migration: bool) -> None:
        """Hold the settings on nodes; raises NodeFailed when a node does not answer."""
        await asyncio.gather(*(self._hold(name, elections=elections, migration=migration) for name in names))

    async def _hold(self, name: str, *, elections: bool, migration: bool) -> None:
        current, _ = await self._configure.read(name)
        own = borrowed.own_to_hold(current, elections=elections, migration=migration)
        if not own and current:
            return
        if not own:
            message = (
                f"{name} does not answer CONFIG GET: elections and replica migration cannot be switched off."
            )
            self.warnings.append(warning("not-held", message, name))
            return
        wanted = borrowed.to_hold(own, current)
        refused: str | None = f"{name} has {timers.BARRIER} {own[timers.BARRIER]}, which a mark cannot keep"
        if wanted is not None:
            # Owed before it is sent: the reply may be lost.
            before, self.own[name] = self.own.get(name), own
            current, refused = await self._configure.put(name, wanted)
            if refused is not None and kept(current) is None and not borrowed.marked_again(own, current):
                self.own.pop(name)
            elif refused is not None and before is not None:
                self.own[name] = before
        if refused is not None:
            what = "elections" if elections else "replica migration"
            message = f"{what} of {name} cannot be switched off for the time of a change: {refused}."
            self.warnings.append(warning("not-held", message, name))
