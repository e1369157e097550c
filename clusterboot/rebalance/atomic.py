"""Moving one window of slots as an atomic job of Valkey 9.0 or newer: CLUSTER MIGRATESLOTS.

The source forks a snapshot of the slots, streams what is written meanwhile, pauses all its writes, and the
target takes the slots over at once; a job that fails leaves everything as it was. An OK to MIGRATESLOTS
proves nothing: CLUSTER GETSLOTMIGRATIONS has the state of the job on both ends, and is what ends it here.
See cluster_migrateslots.c of Valkey.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from math import inf

from clusterboot.core.job_pace import JobPace
from clusterboot.core.views import View, parse_nodes
from clusterboot.errors import Exit, NodeFailed, Problem, Refused
from clusterboot.loop.observe import CLUSTER_NODES, Asker, now, text
from clusterboot.rebalance.counting import count_keys
from clusterboot.rebalance.jobs import (
    CANCEL,
    JOBS,
    MAX_WAITING_TO_PAUSE,
    WAITING_TO_PAUSE,
    Job,
    parse_jobs,
    slots_moving,
)
from clusterboot.slots import Slots
from clusterboot.wire.replies import Command, Rejected, Reply, explain

CLIENTS: Command = ("INFO", "clients")

# INFO clients, while the source takes no writes because of a job.
_PAUSED = "paused_reason:slot_migration_in_progress"
# How often a job that failed is started again, and the pause before that in seconds, doubled each time.
_TRIES, _BACK_OFF = 5, 0.25
# Seconds between two looks at whether writes are paused, and at least between two looks at all jobs.
_POLL, _LOOK = 0.005, 0.1
# Seconds without an answer of a node after which a job is given up.
_SILENT = 10.0
# After Ctrl-C: seconds for the job to end by itself, and for its end once it is cancelled.
_GRACE, _CANCELLED_GRACE = 2.0, 3.0


async def migrate(fleet: Asker, source: View, target: View, slots: Slots, pace: JobPace | None = None) -> int:
    """Move `slots` from `source`, which serves them, to `target`; returns how many keys they held before.

    `pace` learns how long the writes of the source were paused. Waits while the source saves its data. Raises
    Refused when slots are open (somebody moves some by hand) or are in another job, NodeFailed when a node
    refuses the job, does not answer, or the job failed several times: the slots are then where they were,
    except for what was moved before. When cancelled, it lets the job end for some seconds, and then ends it.
    """
    pace = pace or JobPace()
    keys = sum((await count_keys(fleet, source, slots)).values())
    window = _Window(fleet, source, target, slots)
    pause = _BACK_OFF
    for attempt in range(_TRIES):
        job, paused = await window.run()
        if job.state == "success":
            pace.learn(len(slots), keys, paused)
            return keys
        if job.state == "cancelled" and window.starved and len(slots) > 1:
            # Fewer slots are written to less often, so that there is a moment without unsent writes.
            first, rest = slots.take(len(slots) // 2)
            pace.starved(len(slots))
            await migrate(fleet, source, target, first, pace)
            await migrate(fleet, source, target, rest, pace)
            return keys
        if attempt < _TRIES - 1:
            await asyncio.sleep(pause)
            pause *= 2
    raise NodeFailed(_failed(source, target, slots, job, starved=window.starved))


class _Window:
    """One window of slots, and the job that moves it. `starved`: the job never got to its pause."""

    def __init__(self, fleet: Asker, source: View, target: View, slots: Slots) -> None:
        self._fleet = fleet
        self._source = source
        self._target = target
        self._slots = slots
        ends = [str(end) for pair in slots.ranges for end in pair]
        self._command: Command = ("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", *ends, "NODE", target.id)
        self._ranges = " ".join(f"{low}-{high}" for low, high in slots.ranges)
        self.starved = False

    async def run(self) -> tuple[Job, float]:
        """Run one job to its end; returns it, and for how many seconds writes were paused at most."""
        self.starved = False
        try:
            await self._start()
            job, paused = await self._follow()
        except asyncio.CancelledError:
            await self._wind_up()
            raise
        return await self._both_ends(job), paused

    async def _start(self) -> None:
        """Start the job, unless it runs already (a reply that was lost, or a run that was killed)."""
        end = now() + _SILENT
        while True:
            try:
                [reply] = await self._fleet.ask(self._source.name, self._command)
            except NodeFailed:
                # Whether it began is not known: another one for the same slots would be refused.
                if now() > end:
                    raise
                await asyncio.sleep(_BACK_OFF)
                continue
            if not isinstance(reply, Rejected):
                return
            if "already migrating" in reply or "not served by this node" in reply:
                job, _ = await self._look()
                if job is not None and (not job.ended or job.state == "success"):
                    return
            if "manually" in reply or "already migrating" in reply:
                raise Refused(slots_moving(self._source.name, reply))
            if (not reply.transient and "Unknown node name" not in reply) or now() > end:
                raise NodeFailed(explain(reply, self._source.name, self._command))
            await asyncio.sleep(_BACK_OFF)

    async def _follow(self, until: float = inf) -> tuple[Job, float]:
        """Wait until the job has ended, or till `until` (loop time); returns it, and how long writes paused.

        INFO shows the pause, for less than a look at all jobs of the log costs: 1,000 of them take 50 ms.
        """
        pause, paused_since, unpaused_at = 0.0, inf, now()
        start = waiting_since = look_at = now()
        while True:
            asked = now()
            [reply] = await self._ask(self._source.name, CLIENTS)
            paused = _PAUSED in text(reply)
            if paused:
                paused_since = min(paused_since, unpaused_at)
                # A target with nothing else to do says only at its next tick, up to 100 ms later, that the
                # slots are its own, and writes stay paused so long. Any request wakes it.
                with suppress(NodeFailed):
                    await self._fleet.ask(self._target.name, CLIENTS, timeout=1.0)
            else:
                pause = max(pause, now() - paused_since)
                paused_since, unpaused_at = inf, asked
            if (pause and not paused) or now() >= look_at:
                looked = now()
                job, jobs = await self._look()
                if job is None:
                    job = await self._by_owner()
                if job.ended or now() > until:
                    return job, pause
                look_at = now() + max(_LOOK, 4 * (now() - looked))
                if job.state != WAITING_TO_PAUSE:
                    waiting_since = now()
                elif now() - waiting_since > MAX_WAITING_TO_PAUSE and self._alone(jobs):
                    self.starved = True
                    await self._ask(self._source.name, CANCEL)
            # One that takes long waits for a child process, maybe for minutes.
            await asyncio.sleep(_POLL if now() - start < 1 else 4 * _POLL)

    async def _look(self) -> tuple[Job | None, tuple[Job, ...]]:
        """Return the newest job for these slots, None where none is listed, and all jobs of the source."""
        [reply] = await self._ask(self._source.name, JOBS)
        if isinstance(reply, Rejected):
            raise NodeFailed(explain(reply, self._source.name, JOBS))
        jobs = parse_jobs(reply)
        mine = (job for job in jobs if job.exports and job.ranges == self._ranges)
        return next((job for job in mine if job.target == self._target.id), None), jobs

    async def _by_owner(self) -> Job:
        """Return how a job ended that is not listed any more: the log may be short."""
        [reply] = await self._ask(self._source.name, CLUSTER_NODES)
        if isinstance(reply, Rejected):
            raise NodeFailed(explain(reply, self._source.name, CLUSTER_NODES))
        owner = next((peer for peer in parse_nodes(text(reply)) if peer.id == self._target.id), None)
        moved = owner is not None and not self._slots - owner.slots
        state, message = ("success", "") if moved else ("failed", "the job is not listed any more")
        return Job("", True, self._ranges, self._source.id, self._target.id, state, message)

    async def _both_ends(self, job: Job) -> Job:
        """Wait until the target has ended a job that failed, too; returns it with the messages of both."""
        end = now() + _SILENT
        while job.state != "success" and now() < end:
            [reply] = await self._ask(self._target.name, JOBS)
            other = next((each for each in parse_jobs(reply) if each.name == job.name), None)
            if other is None:
                break
            if other.state == "success":
                raise NodeFailed(_lost_writes(self._source, self._target, self._slots, job))
            if other.ended:
                return replace(job, message=_both(job.message, other.message))
            await asyncio.sleep(_LOOK)
        return job

    async def _wind_up(self) -> None:
        """Let a job that runs end by itself for some seconds, and else cancel it."""
        try:
            job, jobs = await self._look()
            if job is None or job.ended:
                return
            job, _ = await self._follow(now() + _GRACE)
            job_now, jobs = await self._look()
            if job_now is not None and not job_now.ended and self._alone(jobs):
                await self._ask(self._source.name, CANCEL)
                await self._follow(now() + _CANCELLED_GRACE)
        except NodeFailed:
            # The run ends with its own reason, and the next one finds the job.
            return

    def _alone(self, jobs: Iterable[Job]) -> bool:
        """Whether no job of anybody else runs on the source: cancelling ends all of a node."""
        running = [job for job in jobs if job.exports and not job.ended]
        return len(running) == 1 and running[0].ranges == self._ranges

    async def _ask(self, name: str, *commands: Command) -> list[Reply]:
        """Ask a node, again and again while it does not answer; NodeFailed after a while."""
        end = now() + _SILENT
        while True:
            try:
                return await self._fleet.ask(name, *commands)
            except NodeFailed:
                if now() > end:
                    raise
            await asyncio.sleep(_LOOK)


def _both(source: str, target: str) -> str:
    """Return what both ends say about a job, without what only points at the other end."""
    said = dict.fromkeys(words for words in (source, target) if words and "GETSLOTMIGRATIONS on" not in words)
    return "; ".join(said) or source or target


def _named(slots: Slots) -> str:
    """Return the slots in words, by their number where they are many ranges."""
    if len(slots.ranges) > 3:
        return f"{len(slots)} slots from {slots.ranges[0][0]} on"
    return f"slot {slots}" if len(slots) == 1 else f"slots {slots}"


def _failed(source: View, target: View, slots: Slots, job: Job, *, starved: bool) -> Problem:
    reason = f"{job.message or job.state}".rstrip(".")
    hint = f"look at the logs of {source.name} and {target.name}, then run the same command again"
    if starved:
        reason = "clients write to them without a pause"
        hint = f"on {source.name}, run 'CONFIG SET slot-migration-max-failover-repl-bytes 16mb' first"
    return Problem(
        "move-failed",
        f"{source.name} could not move {_named(slots)} to {target.name}: {reason}.",
        source.name,
        target.name,
        hint,
        Exit.NODE,
    )


def _lost_writes(source: View, target: View, slots: Slots, job: Job) -> Problem:
    return Problem(
        "writes-may-be-lost",
        f"{target.name} took {_named(slots)} over so late that {source.name} may have accepted writes "
        f"to them meanwhile, which are lost: {job.message}.",
        source.name,
        target.name,
        "check what clients wrote in these seconds, and the load of both nodes; then run the command again",
        Exit.NODE,
    )
