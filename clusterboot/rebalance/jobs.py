"""Atomic jobs of Valkey: what CLUSTER GETSLOTMIGRATIONS lists, and waiting for those of a killed run."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from clusterboot.errors import Problem, Refused, refusal
from clusterboot.loop.observe import Asker, now, text
from clusterboot.wire.replies import Command, Reply

JOBS: Command = ("CLUSTER", "GETSLOTMIGRATIONS")
CANCEL: Command = ("CLUSTER", "CANCELSLOTMIGRATIONS")

_FINAL = frozenset({"success", "failed", "cancelled"})
# A job waits for a moment without unsent writes before it pauses its source, if need be for ever; it tries
# every 100 ms. Seconds after which it stands still.
WAITING_TO_PAUSE = "waiting-to-pause"
MAX_WAITING_TO_PAUSE = 2.0
# Seconds between two looks.
_LOOK = 0.1
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
                    found.get("message", "").strip(),
                )
            )
    return tuple(jobs)


def slots_moving(node: str, reply: str) -> Problem:
    """Return the refusal for slots that somebody else is moving, with the words of `node`."""
    return refusal(
        "slots-moving",
        f"{node} has slots that are being moved by somebody else: {reply}",
        node,
        hint="let that end first, then run the same command again",
    )


async def settle_jobs(fleet: Asker, names: Iterable[str]) -> bool:
    """Wait until no job runs on the primaries `names`: those of a run that was killed end by themselves.

    Returns whether there were any: earlier views may have other owners then. A job that stands still is
    cancelled. Raises Refused when a job begins meanwhile, or soon after: somebody else is moving slots.
    Servers without jobs have none.
    """
    names = tuple(names)
    known: set[str] | None = None
    # By node too: both ends of a job list it under one name, each in a state of its own.
    found: dict[tuple[str, str], tuple[str, float]] = {}
    calm_since = now()
    while True:
        running = await _running(fleet, names)
        ids = {job.name for _, job in running}
        if known is None:
            known = ids
            if not ids:
                return False
        if new := [(node, job) for node, job in running if job.name not in known]:
            node, job = new[0]
            what = f"slots {job.ranges} began to move while others were moving"
            raise Refused(slots_moving(node, what))
        if ids:
            calm_since = now()
        elif now() - calm_since > _WATCH:
            return True
        for node, job in running:
            state, since = found.get((node, job.name), ("", 0.0))
            if state != job.state:
                found[node, job.name] = (job.state, now())
            elif job.exports and state == WAITING_TO_PAUSE and now() - since > MAX_WAITING_TO_PAUSE:
                await fleet.ask(node, CANCEL)
        await asyncio.sleep(_LOOK)


async def _running(fleet: Asker, names: Sequence[str]) -> list[tuple[str, Job]]:
    async def jobs(name: str) -> list[tuple[str, Job]]:
        [reply] = await fleet.ask(name, JOBS)
        return [(name, job) for job in parse_jobs(reply) if not job.ended]

    return [each for found in await asyncio.gather(*map(jobs, names)) for each in found]
