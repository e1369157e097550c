"""A dataset of every type, the same for the same size: written fast, and every key compared.

    data = Data(5000)
    data.fill(address)
    assert data.compare(address) == []

Strings, lists, sets, sorted sets, hashes and streams; binary keys and values; every seventh key has a TTL;
one big hash on request; several databases on Valkey 9 (`cluster-databases`).
"""

from __future__ import annotations

import functools
import itertools
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from redis.crc import key_slot

from tests.harness.resp import Connection, Error, packed
from tests.harness.shards import owners, shards

# Commands in one batch, and fields of the big hash in one command.
_BATCH = 500
# Milliseconds by which a TTL may differ: MIGRATE sends what is left of it. Redis 6.2 sends the same number
# on to replicas, which may get it much later.
_TTL_SLACK, _TTL_SLACK_OF_REPLICAS = 5000, 60_000
_FIELD_BYTES = 1000
# Problems that a comparison names before it only counts them.
_NAMED = 10


class Item(NamedTuple):
    """A key: its type, the value as Python has it, when it expires (Unix milliseconds), its database."""

    key: bytes
    kind: str
    value: Any
    expires: int | None
    database: int


@dataclass(frozen=True)
class Data:
    """`keys` keys, and one hash of `megabytes` MB; `databases` are used in turn.

    Every second key is in one of the slots of `crowded`, if there are any.
    """

    keys: int
    megabytes: int = 0
    databases: int = 1
    crowded: tuple[int, ...] = ()
    born: int = field(default_factory=lambda: int(time.time() * 1000))

    def items(self) -> Iterator[Item]:
        """Yield every key with its value; always the same ones."""
        for number in range(self.keys):
            yield self._item(number)
        if self.megabytes:
            fields = self.megabytes * 1_000_000 // _FIELD_BYTES
            value = {b"field:%d" % n: b"%d:" % n + b"x" * (_FIELD_BYTES - 20) for n in range(fields)}
            yield Item(b"big", "hash", value, None, 0)

    def _item(self, number: int) -> Item:
        kind = _KINDS[number % len(_KINDS)]
        key = b"key:%d" % number
        if number % 5 == 0:
            key = b"\x00\xff\r\n%d {}\xc3(" % number  # not UTF-8, with a line break and an empty hash tag
        if number % 2 and self.crowded:
            key = b"{%s}" % _tag(self.crowded[number // 2 % len(self.crowded)]) + key
        expires = self.born + 3_600_000 + number if number % 7 == 0 else None
        return Item(key, kind, _VALUES[kind](number), expires, number % self.databases)

    def fill(self, address: str) -> None:
        """Write all keys to their owners, as the node at `address` sees them."""
        with _Nodes(owners(address)) as nodes:
            for item in self.items():
                for command in _write(item):
                    nodes.send(item, command, _accepted)
            nodes.flush()

    def compare(self, address: str, *, replicas: bool = False, others: str = "w:") -> list[str]:
        """Return what is missing, wrong, has lost its TTL, or lies where it does not belong.

        With `replicas`, each of them is compared too. Keys that contain `others` are somebody else's.
        """
        problems: list[str] = []
        found = shards(address)
        copies = max(len(shard.replicas) for shard in found) if replicas else 0
        for copy in range(-1, copies):
            where = owners(address)
            if copy >= 0:
                instead = {shard.address: shard.replicas[copy : copy + 1] for shard in found}
                where = {slot: instead[owner][0] for slot, owner in where.items() if instead[owner]}
            with _Nodes(where, readonly=copy >= 0) as nodes:
                self._compare(nodes, problems)
        if not replicas:
            problems += self._strays(address, others.encode())
        return problems[:_NAMED] + ([f"{len(problems)} problems in all"] if len(problems) > _NAMED else [])

    def _compare(self, nodes: _Nodes, problems: list[str]) -> None:
        for item in self.items():
            if key_slot(item.key) not in nodes.owners:
                continue
            nodes.send(item, _READ[item.kind](item.key), lambda *told: problems.extend(_same(*told)))
            nodes.send(item, ("PTTL", item.key), lambda *told: problems.extend(_ttl(*told, nodes.slack)))
        nodes.flush()

    def _strays(self, address: str, others: bytes) -> list[str]:
        """Return keys of slots that their node does not serve, and keys that nobody has written."""
        known = {(item.database, item.key) for item in self.items()}
        problems = []
        for shard in shards(address):
            with Connection(shard.address, timeout=60.0, raw=True) as connection:
                for database in range(self.databases):
                    if self.databases > 1:
                        connection.call("SELECT", database)
                    for key in _scan(connection):
                        if key_slot(key) not in shard.slots:
                            problems.append(f"{shard.address} has {key!r} of a slot that it does not serve")
                        elif others not in key and (database, key) not in known:
                            problems.append(f"{shard.address} has {key!r}, which nobody has written")
        return problems


@functools.cache
def _tag(slot: int) -> bytes:
    """Return a hash tag of a slot."""
    return next(tag for tag in (b"%d" % number for number in itertools.count()) if key_slot(tag) == slot)


class _Nodes:
    """Connections to the owners of slots, by node and database, with batches of commands."""

    def __init__(self, owners: dict[int, str], *, readonly: bool = False) -> None:
        self.owners = owners
        self.slack = _TTL_SLACK_OF_REPLICAS if readonly else _TTL_SLACK
        self._readonly = readonly
        self._connections: dict[tuple[str, int], Connection] = {}
        self._waiting: dict[tuple[str, int], list[tuple[Item, bytes, _Judge]]] = defaultdict(list)

    def __enter__(self) -> _Nodes:
        return self

    def __exit__(self, *exc: object) -> None:
        for connection in self._connections.values():
            connection.close()

    def send(self, item: Item, command: Sequence[object], judge: _Judge) -> None:
        where = (self.owners[key_slot(item.key)], item.database)
        batch = self._waiting[where]
        batch.append((item, packed(*command), judge))
        if len(batch) >= _BATCH:
            self._exchange(where)

    def flush(self) -> None:
        for where in list(self._waiting):
            self._exchange(where)

    def _exchange(self, where: tuple[str, int]) -> None:
        batch = self._waiting.pop(where)
        connection = self._connections.get(where)
        if connection is None:
            connection = self._connections[where] = Connection(where[0], timeout=60.0, raw=True)
            if self._readonly:
                assert connection.call("READONLY") == "OK"
            if where[1]:
                assert connection.call("SELECT", where[1]) == "OK"
        connection.socket.sendall(b"".join(data for _, data, _ in batch))
        for item, _, judge in batch:
            judge(where[0], item, connection.read())


_Judge = Callable[[str, Item, Any], object]


def _accepted(address: str, item: Item, reply: Any) -> None:
    assert not isinstance(reply, Error), f"{address}: {item.key!r}: {reply}"


def _same(address: str, item: Item, reply: Any) -> Iterator[str]:
    if isinstance(reply, Error):
        yield f"{address}: {item.key!r}: {reply}"
    elif reply is None or reply == []:
        yield f"{address}: {item.key!r} is missing"
    elif _PLAIN[item.kind](reply) != item.value:
        yield f"{address}: {item.key!r} ({item.kind}) is {str(reply)[:80]}, not {str(item.value)[:80]}"


def _ttl(address: str, item: Item, reply: Any, slack: int) -> Iterator[str]:
    left = None if item.expires is None else item.expires - time.time() * 1000
    if reply == -2:
        return  # missing, and named for that
    if (left is None) != (reply == -1) or (left is not None and abs(reply - left) > slack):
        yield f"{address}: {item.key!r} has a TTL of {reply} ms, not {left or -1:.0f}"


def _scan(connection: Connection) -> Iterator[bytes]:
    cursor: object = b"0"
    while True:
        cursor, keys = connection.call("SCAN", cursor, "COUNT", 1000)
        yield from keys
        if cursor == b"0":
            return


def _write(item: Item) -> Iterator[Sequence[object]]:
    if item.kind == "hash":
        pairs = list(item.value.items())
        for start in range(0, len(pairs), _BATCH):
            yield ("HSET", item.key, *(part for pair in pairs[start : start + _BATCH] for part in pair))
    elif item.kind == "stream":
        for entry, parts in item.value:
            yield ("XADD", item.key, entry, *parts)
    elif item.kind == "zset":
        yield ("ZADD", item.key, *(part for name, score in item.value.items() for part in (score, name)))
    else:
        name = {"string": "SET", "list": "RPUSH", "set": "SADD"}[item.kind]
        yield (name, item.key, *([item.value] if item.kind == "string" else item.value))
    if item.expires is not None:
        yield ("PEXPIREAT", item.key, item.expires)


def _pairs(flat: Sequence[Any]) -> dict[Any, Any]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


_READ: dict[str, Callable[[bytes], Sequence[object]]] = {
    "string": lambda key: ("GET", key),
    "list": lambda key: ("LRANGE", key, 0, -1),
    "set": lambda key: ("SMEMBERS", key),
    "zset": lambda key: ("ZRANGE", key, 0, -1, "WITHSCORES"),
    "hash": lambda key: ("HGETALL", key),
    "stream": lambda key: ("XRANGE", key, "-", "+"),
}
_PLAIN: dict[str, Callable[[Any], Any]] = {
    "string": lambda reply: reply,
    "list": lambda reply: reply,
    "set": set,
    "zset": lambda reply: {name: int(score) for name, score in _pairs(reply).items()},
    "hash": _pairs,
    "stream": lambda reply: reply,
}
_BYTES = random.Random(1).randbytes(4096)
_VALUES: dict[str, Callable[[int], Any]] = {
    # Bytes of all kinds, between 20 and 220 of them.
    "string": lambda n: b"%d:" % n + _BYTES[n % 3000 : n % 3000 + 20 + n % 200],
    "list": lambda n: [b"%d" % n, b"", b"\xff" * (n % 50), b"last"],
    "set": lambda n: {b"%d" % (n + k) for k in range(1 + n % 9)} | {b"name"},
    "zset": lambda n: {b"member:%d" % k: n + k for k in range(1 + n % 9)},
    "hash": lambda n: {b"field:%d" % k: b"%d" % (n + k) for k in range(1 + n % 9)},
    "stream": lambda n: [[b"%d-1" % (n + 1), [b"a", b"%d" % n]], [b"%d-2" % (n + 1), [b"b", b"\x00\xff"]]],
}
_KINDS = ("string",) * 6 + ("list", "set", "zset", "hash", "stream")
