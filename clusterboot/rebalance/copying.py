"""Moving one window of slots by copy, on any server: SETSLOT and MIGRATE.

The slots are opened on both ends, MIGRATE takes their keys across, and the owner is changed where that must
happen first: the target, which gets a new epoch. While a slot is open, its source answers ASK for keys that
it no longer has. See clusterCommand and migrateCommand in cluster.c and cluster_legacy.c.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from clusterboot.core.pace import Pace
from clusterboot.core.views import View
from clusterboot.errors import Exit, NodeFailed, Problem
from clusterboot.loop.observe import Asker, now, text
from clusterboot.rebalance.counting import count_keys
from clusterboot.rebalance.databases import KEYSPACE, ask_in, read_databases
from clusterboot.rebalance.returned import returned
from clusterboot.rebalance.same import differing, same_value
from clusterboot.slots import Slots
from clusterboot.wire.replies import Command, Login, Rejected, Reply, explain

PING: Command = ("PING",)

# Max SETSLOTs in one pipeline, and the seconds that it may take: on Valkey each waits for the replicas.
_MAX_PIPELINED, _SETSLOT_SECONDS = 256, 30.0
# The target tells all members at once of each slot that it takes (Redis 7.0): in one go that takes long.
_MAX_TAKEN = 10
# Max keys that one pipeline of GETKEYSINSLOT may return.
_MAX_LISTED = 4000
# How many keys are listed at once where each is moved alone.
_LISTED_ALONE = 50
# How often a window is gone through, and a key is sent again after a timeout.
_ROUNDS, _TRIES = 100, 5
# In the error reply of a replica to SETSLOT.
_ONLY_PRIMARIES = "SETSLOT only with"
# At the start of an error reply of MIGRATE that comes from its target.
_OF_TARGET = "ERR Target instance replied with error: "
# Seconds for everything else around a MIGRATE.
_MORE_SECONDS = 5.0


async def migrate(
    fleet: Asker,
    source: View,
    target: View,
    slots: Slots,
    pace: Pace | None = None,
    where: tuple[str, int] | None = None,
    warn: Callable[[Problem], None] = lambda problem: None,
) -> int:
    """Move `slots` from `source`, which serves them, to `target`; returns how many keys were sent.

    Also goes on with slots that are already open between the two. `pace` learns how long the source was
    blocked, and how long the slots were open; `where` is the `endpoint` of the target, if known.
    `warn` is called for keys that clients may have deleted in vain, because a MIGRATE had no answer. Raises
    Refused when a key has another value on the target, NodeFailed when a node refuses or does not answer; the
    slots are then open, or one end has changed the owner: `open_slots.settle` goes on from there.
    """
    pace = pace or Pace()
    where = where or await endpoint(fleet, source, target)
    # Clients are sent to the target only by the source, so that nobody is so far.
    await set_slots(fleet, target.name, slots, "IMPORTING", source.id)
    window, start = _Window(fleet, source, target, slots, pace, where), now()
    try:
        keys = await window.copy()
    finally:
        if unanswered := window.unanswered:
            for problem in await returned(fleet, source, target, unanswered):
                warn(problem)
    await window.hand_over()
    pace.opened(len(slots), keys, now() - start)
    return keys


async def set_slots(
    fleet: Asker, name: str, slots: Iterable[int], *words: str, at_once: int = _MAX_PIPELINED
) -> None:
    """Send `CLUSTER SETSLOT n words…` for each of `slots` to a node; NodeFailed when it refuses one."""
    commands: list[Command] = [("CLUSTER", "SETSLOT", str(slot), *words) for slot in slots]
    for start in range(0, len(commands), at_once):
        batch = commands[start : start + at_once]
        replies = await fleet.ask(name, *batch, timeout=_SETSLOT_SECONDS)
        for command, reply in zip(batch, replies, strict=True):
            if isinstance(reply, Rejected):
                raise NodeFailed(explain(reply, name, command))


async def endpoint(fleet: Asker, source: View, target: View) -> tuple[str, int]:
    """Return where `source` reaches clients' connections of `target`: as it lists it, if it does."""
    listed = source.knows(target.id)
    host = (listed.ip if listed else "") or target.me.ip or fleet.ip(target.name)
    port = (listed.port if listed else 0) or target.me.port
    # Both are listed for whoever asks: with TLS the tls-port, else the port. MIGRATE uses what the bus uses.
    names = ("tls-port", "cluster-announce-tls-port", "port", "cluster-announce-port")
    replies = await fleet.ask(target.name, *(("CONFIG", "GET", name) for name in names))
    tls, announced_tls, plain, announced = map(_setting, replies)
    if source.config.get("tls-cluster") == "yes":
        return host, announced_tls or tls or port
    if tls and port in (tls, announced_tls):
        return host, announced or plain or port
    return host, port


