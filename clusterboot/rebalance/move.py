"""Moving slots with their keys, window by window, as atomic jobs or by copy.

All sources at once, each one window at a time. After each window all primaries agree on the new owner, and
the owner's replicas have what it got; only then the next one begins. Nothing is stored: a run that ends
early leaves whole windows, and at worst an open one, which `open_slots.settle` finishes.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

from clusterboot.core.events import Done, Moved, Reporter, Warned
from clusterboot.core.job_pace import JobPace
from clusterboot.core.pace import Pace, first_window
from clusterboot.core.results import MoveReport, Transfer
from clusterboot.core.views import Seen, View, Views
from clusterboot.errors import ClusterbootError, NodeFailed, from_problems
from clusterboot.loop.observe import Asker, now
from clusterboot.rebalance import atomic, copying
from clusterboot.rebalance.agree import agreed, caught_up, replicas_of
from clusterboot.rebalance.counting import count_keys
from clusterboot.rebalance.databases import databases
from clusterboot.slots import Slots

# Seconds that an open window gets to its end when the run is to end, before it is cancelled.
_GRACE = 5.0


class Mover:
    """Moves slots; `slots`, `keys` and `seconds` are what was moved so far, `done` the finished steps.

    `progress_at` is when a window last ended, in the time of the loop.
    """

    def __init__(self, fleet: Asker, report: Reporter) -> None:
        self._fleet = fleet
        self._report = report
        self._seen: Seen = {}
        self._ending = False
        self._given: Counter[str] = Counter()  # slots that targets have got, by id
        self._endpoints: dict[tuple[str, str], tuple[str, int]] = {}
        self._sides = _Sides()
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._taking: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.slots = self.keys = 0
        self.seconds = 0.0
        self.progress_at = now()
        self.done: list[Done] = []

    @property
    def moved(self) -> MoveReport:
        """What was moved so far."""
        return MoveReport(self.slots, self.keys, self.seconds)

    async def run(self, transfers: Sequence[Transfer], views: Views) -> None:
        """Move everything; `views` are of all members, by name.

        When cancelled, and when a source fails, open windows are finished first, for some seconds. Raises
        NodeFailed and Refused with the problems of all sources.
        """
        by_source: dict[str, list[Transfer]] = {}
        for transfer in transfers:
            by_source.setdefault(transfer.step.node, []).append(transfer)
        self._begin(transfers)
        await self._together([self._drain(mine, views) for mine in by_source.values()])
        for transfer in transfers:
            # Replicas too: clients ask them where a slot is.
            step = transfer.step
            await agreed(self._fleet, views, views[step.peer], step.slots, self._seen)

    def _begin(self, transfers: Sequence[Transfer]) -> None:
        self._ending = False
        self._start = now() - self.seconds
        self._all_slots = self.slots + sum(len(transfer.step.slots) for transfer in transfers)
        self._all_keys = self.keys + sum(transfer.keys for transfer in transfers)
        self.progress_at = now()

    async def _together(self, drains: Sequence[Coroutine[object, object, None]]) -> None:
        tasks = [asyncio.ensure_future(drain) for drain in drains]
        try:
            if tasks:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            self._ending = True
            await _finished(tasks)
        ends = [task.exception() for task in tasks if not task.cancelled()]
        for defect in ends:
            if defect is not None and not isinstance(defect, ClusterbootError):
                raise defect
        problems = [problem for end in ends if isinstance(end, ClusterbootError) for problem in end.problems]
        if problems:
            raise from_problems(dict.fromkeys(problems))

    async def _drain(self, transfers: Sequence[Transfer], views: Views) -> None:
        """Move the slots of one source, one transfer after the other, the highest slots first."""
        copies, jobs = Pace(), JobPace()
        for transfer in transfers:
            pace = jobs if transfer.method == "atomic" else copies
            source, target = views[transfer.step.node], views[transfer.step.peer]
            source = replace(source, databases=await databases(self._fleet, source))
            keys = await count_keys(self._fleet, source, transfer.step.slots)
            left: Sequence[int] = sorted(transfer.step.slots, reverse=True)
            while left and not self._ending:
                async with self._first_alone(target) as first:
                    taken = first_window(left, keys) if first else self._cut(target, left, keys, pace)
                    await self._window(source, target, Slots.of((slot, slot) for slot in taken), views, pace)
                gone = frozenset(taken)
                left = [slot for slot in left if slot not in gone]
            if left:
                return
            self.done.append(Done(transfer.step))
            self._report(self.done[-1])

    def _cut(
        self, target: View, left: Sequence[int], keys: Mapping[int, int], pace: Pace | JobPace
    ) -> Sequence[int]:
        if isinstance(pace, JobPace):
            return pace.cut(left, keys)
        return pace.cut(left, keys, len(target.me.slots) + self._given[target.id])

    async def _endpoint(self, source: View, target: View) -> tuple[str, int]:
        """Return where `source` reaches `target`; asked once."""
        if (source.id, target.id) not in self._endpoints:
            self._endpoints[source.id, target.id] = await copying.endpoint(self._fleet, source, target)
        return self._endpoints[source.id, target.id]

    @asynccontextmanager
    async def _first_alone(self, target: View) -> AsyncIterator[bool]:
        """Let the first window to a target without slots be the only one; gives whether this is it."""
        if target.me.slots or self._given[target.id]:
            yield False
            return
        async with self._locks[target.id]:
            yield not self._given[target.id]

    async def _window(
        self, source: View, target: View, slots: Slots, views: Views, pace: Pace | JobPace
    ) -> None:
        """Move one window, and wait until it has arrived everywhere."""
        primaries = [view.name for view in views.values() if not view.me.replica]

        async def tell(name: str) -> None:
            with suppress(NodeFailed):  # the next look decides
                await copying.set_slots(self._fleet, name, slots, "NODE", target.id)

        if isinstance(pace, JobPace):
            async with self._sides.only(source.name, target.name):
                keys = await atomic.migrate(self._fleet, source, target, slots, pace)
            await agreed(self._fleet, primaries, target, slots, self._seen)
            await caught_up(self._fleet, target, replicas_of(target, views))
        else:
            others = [name for name in primaries if name not in (source.name, target.name)]
            # A source is blocked while its target works for another one: several at once would only wait for
            # each other, and their clients with them (measured: the same total, twice the latency).
            where = await self._endpoint(source, target)
            async with self._taking[target.id]:
                keys = await copying.migrate(
                    self._fleet,
                    source,
                    target,
                    slots,
                    pace,
                    where,
                    lambda problem: self._report(Warned(problem)),
                )
            # They hear of it by gossip anyway, as the epoch of the target is new; this is sooner.
            await asyncio.gather(*map(tell, others))
            await agreed(self._fleet, primaries, target, slots, self._seen, tell)
            pace.lagged(await caught_up(self._fleet, target, replicas_of(target, views)))
        self._given[target.id] += len(slots)
        self.slots += len(slots)
        self.keys += keys
        self.seconds = now() - self._start
        self.progress_at = now()
        self._report(Moved(self.slots, self._all_slots, self.keys, self._all_keys, self.seconds))


class _Sides:
    """Keeps a node from sending and taking slots at the same time by atomic jobs.

    Valkey 9.1.2 dies of that, when an import ends while writes are paused for an export: the assertion in
    `propagateNow`, called by `propagateSyncSlotsFinish` (cluster_migrateslots.c), allows for no such pause.
    """

    def __init__(self) -> None:
        self._free = asyncio.Condition()
        self._sends: Counter[str] = Counter()
        self._takes: Counter[str] = Counter()

    @asynccontextmanager
    async def only(self, source: str, target: str) -> AsyncIterator[None]:
        """Wait until `source` takes nothing and `target` sends nothing, and keep it so within the block."""
        async with self._free:
            await self._free.wait_for(lambda: not (self._takes[source] or self._sends[target]))
            self._sends[source] += 1
            self._takes[target] += 1
        try:
            yield
        finally:
            self._sends[source] -= 1
            self._takes[target] -= 1
            async with self._free:
                self._free.notify_all()


async def _finished(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Wait until all tasks have ended, at most _GRACE seconds before they are cancelled."""
    end, cancelled = now() + _GRACE, None
    while left := [task for task in tasks if not task.done()]:
        seconds = end - now()
        if seconds <= 0:
            for task in left:
                task.cancel()
        try:
            await asyncio.wait(left, timeout=seconds if seconds > 0 else None)
        except asyncio.CancelledError as again:
            cancelled = again
    if cancelled is not None:
        raise cancelled
