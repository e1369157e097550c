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
from clusterboot.loop.hold import Holding
from clusterboot.loop.lower import Lowering
from clusterboot.loop.observe import Asker, now
from clusterboot.loop.restore import Restoring
from clusterboot.wording import count, shortened

# Max seconds for restoring when a run ends early; the helper goes on with what is left then.
GRACE = 1.6
_CALM_IN_GRACE = 1.0
# Max seconds for restoring what an interrupted run left lowered in a cluster that serves.
_DECLINED_SECONDS = 5.0


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
        self._lowering = Lowering(Configurator(fleet))
        self._holding = Holding(Configurator(fleet))
        self._past: dict[str, Settings] = {}  # of the nodes that it has lowered and restored
        self._left_lowered: dict[str, None] = {}  # nodes that another run has left lowered
        self._restored: set[str] = set()
        self.warnings = self._holding.warnings
        self.left: Problem | None = None

    def notice(self, views: Mapping[str, View]) -> None:
        """Note nodes that another run has left lowered, to restore them."""
        self._left_lowered |= dict.fromkeys(borrowed.left_lowered(views))

    @property
    def owes(self) -> bool:
        """Whether there is something to restore."""
        return bool(self._lowering.own or self._holding.own or self._left_lowered)

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
        await self._holding.hold(names, elections=elections, migration=migration)

    async def release(self, names: Iterable[str]) -> None:
        """Restore the nodes of `names` that are held; elections when their node is in sync.

        Raises NodeFailed when a node does not take its own values again.
        """
        held = {name: self._holding.own[name] for name in names if name in self._holding.own}
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
        self._lowering.reason = reason
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
            self._lowering.reason = f"no helper process can be started: {failed.strerror or failed}"
            return max(view.node_timeout for view in views.values())
        return await self._lowering.lower(views)

    async def nudge(self) -> bool:
        """Let the nodes of a large cluster ping at once (`Lowering.nudge`); False if that is not needed."""
        return await self._lowering.nudge(len(self._names))

    async def ease(self) -> float | None:
        """Raise the lowered timeouts (`Lowering.ease`); returns the node timeout then in force, or None."""
        return await self._lowering.ease()

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
        return tuple(dict.fromkeys((*self._names, *self._holding.own, *self._left_lowered)))

    def _restoring(self) -> Restoring:
        return Restoring(self._fleet, self._everyone, {**self._lowering.own, **self._holding.own})

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
        elif self._helper is not None and not (self._lowering.own or self._holding.own):
            self._helper.dismiss()

    def _note_restored(self, restoring: Restoring) -> None:
        ours = {*self._lowering.own, *self._holding.own, *self._past}
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
            self._holding.own.pop(name, None)
            if name in self._lowering.own:
                self._past[name] = self._lowering.own.pop(name)

    def _not_restored(self, left: Settings) -> Problem:
        name, self._lowering.reason = next(iter(left.items()))
        hint = "run 'clusterboot up', which restores them"
        if self._helper is not None and (self._lowering.own or self._holding.own):
            hint = (
                f"wait for a helper process that still tries; if 'clusterboot status' shows them then, {hint}"
            )
        what = (
            "elections or replica migration off"
            if name in self._holding.own
            else "lowered settings, with elections off"
        )
        return Problem(
            "not-given-back",
            f"{shortened(list(left))} may still have {what}: {self._lowering.reason}.",
            node=name,
            hint=hint,
            exit=Exit.NODE,
        )

    def report(self) -> BoostReport:
        """Return what was lowered and restored so far."""
        lowered = {**self._past, **self._lowering.own}
        lowered_here = set(lowered or self._left_lowered)
        settings = {}
        if marks := {timers.mark(own) for own in lowered.values()} - {None}:
            mark = str(marks.pop()) if len(marks) == 1 else "another on each node"
            settings = {**self._lowering.low, timers.BARRIER: mark}
        return BoostReport(
            used=bool(lowered),
            settings=settings,
            nodes=len(lowered_here),
            restored=len(self._restored & lowered_here),
            reason=self._lowering.reason,
        )
