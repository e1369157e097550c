"""Settings borrowed by a run, and restored before it ends.

The boost lowers timers on a cluster that does not serve yet; on one that serves single nodes are held.

While timeouts are low, elections are off (cluster-replica-no-failover). `core.timers` has what is lowered and
how nodes keep their own values, `restore` how they come back. A helper process does it if this one is killed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from math import inf
from typing import Protocol

from clusterboot.core import borrowed, timers
from clusterboot.core.borrowed import kept
from clusterboot.core.results import BoostReport
from clusterboot.core.timers import TIMEOUT, Settings
from clusterboot.core.views import View, number
from clusterboot.errors import Exit, Interrupted, NodeFailed, Problem, warning
from clusterboot.loop.configure import Configurator
from clusterboot.loop.observe import Asker, now
from clusterboot.loop.restore import Restoring
from clusterboot.wording import count, shortened

# Max seconds for restoring when a run ends early; the helper goes on with what is left then.
GRACE = 1.6
_CALM_IN_GRACE = 1.0
# Max seconds for restoring what an interrupted run left lowered in a cluster that serves.
_DECLINED_SECONDS = 5.0
# Max seconds for changing the timeout of a node once more.
_SET_AGAIN_SECONDS = 5.0


class Helper(Protocol):
    """A process that restores settings if this one is gone and has not done it (`standby.Standby`)."""

    async def start(self) -> None:
        """Start it, once, and wait until it is ready; OSError when it cannot be started."""

    def dismiss(self) -> None:
        """End it: nothing is left to restore."""


class Boost:
    """Lowers or holds settings for a run, and restores them.

    `warnings` are about settings that were restored for another run or could not be restored; `left` is the
    problem of the latter.
    """

    def __init__(self, fleet: Asker, names: Iterable[str], helper: Helper | None) -> None:
        """Without a `helper`, the next run restores what a killed run leaves lowered."""
        self._fleet = fleet
        self._names = tuple(names)
        self._helper = helper
        self._configure = Configurator(fleet)
        self._own: dict[str, Settings] = {}  # of the nodes that this run has lowered
        self._held: dict[str, Settings] = {}  # of the nodes that it holds
        self._past: dict[str, Settings] = {}  # of the nodes that it has lowered and restored
        self._left_lowered: dict[str, None] = {}  # nodes that another run has left lowered
        self._low: dict[str, str] = {}
        self._restored: set[str] = set()
        self._reason: str | None = None
        self.warnings: list[Problem] = []
        self.left: Problem | None = None

    def notice(self, views: Mapping[str, View]) -> None:
        """Note nodes that another run has left lowered, to restore them."""
        self._left_lowered |= dict.fromkeys(borrowed.left_lowered(views))

    @property
    def owes(self) -> bool:
        """Whether there is something to restore."""
        return bool(self._own or self._held or self._left_lowered)

    async def hold(self, names: Iterable[str], *, elections: bool = False, migration: bool = False) -> None:
        """Switch elections or replica migration off on nodes that serve (`core.borrowed` says what for).

        Given back by `release` or `restore`. A node that does not have the setting, or has it off, does
        without; where it cannot be held, `warnings` has why. Raises NodeFailed when a node does not answer.
        """
        try:
            if self._helper is not None:
                await self._helper.start()
        except OSError as failed:
            why = f"no helper process can be started: {failed.strerror or failed}"
            hint = "should this run be killed, run 'clusterboot up': it restores them"
            message = f"elections or replica migration are switched off without a helper: {why}."
            self.warnings.append(warning("no-helper", message, hint=hint))
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
            before, self._held[name] = self._held.get(name), own
            current, refused = await self._configure.put(name, wanted)
            if refused is not None and kept(current) is None and not borrowed.marked_again(own, current):
                self._held.pop(name)
            elif refused is not None and before is not None:
                self._held[name] = before
        if refused is not None:
            what = "elections" if elections else "replica migration"
            message = f"{what} of {name} cannot be switched off for the time of a change: {refused}."
            self.warnings.append(warning("not-held", message, name))

    async def release(self, names: Iterable[str]) -> None:
        """Restore the nodes of `names` that are held; elections when their node is in sync.

        Raises NodeFailed when a node does not take its own values again.
        """
        held = {name: self._held[name] for name in names if name in self._held}
        if held:
            restoring = Restoring(self._fleet, held, held)
            await restoring.run()
            self._conclude(restoring)
            if self.left is not None:
                raise NodeFailed(self.left)

    async def decline(self, reason: str, views: Mapping[str, View]) -> float:
        """Lower nothing, for `reason`; returns the node timeout now in force, in seconds.

        If a node holds keys, the cluster is in use: what another run left lowered is restored now, not at the
        end of this run.
        """
        self._reason = reason
        in_force = [view.node_timeout for view in views.values()]
        if self._left_lowered and any(view.keys for view in views.values()):
            restoring = Restoring(self._fleet, self._everyone)
            with suppress(TimeoutError):  # the end of the run tries again
                async with asyncio.timeout(_DECLINED_SECONDS):
                    await restoring.run()
            self._note_restored(restoring)
            owns = [kept(views[name].config) or {} for name in restoring.restored]
            in_force += [number(own.get(TIMEOUT, "")) / 1000 for own in owns]
        return max(in_force)

    async def lower(self, views: Mapping[str, View]) -> float:
        """Lower the timers of all nodes; returns the node timeout now in force, in seconds.

        A node that refuses it keeps its own values, and the report names it.
        """
        try:
            if self._helper is not None:
                await self._helper.start()
        except OSError as failed:
            self._reason = f"no helper process can be started: {failed.strerror or failed}"
            return max(view.node_timeout for view in views.values())
        self._low = timers.lowered(len(views))
        timeout = int(self._low[TIMEOUT])
        in_force = await asyncio.gather(*(self._lower(view, timeout) for view in views.values()))
        if not any(timers.LOAD in own for own in self._own.values()):
            del self._low[timers.LOAD]
        return max(in_force)

    async def _lower(self, view: View, timeout: int) -> float:
        try:
            # One command reads all values, as one sets them: another run may change them at this moment.
            current, _ = await self._configure.read(view.name)
            own = timers.own_values(view, current)
            wanted = timers.to_lower(own, timeout)
            if wanted is None:
                key = timers.too_large(own) or TIMEOUT
                self._reason = f"{view.name} has {key} {own.get(key, 'hidden')}, which a mark cannot keep"
                return view.node_timeout
            # Owed before it is sent: the reply may be lost.
            self._own[view.name] = own
            current, refused = await self._configure.put(view.name, wanted)
        except NodeFailed as failed:
            self._reason = failed.problems[0].message
            return view.node_timeout
        if refused is not None:
            self._reason = refused
            # If only a value was set by hand at this moment, the rest is lowered and owed.
            if kept(current) is None and not timers.marked_again(own, current):
                del self._own[view.name]
                return view.node_timeout
        return int(wanted[TIMEOUT]) / 1000

    async def nudge(self) -> bool:
        """Let every node of a large cluster ping almost all others at once; False if that is not needed.

        A ping carries roles. A node pings each node that no other has vouched for during half its timeout
        (clusterProcessGossipSection renews pong_received). With a constantly low timeout all vouch for all,
        and a view can stay stale for minutes. A timeout that is lowered for a fraction of a second, after
        some quiet seconds, makes the nodes ping.
        """
        low = timers.nudged(len(self._names))
        if low is None or not self._own:
            return False
        usual = int(self._low[TIMEOUT])

        async def nudge_node(name: str, own: Settings) -> None:
            await self._set_again(name, own, low, expected=usual)
            await asyncio.sleep(timers.NUDGE_SECONDS)
            await self._set_again(name, own, usual, expected=low)

        higher = [(name, own) for name, own in self._own.items() if number(own[TIMEOUT]) > low]
        await asyncio.gather(*(nudge_node(name, own) for name, own in higher))
        return True

    async def ease(self) -> float | None:
        """Raise the lowered timeouts fourfold: nodes without enough CPU lose their links.

        Returns the node timeout then in force, in seconds, or None if none was lowered.
        """
        usual = int(self._low.get(TIMEOUT, "0"))
        timeout = timers.eased(usual)
        higher = [(name, own) for name, own in self._own.items() if number(own[TIMEOUT]) > usual > 0]
        in_force = await asyncio.gather(
            *(self._set_again(name, own, timeout, expected=usual) for name, own in higher)
        )
        if not any(in_force):
            return None
        self._low[TIMEOUT] = str(timeout)
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

    async def restore(self) -> bool:
        """Restore everything, and wait for nodes that do not answer; the caller bounds it.

        Returns whether all was calm: if not, the cluster may not be Ready any more. Raises NodeFailed when a
        node refuses and so keeps lowered settings.
        """
        restoring = self._restoring()
        await restoring.run(linger=inf)
        self._conclude(restoring)
        if self.left is not None:
            raise NodeFailed(self.left)
        return not restoring.waited

    async def restore_within_grace(self) -> None:
        """Restore what can be restored within GRACE seconds, also when cancelled; `left` has the rest."""
        if self.left is not None:
            return
        restoring = self._restoring()
        work = asyncio.ensure_future(restoring.run(calm=_CALM_IN_GRACE))
        cancelled: asyncio.CancelledError | None = None
        end = now() + GRACE
        while not work.done() and (left := end - now()) > 0:
            try:
                await asyncio.wait([work], timeout=left)
            except asyncio.CancelledError as signalled:
                cancelled = signalled
        work.cancel()
        self._conclude(restoring)
        if cancelled is not None:
            raise self.to_raise(cancelled)

    @property
    def _everyone(self) -> tuple[str, ...]:
        """All nodes that may have something to restore; members that leave are in no topology."""
        return tuple(dict.fromkeys((*self._names, *self._held, *self._left_lowered)))

    def _restoring(self) -> Restoring:
        return Restoring(self._fleet, self._everyone, {**self._own, **self._held})

    def to_raise(self, ended: BaseException) -> BaseException:
        """Return what a run that ended with `ended` is to raise, so that `left` is reported in any case."""
        if self.left is None or self.left in getattr(ended, "problems", ()):
            return ended
        if isinstance(ended, asyncio.CancelledError):
            return Interrupted(self.left)
        self.warnings.append(replace(self.left, exit=Exit.DONE))
        return ended

    def _conclude(self, restoring: Restoring) -> None:
        """Note what is restored and what is left; if nothing is, the helper is dismissed."""
        self._note_restored(restoring)
        if restoring.left:
            self.left = self._not_restored(restoring.left)
        elif self._helper is not None and not (self._own or self._held):
            self._helper.dismiss()

    def _note_restored(self, restoring: Restoring) -> None:
        ours = {*self._own, *self._held, *self._past}
        others = [name for name in restoring.restored if name in self._left_lowered and name not in ours]
        if others:
            message = (
                f"{count(len(others), 'node')} had lowered settings of another run, active or interrupted; "
                f"they are restored on {shortened(others)}."
            )
            self.warnings.append(Problem("lowered-timers-found", message, others[0], exit=Exit.DONE))
        self._restored |= set(restoring.restored)
        # Owed no more: the same run may lower or hold them again.
        for name in restoring.restored:
            self._held.pop(name, None)
            if name in self._own:
                self._past[name] = self._own.pop(name)

    def _not_restored(self, left: Settings) -> Problem:
        name, self._reason = next(iter(left.items()))
        hint = "run 'clusterboot up', which restores them"
        if self._helper is not None and (self._own or self._held):
            hint = (
                f"wait for a helper process that still tries; if 'clusterboot status' shows them then, {hint}"
            )
        what = (
            "elections or replica migration off"
            if name in self._held
            else "lowered settings, with elections off"
        )
        return Problem(
            "not-given-back",
            f"{shortened(list(left))} may still have {what}: {self._reason}.",
            node=name,
            hint=hint,
            exit=Exit.NODE,
        )

    def report(self) -> BoostReport:
        """Return what was lowered and restored so far."""
        lowered = {**self._past, **self._own}
        lowered_here = set(lowered or self._left_lowered)
        settings = {}
        if marks := {timers.mark(own) for own in lowered.values()} - {None}:
            mark = str(marks.pop()) if len(marks) == 1 else "another on each node"
            settings = {**self._low, timers.BARRIER: mark}
        return BoostReport(
            used=bool(lowered),
            settings=settings,
            nodes=len(lowered_here),
            restored=len(self._restored & lowered_here),
            reason=self._reason,
        )