def _setting(reply: Reply) -> int:
    words = reply if isinstance(reply, list) else []
    value = text(words[1]) if len(words) > 1 else ""
    return int(value) if value.isdecimal() else 0


class _Window:
    """One window of slots between `source` and `target`, which imports them already, at `where`."""

    def __init__(
        self, fleet: Asker, source: View, target: View, slots: Slots, pace: Pace, where: tuple[str, int]
    ) -> None:
        self._fleet = fleet
        self._source = source
        self._target = target
        self._slots = slots
        self._pace = pace
        # A MIGRATE that waits longer for its target blocks the source until others take it for failed.
        self._patience = max(0.25, source.node_timeout / 2)
        self._where = where
        # Keys by database that a MIGRATE of this window sent, without an answer: a copy of them is ours.
        self._sent: set[tuple[int, str]] = set()
        # Those of them that no MIGRATE has answered for since: insertion order.
        self.unanswered: dict[tuple[int, str], None] = {}
        self._moved = 0

    async def copy(self) -> int:
        """Open the slots on the source, and send keys until it has none in any database; returns how many.

        From then on the source sends clients to the target for keys that it does not have.
        """
        opens: list[Command] = [
            ("CLUSTER", "SETSLOT", str(slot), "MIGRATING", self._target.id) for slot in self._slots
        ]
        await self._copy_database(0, tuple(self._slots), opens)
        for _ in range(_ROUNDS):
            # Clients of Valkey may begin to use a database at any time.
            found, left = await self._left()
            if not left:
                return self._moved
            for database in sorted(found):
                await self._copy_database(database, sorted(left))
        raise NodeFailed(self._endless(min(left)))

    async def _left(self) -> tuple[dict[int, int], dict[int, int]]:
        """Return the databases of the source, and how many keys it has in each slot, in all of them."""
        counts: list[Command] = [("CLUSTER", "COUNTKEYSINSLOT", str(slot)) for slot in self._slots]
        keyspace, *counted = await self._ask(0, KEYSPACE, *counts)
        found = read_databases(keyspace, self._source)
        left = {
            slot: number
            for slot, number in zip(self._slots, counted, strict=True)
            if isinstance(number, int) and number
        }
        if more := {database: keys for database, keys in found.items() if database}:
            others = await count_keys(self._fleet, replace(self._source, databases=more), self._slots)
            left = {slot: left.get(slot, 0) + others.get(slot, 0) for slot in {*left, *others}}
        return found | {0: 1}, left

    async def hand_over(self) -> None:
        """Change the owner on the target, then on the source."""
        to = ("NODE", self._target.id)
        await set_slots(self._fleet, self._target.name, self._slots, *to, at_once=_MAX_TAKEN)
        try:
            await set_slots(self._fleet, self._source.name, self._slots, *to)
        except NodeFailed as failed:
            # A source without slots may be a replica of the target already.
            if _ONLY_PRIMARIES not in str(failed):
                raise

    async def _copy_database(
        self, database: int, slots: Sequence[int], opens: Sequence[Command] = ()
    ) -> None:
        """Send the keys that `database` has in `slots`, some slots at a time; `opens` go first."""
        at_once = max(1, _MAX_LISTED // self._pace.keys)
        for start in range(0, len(slots), at_once):
            some = slots[start : start + at_once]
            lists = [self._list(slot, self._pace.keys) for slot in some]
            more = _SETSLOT_SECONDS if opens else 0.0
            replies = (await self._ask(database, *opens, *lists, more=more))[len(opens) :]
            opens = ()
            listed = [(slot, _words(reply)) for slot, reply in zip(some, replies, strict=True)]
            todo = deque((slot, keys) for slot, keys in listed if keys)
            while todo:
                await self._send(database, todo)

    async def _send(self, database: int, todo: deque[tuple[int, list[str]]]) -> None:
        """Send as many keys of `todo` as fit into one pipeline; what is left of their slots goes back."""
        pace, room = self._pace, self._pace.keys
        batch: list[tuple[int, list[str]]] = []
        # A call costs as much as some keys, so that those of a slot stay together.
        while todo and len(batch) < pace.calls and (not batch or len(todo[0][1]) <= room):
            slot, keys = todo.popleft()
            batch.append((slot, keys[:room]))
            room -= len(keys)
        # All of them may run into their timeout.
        patience = self._patience / len(batch)
        sent: list[Command] = []
        for slot, keys in batch:
            # The list has all that is left: what this call could not send, and what was not listed yet.
            sent += [self._migrate(database, keys, patience), self._list(slot, pace.keys)]
        start = now()
        replies = await self._ask(database, *sent)
        pace.learn(sum(len(keys) for _, keys in batch), now() - start)
        for (slot, keys), reply, listed in zip(batch, replies[::2], replies[1::2], strict=True):
            if isinstance(reply, Rejected):
                self._accept(reply, database, keys)
                await self._send_alone(database, slot)
                continue
            self._moved += len(keys)
            if left := _words(listed):
                todo.appendleft((slot, left))

    async def _send_alone(self, database: int, slot: int) -> None:
        """Send the keys of a slot one by one: something is wrong with one of them, or it is large."""
        while True:
            [reply] = await self._ask(database, self._list(slot, _LISTED_ALONE))
            keys = _words(reply)
            if not keys:
                return
            for key in keys:
                await self._send_one(database, key)
                self._moved += 1

    async def _send_one(self, database: int, key: str) -> None:
        """Send one key. A copy on the target is replaced if this run has sent it or the value is the same."""
        for attempt in range(_TRIES):
            replaces = (database, key) in self._sent
            [reply] = await self._ask(database, self._migrate(database, [key], self._patience, replaces))
            if not isinstance(reply, Rejected):
                # Else NOKEY: the source has lost it meanwhile, and what the target has is not known.
                if reply == "OK":
                    self.unanswered.pop((database, key), None)
                return
            self._accept(reply, database, [key], last=attempt == _TRIES - 1)
            if reply.startswith("IOERR"):
                # What it has received so far it works off before it answers twice.
                await self._fleet.ask(self._target.name, PING)
                await self._fleet.ask(self._target.name, PING)
            elif "BUSYKEY" in reply:
                if not await same_value(self._fleet, self._source, self._target, database, key):
                    raise differing(self._source, self._target, database, key)
                self._sent.add((database, key))

    def _accept(self, reply: Rejected, database: int, keys: Iterable[str], *, last: bool = False) -> None:
        """Note what an error reply of MIGRATE means; NodeFailed unless the keys can be sent once more.

        After IOERR the target may have the keys, and the source still has those without an answer.
        """
        if reply.startswith("IOERR"):
            sent = [(database, key) for key in keys]
            self._sent.update(sent)
            self.unanswered |= dict.fromkeys(sent)
        if last or not ("BUSYKEY" in reply or reply.startswith("IOERR")):
            raise NodeFailed(self._refused(reply))

    def _migrate(
        self, database: int, keys: Sequence[str], patience: float, replaces: bool = False
    ) -> Command:
        host, port = self._where
        words = ["REPLACE"] if replaces else []
        login = Login(self._target.name)
        milliseconds = str(max(1, int(patience * 1000)))
        return ("MIGRATE", host, str(port), "", str(database), milliseconds, *words, login, "KEYS", *keys)

    @staticmethod
    def _list(slot: int, most: int) -> Command:
        return ("CLUSTER", "GETKEYSINSLOT", str(slot), str(most))

    async def _ask(self, database: int, *commands: Command, more: float = 0.0) -> list[Reply]:
        """Ask the source in `database`; NodeFailed when it refuses anything but MIGRATE."""
        seconds = 2 * self._patience + _MORE_SECONDS + more
        return await ask_in(self._fleet, self._source.name, database, *commands, timeout=seconds)

    def _refused(self, reply: Rejected) -> Problem:
        if reply.startswith("IOERR"):
            host, port = self._where
            return Problem(
                "move-failed",
                f"{self._source.name} cannot send keys to {self._target.name} at {host}:{port}: {reply}",
                self._source.name,
                self._target.name,
                f"check that {self._source.name} reaches this address and that {self._target.name} answers "
                "there, then run the same command again: it goes on from here",
                Exit.NODE,
            )
        # What the target answers is its own.
        _, of_target, answer = reply.partition(_OF_TARGET)
        if of_target:
            return explain(answer, self._target.name, ("RESTORE-ASKING",))
        return explain(reply, self._source.name, ("MIGRATE",))

    def _endless(self, slot: int) -> Problem:
        return Problem(
            "move-failed",
            f"{self._source.name} still has keys in slot {slot} after all were sent to {self._target.name} "
            f"{_ROUNDS} times: clients make new ones there.",
            self._source.name,
            self._target.name,
            "look for clients that write to this slot in scripts or transactions, then run the same command "
            "again",
            Exit.NODE,
        )


def _words(reply: Reply) -> list[str]:
    return [word for word in reply if isinstance(word, str)] if isinstance(reply, list) else []
