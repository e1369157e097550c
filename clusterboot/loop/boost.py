"""The boost: timers lowered on a cluster that does not serve yet, and restored before the run ends.

Elections stay off (cluster-replica-no-failover) for as long as timeouts are low, and until no primary is
failing afterwards. What is lowered and how its own values stay in the node: `timers`. How they are
restored: `restore`. A helper process does that when this one is gone without having done it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from math import inf
from typing import Protocol

from clusterboot.core.results import BoostReport
from clusterboot.core.timers import (
    BARRIER,
    LOAD,
    NUDGE_SECONDS,
    TIMEOUT,
    eased,
    kept,
    left_lowered,
    lowered,
    mark,
    marked_again,
    nudged,
    own_values,
    to_lower,
    too_large,
)
from clusterboot.core.views import View, number
from clusterboot.errors import Exit, Interrupted, NodeFailed, Problem
from clusterboot.loop.configure import Configurator
from clusterboot.loop.observe import Asker
from clusterboot.loop.restore import Restoring
from clusterboot.wording import count, shortened

# How long restoring may take when a run is cut short; the helper goes on with what is left then.
GRACE = 1.6
_CALM_WHEN_CUT_SHORT = 1.0
# How long a run waits for what an interrupted one left lowered in a cluster that serves.
_RAISE_SECONDS = 5.0


class Helper(Protocol):
    """A process that restores settings when this one is gone without having done it."""

    async def start(self) -> None:
        """Start it, once; returns when it is ready. Raises OSError when that cannot be done."""

    def dismiss(self) -> None:
        """Tell it that nothing is left to restore; it ends."""


class Boost:
    """What is lowered on the nodes of a run, and the way back."""

    def __init__(self, fleet: Asker, names: Iterable[str], helper: Helper | None) -> None:
        """Without a `helper`, what a killed run leaves lowered is restored by the next run."""
        self._fleet = fleet
        self._names = tuple(names)
        self._helper = helper
        self._configure = Configurator(fleet)
        self._own: dict[str, Mapping[str, str]] = {}
        self._found: dict[str, None] = {}
        self._low: dict[str, str] = {}
        self._restoring: Restoring | None = None
        self._restored: set[str] = set()
        self._reason: str | None = None
        self.warnings: list[Problem] = []
        self.left: Problem | None = None

    def notice(self, views: Mapping[str, View]) -> None:
        """Take note of what another run has left lowered, so that it is restored."""
        self._found |= dict.fromkeys(left_lowered(views))

    @property
    def owes(self) -> bool:
        """Whether there is something to restore."""
        return bool(self._own or self._found)

    async def decline(self, reason: str, views: Mapping[str, View]) -> float:
        """Lower nothing, and say why in the report; returns the node timeout in force now, in seconds.

        Where a node holds keys the cluster is in use, and this run may take long: what another run left
        lowered is restored at once. A half-built cluster without keys keeps it until the end.
        """
        self._reason = reason
        if self._found and any(view.keys for view in views.values()):
            restoring = Restoring(self._fleet, self._names)
            with suppress(TimeoutError):  # the end of the run tries again
                async with asyncio.timeout(_RAISE_SECONDS):
                    await restoring.run()
            self._told(restoring)
            owns = [kept(views[name].config) or {} for name in restoring.restored]
            raised = [number(own.get(TIMEOUT, "")) / 1000 for own in owns]
            return max([*raised, *(view.node_timeout for view in views.values())])
        return max(view.node_timeout for view in views.values())

    async def lower(self, views: Mapping[str, View]) -> float:
        """Lower the timers of all nodes; returns the node timeout in force now, in seconds.

        A node that refuses it keeps its own and is named in the report.
        """
        try:
            if self._helper is not None:
                await self._helper.start()
        except OSError as failed:
            self._reason = f"no helper process can be started: {failed.strerror or failed}"
            return max(view.node_timeout for view in views.values())
        self._low = lowered(len(views))
        in_force = await asyncio.gather(
            *(self._lower(view, int(self._low[TIMEOUT])) for view in views.values())
        )
        if not any(LOAD in own for own in self._own.values()):
            del self._low[LOAD]
        return max(in_force)

    async def _lower(self, view: View, timeout: int) -> float:
        try:
            # Read in one step, as other runs lower and restore in one step: never half of their values.
            now, _ = await self._configure.read(view.name)
            own = own_values(view, now)
            wanted = to_lower(own, timeout)
            if wanted is None:
                key = too_large(own) or TIMEOUT
                self._reason = f"{view.name} has {key} {own.get(key, 'hidden')}, which a mark cannot keep"
                return view.node_timeout
            # Owed before it is sent: the reply may be lost.
            self._own[view.name] = own
            now, refused = await self._configure.put(view.name, wanted)
        except NodeFailed as failed:
            self._reason = failed.problems[0].message
            return view.node_timeout
        if refused is not None:
            self._reason = refused
            # Somebody may have set one of them at this very moment: the rest is owed all the same.
            if kept(now) is None and not marked_again(own, now):
                del self._own[view.name]
                return view.node_timeout
        return int(wanted[TIMEOUT]) / 1000

    async def nudge(self) -> bool:
        """Let every node of a large cluster ping almost all others at once; False where that is not needed.

        A ping carries roles, and a node sends one to each node that no other has vouched for during half
        its timeout (clusterProcessGossipSection renews pong_received). With a timeout that stays low all
        nodes vouch for all others all the time, and a view can stay stale for minutes; one that is low for a
        moment after some quiet seconds makes them ask for themselves.
        """
        low = nudged(len(self._names))
        if low is None or not self._own:
            return False
        usual = int(self._low[TIMEOUT])

        async def one(name: str, own: Mapping[str, str]) -> None:
            await self._set_again(name, own, low, expected=usual)
            await asyncio.sleep(NUDGE_SECONDS)
            await self._set_again(name, own, usual, expected=low)

        await asyncio.gather(
            *(one(name, own) for name, own in self._own.items() if number(own[TIMEOUT]) > low)
        )
        return True

    async def ease(self) -> float | None:
        """Raise the lowered timeouts fourfold, since nothing moves: nodes short of CPU lose their links.

        Returns the node timeout then in force, in seconds, or None where none was lowered.
        """
        usual = int(self._low.get(TIMEOUT, "0"))
        wanted = {name: own for name, own in self._own.items() if number(own[TIMEOUT]) > usual > 0}
        timeout = eased(usual)
        eased_to = await asyncio.gather(
            *(self._set_again(name, own, timeout, expected=usual) for name, own in wanted.items())
        )
        if not any(eased_to):
            return None
        self._low[TIMEOUT] = str(timeout)
        return max(each for each in eased_to if each) / 1000

    async def _set_again(
        self, name: str, own: Mapping[str, str], timeout: int, *, expected: int
    ) -> int | None:
        """Set another low timeout where the last one still stands; returns it, None where it does not.

        Another run may have restored the node meanwhile, and it is not to be lowered again then.
        """
        wanted = to_lower(own, timeout)
        assert wanted is not None, "it was lowered before"
        with suppress(NodeFailed, TimeoutError):
            async with asyncio.timeout(5.0):
                now, _ = await self._configure.read(name)
                if kept(now) is None or now[TIMEOUT] != str(min(expected, number(own[TIMEOUT]))):
                    return None
                await self._configure.put(name, wanted)
                return int(wanted[TIMEOUT])
        return None

    async def restore(self) -> bool:
        """Restore everything, and wait for nodes that do not answer; the caller bounds it.

        Returns whether all was calm: after a wait the cluster may not be Ready any more. Raises NodeFailed
        when a node refuses it, and so keeps lowered settings.
        """
        self._restoring = Restoring(self._fleet, self._names, self._own)
        await self._restoring.run(linger=inf)
        self._conclude()
        if self.left is not None:
            raise NodeFailed(self.left)
        return not self._restoring.waited

    async def cut_short(self) -> None:
        """Restore what can be restored within GRACE seconds; `left` tells what could not.

        Goes on when the run is being cancelled.
        """
        if self.left is not None:
            return
        self._restoring = Restoring(self._fleet, self._names, self._own)
        work = asyncio.ensure_future(self._restoring.run(calm=_CALM_WHEN_CUT_SHORT))
        stopped: asyncio.CancelledError | None = None
        end = asyncio.get_running_loop().time() + GRACE
        while not work.done() and (left := end - asyncio.get_running_loop().time()) > 0:
            try:
                await asyncio.wait([work], timeout=left)
            except asyncio.CancelledError as signalled:
                stopped = signalled
        work.cancel()
        self._conclude()
        if stopped is not None:
            raise self.ending(stopped)

    def ending(self, ended: BaseException) -> BaseException:
        """Return what a run that ended with `ended` is to raise, so that `left` is told in any case."""
        problems = getattr(ended, "problems", ())
        if self.left is None or self.left in problems:
            return ended
        if isinstance(ended, asyncio.CancelledError):
            return Interrupted(self.left)
        self.warnings.append(replace(self.left, exit=Exit.DONE))
        return ended

    def _conclude(self) -> None:
        """Say what is restored and what is not; the helper has nothing to do where all is."""
        assert self._restoring is not None
        self._told(self._restoring)
        if self._restoring.left:
            self.left = self._not_restored(self._restoring.left)
        elif self._helper is not None:
            self._helper.dismiss()

    def _told(self, restoring: Restoring) -> None:
        others = [name for name in restoring.restored if name in self._found and name not in self._own]
        if others:
            self.warnings.append(_restored_for_others(others))
        self._restored |= set(restoring.restored)

    def _not_restored(self, left: Mapping[str, str]) -> Problem:
        name, self._reason = next(iter(left.items()))
        then = "'clusterboot up' restores them"
        if self._helper is not None and self._own:
            then = f"a helper process goes on trying; if 'clusterboot status' still tells of them, {then}"
        return Problem(
            "not-given-back",
            f"{shortened(list(left))} may still have lowered settings, with elections off: {self._reason}.",
            node=name,
            hint=then,
            exit=Exit.NODE,
        )

    def report(self) -> BoostReport:
        """Return what was lowered and restored so far."""
        lowered_here = set(self._own or self._found)
        return BoostReport(
            used=bool(self._own),
            settings=self._settings(),
            nodes=len(lowered_here),
            restored=len(self._restored & lowered_here),
            reason=self._reason,
        )

    def _settings(self) -> dict[str, str]:
        marks = {mark(own) for own in self._own.values()} - {None}
        if not marks:
            return {}
        return {**self._low, BARRIER: str(marks.pop()) if len(marks) == 1 else "another on each node"}


def _restored_for_others(names: list[str]) -> Problem:
    return Problem(
        "lowered-timers-found",
        f"{count(len(names), 'node')} had lowered settings of another run, interrupted or at work: they are "
        f"restored on {shortened(names)}.",
        node=names[0],
        exit=Exit.DONE,
    )
