"""Keys that may have come back: a MIGRATE had no answer, and since then a client has deleted them.

A target that answers too late restores what it was sent all the same. The source then still has these keys,
and a client may delete them there: the copy stays. Whether a key on the target is such a copy, or arrived in
time (a MIGRATE with several keys deletes those that were answered), or was made anew by a client, cannot be
told afterwards. So nothing is deleted, and the keys are named.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from clusterboot.core.views import View, parse_fields
from clusterboot.errors import NodeFailed, Problem, warning
from clusterboot.loop.observe import Asker, now, text
from clusterboot.rebalance.databases import ask_in
from clusterboot.wire.replies import Command, Rejected
from clusterboot.wording import count, shortened

_COMMANDS: Command = ("INFO", "commandstats")
# So many looks at how many keys were restored have to agree, this many seconds apart, in so many seconds.
_SAME_LOOKS, _LOOK_SECONDS, _SECONDS = 3, 0.02, 5.0
# Max keys in one pipeline.
_MAX_ASKED = 1000
_MAX_KEY_SHOWN = 60


async def returned(
    fleet: Asker, source: View, target: View, keys: Iterable[tuple[int, str]]
) -> list[Problem]:
    """Return a warning about those of `keys` (with their database) that only the target has, if any.

    `keys` were sent without an answer, and `target` still imports their slots. Where a node does not answer,
    the warning is about all of them.
    """
    keys = tuple(keys)
    try:
        await _restored(fleet, target.name)
        doubtful = await _moved(fleet, source, target, keys)
    except NodeFailed:
        doubtful = keys
    return [_doubtful(source, target, doubtful)] if doubtful else []


async def _restored(fleet: Asker, name: str) -> None:
    """Wait until a node has worked off what it was sent: each turn of its loop restores some of it."""
    seen: list[str] = []
    end = now() + _SECONDS
    while now() < end:
        [reply] = await fleet.ask(name, _COMMANDS, timeout=_SECONDS)
        fields = {} if isinstance(reply, Rejected) else parse_fields(text(reply))
        calls = fields.get("cmdstat_restore-asking", "").partition(",")[0]
        seen = [*(each for each in seen if each == calls), calls]
        if len(seen) >= _SAME_LOOKS:
            return
        await asyncio.sleep(_LOOK_SECONDS)


async def _moved(
    fleet: Asker, source: View, target: View, keys: Sequence[tuple[int, str]]
) -> tuple[tuple[int, str], ...]:
    """Return those of `keys` that are on the target and not on the source."""
    found = []
    for database in dict.fromkeys(database for database, _ in keys):
        mine = [key for number, key in keys if number == database]
        for start in range(0, len(mine), _MAX_ASKED):
            some = mine[start : start + _MAX_ASKED]
            # A source answers ASK for a key that it no longer has.
            here = await ask_in(fleet, source.name, database, *(("EXISTS", key) for key in some))
            asking: list[Command] = [word for key in some for word in (("ASKING",), ("EXISTS", key))]
            there = (await ask_in(fleet, target.name, database, *asking))[1::2]
            for key, stays, arrived in zip(some, here, there, strict=True):
                # Anything but 0 is no proof that it is not there.
                if stays != 1 and arrived != 0:
                    found.append((database, key))
    return tuple(found)


def _doubtful(source: View, target: View, keys: Sequence[tuple[int, str]]) -> Problem:
    names = [
        f'"{key[:_MAX_KEY_SHOWN]}"' + (f" of database {database}" if database else "")
        for database, key in keys
    ]
    return warning(
        "keys-may-be-back",
        f"{target.name} answered too late while {count(len(keys), 'key')} moved there from {source.name}: if "
        f"clients deleted any of them in these seconds, they may exist again: {shortened(names)}.",
        source.name,
        target.name,
        "if your application deletes keys, look which of these should not exist, and delete them again",
    )
