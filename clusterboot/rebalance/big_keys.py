"""Keys that are too big to be copied: MIGRATE blocks both ends for as long as a key takes.

Nodes that are silent for their timeout are failed over; so a copy may take half of it at most.
"""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import AsyncIterator, Callable, Mapping

from clusterboot.core.views import View, number
from clusterboot.errors import NodeFailed, Problem, refusal
from clusterboot.loop.observe import Asker, text
from clusterboot.slots import COUNT, Slots
from clusterboot.wire.replies import Command, Rejected, Reply, explain

# Measured: 300 MB blocked a source for 2.6 s, so about 8 ms per MB, and a little for slower machines.
_SECONDS_PER_BYTE = 0.010 / 1_000_000
# Keys per pipeline, which bounds replies and how long other clients wait.
_BATCH = 500
# Slots with more keys are not listed by GETKEYSINSLOT, which has no cursor, but found with SCAN.
_MAX_LISTED = 20_000

Progress = Callable[[int], None]
"""Takes the number of keys looked at so far."""


def allowed_bytes(node_timeout: float) -> int:
    """Return how big a key may be where nodes count as failing after `node_timeout` seconds."""
    return int(node_timeout / 2 / _SECONDS_PER_BYTE)


async def too_big(
    fleet: Asker,
    source: View,
    slots: Slots,
    keys: Mapping[int, int],
    node_timeout: float,
    progress: Progress = lambda looked: None,
) -> list[Problem]:
    """Return a refusal for the biggest key in `slots` if its copy would block `source` too long.

    `keys` are the keys of each slot. Asks nothing where all data of the source is less. Raises NodeFailed.
    """
    allowed = allowed_bytes(node_timeout)
    dataset = number(source.info.get("used_memory_dataset", ""))
    if 0 < dataset < allowed:
        return []
    biggest, of, looked = 0, "", 0
    for database in sorted(each for each, count in source.databases.items() if count):
        async for batch in _batches(fleet, source.name, database, slots, keys):
            usage: list[Command] = [("MEMORY", "USAGE", key) for key in batch]
            for key, size in zip(batch, await _ask(fleet, source.name, database, usage), strict=True):
                # None: the key has just been deleted.
                if isinstance(size, int) and size > biggest:
                    biggest, of = size, key
            looked += len(batch)
            progress(looked)
    return [_problem(source.name, of, biggest, node_timeout)] if biggest > allowed else []


async def _batches(
    fleet: Asker, name: str, database: int, slots: Slots, keys: Mapping[int, int]
) -> AsyncIterator[list[str]]:
    """Yield the keys in `slots` of one database, some at a time."""
    crowded = {slot for slot in slots if keys.get(slot, 0) > _MAX_LISTED}
    batch: list[str] = []
    for slot in slots:
        if slot in crowded or not keys.get(slot):
            continue
        command: Command = ("CLUSTER", "GETKEYSINSLOT", str(slot), str(_MAX_LISTED))
        [reply] = await _ask(fleet, name, database, [command])
        batch += [text(key) for key in reply] if isinstance(reply, list) else []
        while len(batch) >= _BATCH:
            yield batch[:_BATCH]
            batch = batch[_BATCH:]
    if batch:
        yield batch
    cursor = "0" if crowded else ""
    while cursor:
        [reply] = await _ask(fleet, name, database, [("SCAN", cursor, "COUNT", str(_BATCH))])
        after, found = reply if isinstance(reply, list) and len(reply) == 2 else ("0", [])
        listed = [text(key) for key in found] if isinstance(found, list) else []
        if batch := [key for key in listed if slot_of(key) in crowded]:
            yield batch
        cursor = text(after) if text(after) != "0" else ""


async def _ask(fleet: Asker, name: str, database: int, commands: list[Command]) -> list[Reply]:
    select = [("SELECT", str(database))] if database else []
    back = [("SELECT", "0")] if database else []
    sent = [*select, *commands, *back]
    replies = await fleet.ask(name, *sent)
    for command, reply in zip(sent, replies, strict=True):
        if isinstance(reply, Rejected):
            raise NodeFailed(explain(reply, name, command))
    return replies[len(select) : len(select) + len(commands)]


def slot_of(key: str) -> int:
    """Return the slot of a key: of the part between the first { and the next }, unless that is empty."""
    data = key.encode(errors="surrogateescape")
    start = data.find(b"{")
    end = data.find(b"}", start + 1)
    if start >= 0 and end > start + 1:
        data = data[start + 1 : end]
    return crc_hqx(data, 0) % COUNT


def _problem(node: str, key: str, size: int, node_timeout: float) -> Problem:
    seconds = size * _SECONDS_PER_BYTE
    return refusal(
        "key-too-big",
        f"the key {key!r} on {node} takes {size / 1e6:,.0f} MB: copying it would block {node} for about "
        f"{seconds:.1f} s, and after {node_timeout:g} s without an answer it would be failed over.",
        node,
        hint=f"set cluster-node-timeout to {int(seconds * 2000) + 1000} on all nodes for the move, or split "
        "the key",
    )
