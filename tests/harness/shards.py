"""Who serves which slots, read over plain sockets: owners, open slots, running jobs, shares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tests.harness.resp import Error, call

SLOTS = 16384
# The last states of a slot migration job of Valkey.
_FINAL = {"success", "failed", "cancelled"}


@dataclass(frozen=True)
class Shard:
    """A primary by its address, its id, its slots, and the addresses of its replicas."""

    address: str
    id: str
    slots: frozenset[int]
    replicas: tuple[str, ...]


def shards(address: str) -> list[Shard]:
    """Return all primaries as one node sees them; those without slots too."""
    lines = [line.split() for line in _ask(address, "CLUSTER", "NODES").splitlines()]
    found = []
    for fields in lines:
        if "master" in fields[2]:
            replicas = tuple(_address(other[1]) for other in lines if other[3] == fields[0])
            slots = frozenset(_slots(part for part in fields[8:] if not part.startswith("[")))
            found.append(Shard(_address(fields[1]), fields[0], slots, replicas))
    return found


def owners(address: str) -> dict[int, str]:
    """Return the address of the primary of each slot, as one node sees it."""
    return {slot: shard.address for shard in shards(address) for slot in shard.slots}


def counts(address: str) -> dict[str, int]:
    """Return how many slots each primary serves, by address."""
    return {shard.address: len(shard.slots) for shard in shards(address)}


def open_slots(addresses: Iterable[str]) -> list[str]:
    """Return every mark of an open slot and every job that still runs, with the node that shows it."""
    found = []
    for address in addresses:
        for line in _ask(address, "CLUSTER", "NODES").splitlines():
            if "myself" in line.split()[2]:
                found += [f"{address} {part}" for part in line.split()[8:] if part.startswith("[")]
        jobs = call(address, "CLUSTER", "GETSLOTMIGRATIONS")
        if isinstance(jobs, list):
            states = [dict(zip(job[::2], job[1::2], strict=True)) for job in jobs]
            found += [f"{address} job {job['name']}" for job in states if job["state"] not in _FINAL]
    return found


def off_shares(address: str, weights: Mapping[str, float]) -> list[str]:
    """Return what is more than 2 % beside the share of its weight (0: no slots); [] if all are right."""
    have, whole = counts(address), sum(weights.values())
    found = []
    for each in sorted({*have, *weights}):
        share = SLOTS * weights.get(each, 0) / whole
        if abs(have.get(each, 0) - share) > max(1.0, share * 0.02):
            found.append(f"{each} serves {have.get(each, 0)} slots, its share is {share:.0f}")
    return found


def views(addresses: Sequence[str]) -> dict[str, list[str]]:
    """Return what each node says of all: id, address, role, primary, slots and marks.

    Without times and epochs, and without `nofailover`: all of them travel by gossip for a while.
    """
    found = {}
    for address in addresses:
        lines = [line.split() for line in _ask(address, "CLUSTER", "NODES").splitlines()]
        for fields in lines:
            fields[2] = ",".join(flag for flag in fields[2].split(",") if flag != "nofailover")
        found[address] = sorted(" ".join([*fields[:4], *fields[8:]]) for fields in lines)
    return found


def _ask(address: str, *command: str) -> str:
    reply = call(address, *command)
    assert not isinstance(reply, Error), f"{address} answers {command} with {reply}"
    return str(reply)


def _address(text: str) -> str:
    return text.partition("@")[0]


def _slots(parts: Iterable[str]) -> Iterable[int]:
    for part in parts:
        low, _, high = part.partition("-")
        yield from range(int(low), int(high or low) + 1)
