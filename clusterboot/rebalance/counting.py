"""Counting keys by slot, in every database of a node: COUNTKEYSINSLOT sees the selected one only."""

from __future__ import annotations

from clusterboot.core.views import View
from clusterboot.errors import NodeFailed
from clusterboot.loop.observe import Asker
from clusterboot.slots import Slots
from clusterboot.wire.replies import Command, Rejected, explain

# Max slots per pipeline.
_MAX_COUNTED = 1000


async def count_keys(fleet: Asker, view: View, slots: Slots) -> dict[int, int]:
    """Return the number of keys in each of `slots` that has any, in the databases where `view` has keys.

    Raises NodeFailed when the node does not answer or refuses. Database 0 is selected again at the end.
    """
    found: dict[int, int] = {}
    todo = tuple(slots)
    for database in sorted(number for number, keys in view.databases.items() if keys):
        # SELECT needs a permission that database 0 does not.
        select = [("SELECT", str(database))] if database else []
        back = [("SELECT", "0")] if database else []
        for start in range(0, len(todo), _MAX_COUNTED):
            batch = todo[start : start + _MAX_COUNTED]
            counts: list[Command] = [("CLUSTER", "COUNTKEYSINSLOT", str(slot)) for slot in batch]
            sent = [*select, *counts, *back]
            replies = await fleet.ask(view.name, *sent)
            for command, reply in zip(sent, replies, strict=True):
                if isinstance(reply, Rejected):
                    raise NodeFailed(explain(reply, view.name, command))
            for slot, reply in zip(batch, replies[len(select) :], strict=False):
                if isinstance(reply, int) and reply:
                    found[slot] = found.get(slot, 0) + reply
    return found
