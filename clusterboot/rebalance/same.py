"""Whether a key that is on both ends of a move has one value there: read type by type, in pieces.

The order of the elements of a set or a hash is its server's own, so their serialized values may differ.
"""

from __future__ import annotations

from itertools import count

from clusterboot.core.views import View
from clusterboot.errors import NodeFailed, Refused, refusal
from clusterboot.loop.observe import Asker, text
from clusterboot.wire.replies import Command, Rejected, Reply, explain

# Bytes of a string, elements of anything else, that are compared at once.
_BYTES, _ELEMENTS = 2**20, 200
# Largest value that is compared in serialized form, as the server estimates its size.
_MAX_DUMPED = 4 * 2**20
_MAX_SHOWN = 60
ASKING: Command = ("ASKING",)


async def same_value(fleet: Asker, source: View, target: View, database: int, key: str) -> bool:
    """Return whether `key` has one value on both ends, or is on one of them only by now; TTLs may differ.

    A stream, or a value of a module, counts as different above 4 MB. Raises NodeFailed when a node refuses.
    """
    return await _Pair(fleet, source, target, database, key).same()


def differing(source: View, target: View, database: int, key: str) -> Refused:
    """Return the error for a key with two values: neither can be overwritten."""
    shown = key if len(key) <= _MAX_SHOWN else key[:_MAX_SHOWN] + "…"
    where = f" of database {database}" if database else ""
    return Refused(
        refusal(
            "key-differs",
            f'The key "{shown}"{where} has one value on {source.name} and another one on {target.name}, to '
            "which its slot moves: a copy would overwrite one of them.",
            source.name,
            target.name,
            f"compare them (on {target.name}, send ASKING before each command), delete the wrong one, then "
            "run the same command again",
        )
    )


class _Pair:
    """A key on both ends; the target answers for a slot that it imports only after ASKING."""

    def __init__(self, fleet: Asker, source: View, target: View, database: int, key: str) -> None:
        self._fleet = fleet
        self._source = source
        self._target = target
        self._database = database
        self._key = key

    async def same(self) -> bool:
        kind, other = await self._both("TYPE")
        if "none" in (kind, other):
            return True
        if kind != other:
            return False
        match kind:
            case "string":
                return await self._in_order("STRLEN", "GETRANGE", _BYTES)
            case "list":
                return await self._in_order("LLEN", "LRANGE", _ELEMENTS)
            case "zset":
                return await self._in_order("ZCARD", "ZRANGE", _ELEMENTS, "WITHSCORES")
            case "hash":
                return await self._unordered("HLEN", "HSCAN")
            case "set":
                return await self._unordered("SCARD", "SSCAN")
        sizes = await self._both("MEMORY", "USAGE")
        if not all(isinstance(size, int) and size <= _MAX_DUMPED for size in sizes):
            return False
        mine, theirs = await self._both("DUMP")
        return mine == theirs

    async def _in_order(self, length: str, read: str, step: int, *more: str) -> bool:
        mine, theirs = await self._both(length)
        if mine != theirs or not isinstance(mine, int):
            return False
        for start in range(0, mine, step):
            piece, other = await self._both(read, str(start), str(start + step - 1), *more)
            if piece != other:
                return False
        return True

    async def _unordered(self, length: str, scan: str) -> bool:
        mine, theirs = await self._both(length)
        if mine != theirs:
            return False
        cursor = "0"
        for turn in count():
            if turn and cursor == "0":
                return True
            [reply] = await self._ask(self._source, (scan, self._key, cursor, "COUNT", str(_ELEMENTS)))
            if not isinstance(reply, list) or len(reply) != 2 or not isinstance(reply[1], list):
                return False
            cursor = text(reply[0])
            words = [text(word) for word in reply[1]]
            if not await self._has(scan, words):
                return False
        raise AssertionError("count is endless")

    async def _has(self, scan: str, words: list[str]) -> bool:
        """Return whether the target's hash has these fields with their values, or its set these members."""
        if scan == "HSCAN":
            fields, values = words[::2], words[1::2]
            asked: list[Command] = [("HGET", self._key, field) for field in fields]
            expected: list[Reply] = list(values)
        else:
            asked = [("SISMEMBER", self._key, member) for member in words]
            expected = [1] * len(words)
        return await self._ask(self._target, *asked) == expected

    async def _both(self, *command: str) -> list[Reply]:
        """Ask both ends; the key goes behind the name of the command."""
        name = 2 if command[0] == "MEMORY" else 1
        sent = (*command[:name], self._key, *command[name:])
        return [(await self._ask(view, sent))[0] for view in (self._source, self._target)]

    async def _ask(self, view: View, *commands: Command) -> list[Reply]:
        words: list[Command] = [("SELECT", str(self._database))] if self._database else []
        asking = [ASKING] if view is self._target else []
        for command in commands:
            words += [*asking, command]
        words += [("SELECT", "0")] if self._database else []
        replies = []
        for command, reply in zip(words, await self._fleet.ask(view.name, *words), strict=True):
            if isinstance(reply, Rejected):
                raise NodeFailed(explain(reply, view.name, command))
            if command[0] not in ("SELECT", "ASKING"):
                replies.append(reply)
        return replies
