"""Moving one window of slots as an atomic job of Valkey 9.0 or newer: CLUSTER MIGRATESLOTS.

The source forks a snapshot of the slots, streams what is written meanwhile, pauses all its writes, and the
target takes the slots over at once; a job that fails leaves everything as it was. An OK to MIGRATESLOTS
proves nothing: CLUSTER GETSLOTMIGRATIONS has the state of the job on both ends, and is what ends it here.
See cluster_migrateslots.c of Valkey.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf

from clusterboot.core.views import View, parse_nodes
from clusterboot.errors import Exit, NodeFailed, Problem, Refused, refusal
from clusterboot.loop.counting import count_keys
from clusterboot.loop.observe import CLUSTER_NODES, Asker, now, text
from clusterboot.slots import Slots
from clusterboot.wire.replies import Command, Rejected, Reply, explain

JOBS: Command = ("CLUSTER", "GETSLOTMIGRATIONS")
CLIENTS: Command = ("INFO", "clients")
CANCEL: Command = ("CLUSTER", "CANCELSLOTMIGRATIONS")

_FINAL = frozenset({"success", "failed", "cancelled"})
# INFO clients, while the source takes no writes because of a job.
_PAUSED = "paused_reason:slot_migration_in_progress"
# How often a job that failed is started again, and the pause before that in seconds, doubled each time.
_TRIES, _BACK_OFF = 5, 0.25
# Seconds between two looks at whether writes are paused, and at least between two looks at all jobs.
_POLL, _LOOK = 0.005, 0.1
# A job waits for a moment without unsent writes before it pauses its source, if need be for ever. It tries
# every 100 ms.
_MAX_WAITING_TO_PAUSE = 2.0
# Seconds without an answer of a node after which a job is given up.
_SILENT = 20.0
# After Ctrl-C: seconds for the job to end by itself, and for its end once it is cancelled.
_GRACE, _CANCELLED_GRACE = 2.0, 3.0
# Seconds without a job, after some were found, in which a tool that moves slots would begin the next one.
_WATCH = 3.0


@dataclass(frozen=True, slots=True)
class Job:
    """One entry of CLUSTER GETSLOTMIGRATIONS: a job that runs or has ended, on one of its two ends."""

    name: str
    exports: bool
    ranges: str
    source: str
    target: str
    state: str
    message: str

    @property
    def ended(self) -> bool:
        """Whether nothing happens any more, here."""
        return self.state in _FINAL


def parse_jobs(reply: Reply) -> tuple[Job, ...]:
    """Return the jobs of a reply to CLUSTER GETSLOTMIGRATIONS, the newest first; odd entries are skipped."""
    jobs = []
    for entry in reply if isinstance(reply, list) else []:
        words = entry if isinstance(entry, list) else []
        found = {text(key): text(value) for key, value in zip(words[::2], words[1::2], strict=False)}
        if found.get("name"):
            jobs.append(
                Job(
                    found["name"],
                    found.get("operation") == "EXPORT",
                    found.get("slot_ranges", ""),
                    found.get("source_node", ""),
                    found.get("target_node", ""),
                    found.get("state", ""),
                    found.get("message", ""),
                )
            )
    return tuple(jobs)


class Pace:
    """How many slots and keys a job may have, so that a writer does not wait longer than 100 ms for it.

    A job pauses all writes of its source until the target has saved that the slots are its own, and then the
    source deletes the keys: measured 10 to 60 ms for 1 to 1,365 slots, and about 5 ms per 1,000 keys. The
    first part does not depend on the job, and a busy disk makes it longer: so only what comes on top of it
    makes jobs smaller, and not below a size that helps.
    """

    _AIM, _TOO_LONG = 0.04, 0.08
    _LEAST_SLOTS, _LEAST_KEYS = 50, 500
    _MOST_SLOTS, _MOST_KEYS = 400, 50_000

    def __init__(self) -> None:
        self.slots = 100
        self.keys = 6_000
        self._most_slots = self._MOST_SLOTS
        self._least_pause = inf

    def cut(self, left: Sequence[int], keys: Mapping[int, int]) -> Sequence[int]:
        """Return the first of the slots `left`, as many as one job may have, at least one."""
        total = 0
        for place, slot in enumerate(left[: self.slots]):
            total += keys.get(slot, 0)
            if place and total > self.keys:
                return left[:place]
        return left[: self.slots]

    def learn(self, slots: int, keys: int, pause: float) -> None:
        """Take into account that a job with `slots` and `keys` paused writes for at most `pause` seconds."""
        if pause:  # else it was too short to be seen
            self._least_pause = min(self._least_pause, pause)
        more = max(0.0, pause - self._least_pause)
        full, many = slots >= self.slots, keys >= self.keys // 2
        if pause > self._TOO_LONG and more > self._AIM:
            factor = max(0.5, self._AIM / more)
            if full and self.slots > self._LEAST_SLOTS:
                self.slots = max(self._LEAST_SLOTS, int(self.slots * factor))
            if many:
                self.keys = max(self._LEAST_KEYS, int(self.keys * factor))
        elif more < self._AIM / 2:
            if full:
                self.slots = min(self._most_slots, self.slots * 5 // 4 + 1)
            if many:
                self.keys = min(self._MOST_KEYS, self.keys * 5 // 4 + 1)

    def starved(self, slots: int) -> None:
        """Take into account that a job with `slots` found no moment in which nothing was written to them."""
        self._most_slots = max(1, slots // 2)
        self.slots = min(self.slots, self._most_slots)


async def migrate(fleet: Asker, source: View, target: View, slots: Slots, pace: Pace | None = None) -> int:
    """Move `slots` from `source`, which serves them, to `target`; returns how many keys they held before.

    `pace` learns how long the writes of the source were paused. Waits while the source saves its data. Raises
    Refused when slots are open (somebody moves some by hand) or are in another job, NodeFailed when a node
    refuses the job, does not answer, or the job failed several times: the slots are then where they were,
    except for what was moved before. When cancelled, it lets the job end for some seconds, and then ends it.
    """
    pace = pace or Pace()
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
                raise Refused(_moving(self._source.name, reply))
            if (not reply.transient and "Unknown node name" not in reply) or now() > end:
                raise NodeFailed(explain(reply, self._source.name, self._command))
            await asyncio.sleep(_BACK_OFF)

    async def _follow(self, until: float = inf) -> tuple[Job, float]:
        """Wait until the job has ended, or till `until` (loop time); returns it, and how long writes paused.

        INFO shows the pause, for less than a look at all jobs of the log costs: 1,000 of them take 50 ms.
        """
        pause, paused_since, unpaused_at = 0.0, inf, now()
        waiting_since = look_at = now()
        while True:
            asked = now()
            [reply] = await self._ask(self._source.name, CLIENTS)
            paused = _PAUSED in text(reply)
            if paused:
                paused_since = min(paused_since, unpaused_at)
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
                if job.state != "waiting-to-pause":
                    waiting_since = now()
                elif now() - waiting_since > _MAX_WAITING_TO_PAUSE and self._alone(jobs):
                    self.starved = True
                    await self._ask(self._source.name, CANCEL)
            await asyncio.sleep(_POLL)

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


def _failed(source: View, target: View, slots: Slots, job: Job, *, starved: bool) -> Problem:
    reason = f"{job.message or job.state}".rstrip(".")
    hint = f"look at the logs of {source.name} and {target.name}, then run the same command again"
    if starved:
        reason = "clients write to them without a pause"
        hint = f"on {source.name}, run 'CONFIG SET slot-migration-max-failover-repl-bytes 1mb' first"
    return Problem(
        "move-failed",
        f"{source.name} could not move slots {slots} to {target.name}: {reason}.",
        source.name,
        target.name,
        hint,
        Exit.NODE,
    )


def _lost_writes(source: View, target: View, slots: Slots, job: Job) -> Problem:
    return Problem(
        "writes-may-be-lost",
        f"{target.name} took slots {slots} over so late that {source.name} may have accepted writes to them "
        f"meanwhile, which are lost: {job.message}.",
        source.name,
        target.name,
        "check what clients wrote in these seconds, and the load of both nodes; then run the command again",
        Exit.NODE,
    )


def _moving(node: str, reply: str) -> Problem:
    return refusal(
        "slots-moving",
        f"{node} has slots that are being moved by somebody else: {reply}",
        node,
        hint="let that end first, then run the same command again",
    )


async def settle_jobs(fleet: Asker, names: Iterable[str]) -> None:
    """Wait until no job runs on the primaries `names`: those of a run that was killed end by themselves.

    A job that stands still is cancelled. Raises Refused when a job begins meanwhile, or soon after: somebody
    else is moving slots. Servers without jobs have none.
    """
    names = tuple(names)
    known: set[str] | None = None
    found: dict[str, tuple[str, float]] = {}
    calm_since = now()
    while True:
        running = await _running(fleet, names)
        ids = {job.name for _, job in running}
        if known is None:
            known = ids
            if not ids:
                return
        if new := [(node, job) for node, job in running if job.name not in known]:
            node, job = new[0]
            what = f"slots {job.ranges} began to move while others were moving"
            raise Refused(_moving(node, what))
        if ids:
            calm_since = now()
        elif now() - calm_since > _WATCH:
            return
        for node, job in running:
            state, since = found.get(job.name, ("", 0.0))
            if state != job.state:
                found[job.name] = (job.state, now())
            elif job.exports and state == "waiting-to-pause" and now() - since > _MAX_WAITING_TO_PAUSE:
                await fleet.ask(node, CANCEL)
        await asyncio.sleep(_LOOK)


async def _running(fleet: Asker, names: Sequence[str]) -> list[tuple[str, Job]]:
    async def jobs(name: str) -> list[tuple[str, Job]]:
        [reply] = await fleet.ask(name, JOBS)
        return [(name, job) for job in parse_jobs(reply) if not job.ended]

    return [each for found in await asyncio.gather(*map(jobs, names)) for each in found]
