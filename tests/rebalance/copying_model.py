"""Primaries and replicas to which slots are copied: a model that fails as soon as a key could be lost.

Every command of a move by copy is checked when it comes: what may never happen is an AssertionError here.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from clusterboot.core.views import View, parse_nodes
from clusterboot.slots import Slots
from clusterboot.wire.replies import Command, Rejected, Reply


@dataclass
class Node:
    """One primary with one replica; `keys` by slot and key, `offset` counts what it has written."""

    name: str
    id: str
    slots: set[int]
    keys: dict[int, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    importing: dict[int, str] = field(default_factory=dict)
    migrating: dict[int, str] = field(default_factory=dict)
    offset: int = 0
    replicated: int = 0
    # Keys that clients make in a slot while it is open, after it was listed once.
    late: dict[int, dict[str, str]] = field(default_factory=dict)

    @property
    def replica(self) -> str:
        return f"{self.name}-replica"


class Model:
    """Nodes by name, as an Asker; the slots of each are `owned`."""

    def __init__(self, *owned: Iterable[int]) -> None:
        nodes = [Node(f"n{place}", f"{place + 1:040x}", set(slots)) for place, slots in enumerate(owned)]
        self.nodes = {node.name: node for node in nodes}
        self.by_id = {node.id: node for node in nodes}
        self.sent: set[tuple[str, str]] = set()  # by source: keys of a MIGRATE without an answer
        self.silent: set[str] = set()  # keys whose next MIGRATE gets no answer
        self.opened: list[tuple[str, str, int]] = []
        self.asked = 0
        self.on_ask: Callable[[int], object] = lambda asked: None

    def ip(self, name: str) -> str:
        return "192.0.2.1"

    def views(self) -> dict[str, View]:
        found = {}
        for node in self.nodes.values():
            info = {"role": "master"}
            found[node.name] = View(node.name, "192.0.2.1", parse_nodes(self._listed(node.name)), info)
            info = {"role": "slave", "master_link_status": "up"}
            found[node.replica] = View(
                node.replica, "192.0.2.1", parse_nodes(self._listed(node.replica)), info
            )
        return found

    @property
    def marks(self) -> int:
        return sum(len(node.importing) + len(node.migrating) for node in self.nodes.values())

    def _listed(self, asked: str) -> str:
        lines = []
        for place, node in enumerate(self.nodes.values()):
            ends = f"192.0.2.1:{7000 + place}@17000"
            myself = "myself," if node.name == asked else ""
            slots = str(Slots.of((slot, slot) for slot in node.slots)).replace(",", " ")
            lines.append(f"{node.id} {ends} {myself}master - 0 0 1 connected {slots}".rstrip())
            myself = "myself," if node.replica == asked else ""
            id_ = f"{place + 100:040x}"
            lines.append(f"{id_} 192.0.2.1:{8000 + place}@18000 {myself}slave {node.id} 0 0 1 connected")
        return "\n".join(lines)

    async def ask(self, name: str, *commands: Command, timeout: float = 5.0) -> list[Reply]:
        self.asked += 1
        self.on_ask(self.asked)
        await asyncio.sleep(0)
        replies = [self._answer(name, command) for command in commands]
        await asyncio.sleep(0)
        return replies

    def _answer(self, name: str, command: Command) -> Reply:
        words = tuple(str(word) for word in command)
        if name.endswith("-replica"):
            return self._of_replica(self.nodes[name.removesuffix("-replica")], words)
        node = self.nodes[name]
        match words:
            case ("CLUSTER", "SETSLOT", slot, how, other):
                return self._set(node, int(slot), how, self.by_id[other])
            case ("CLUSTER", "GETKEYSINSLOT", slot, most):
                found = list(node.keys[int(slot)])[: int(most)]
                if int(slot) in node.migrating and not found:
                    node.keys[int(slot)] |= node.late.pop(int(slot), {})
                return list(found)
            case ("CLUSTER", "COUNTKEYSINSLOT", slot):
                return len(node.keys[int(slot)])
            case ("CLUSTER", "NODES"):
                return self._listed(name)
            case ("INFO", "keyspace"):
                return "db0:keys=1,expires=0\r\n"
            case ("INFO", "replication"):
                return f"role:master\r\nmaster_repl_offset:{node.offset}\r\n"
            case ("INFO", _):
                return ""
            case ("CONFIG", "GET", _):
                return []
            case ("MIGRATE", _, port, *rest):
                return self._migrate(node, list(self.nodes.values())[int(port) - 7000], rest)
            case ("ASKING",) | ("PING",):
                return "OK"
            case (kind, key, *_) if kind in ("TYPE", "STRLEN", "GETRANGE", "EXISTS"):
                held = [keys[key] for keys in node.keys.values() if key in keys]
                value = held[0] if held else None
                return {
                    "TYPE": "string" if held else "none",
                    "STRLEN": len(value or ""),
                    "GETRANGE": value or "",
                    "EXISTS": len(held),
                }[kind]
        raise AssertionError(command)

    def _of_replica(self, primary: Node, words: Sequence[str]) -> Reply:
        if words[0] == "CLUSTER":
            return self._listed(primary.replica)
        # It gets there in several looks.
        primary.replicated = min(primary.offset, primary.replicated + 1 + primary.offset // 4)
        return f"role:slave\r\nmaster_link_status:up\r\nslave_repl_offset:{primary.replicated}\r\n"

    def _set(self, node: Node, slot: int, how: str, other: Node) -> Reply:
        if how == "IMPORTING":
            node.importing[slot] = other.id
        elif how == "MIGRATING":
            if slot not in node.slots:
                return Rejected(f"ERR I'm not the owner of hash slot {slot}")
            assert other.importing.get(slot) == node.id, (
                "the source sends clients to a target that sends them back"
            )
            before = [(source, target, at) for source, target, at in self.opened if source == node.name]
            for _, target, at in before:
                assert self.nodes[target].replicated >= at, (
                    "the next window before replicas have the last one"
                )
            # Only then would they be promoted if the target died.
            for _, target, at in self.opened[:1] if other.slots else []:
                assert target != other.name or other.replicated >= at, "the first window is not alone"
            open_now = [each for source in self.nodes.values() for each in source.migrating.items()]
            if not other.slots:
                assert other.id not in [target for _, target in open_now], "the first window is not alone"
            node.migrating[slot] = other.id
        elif node is other:
            owner = next(each for each in self.nodes.values() if slot in each.slots)
            if owner is not node:
                assert not owner.keys[slot], f"the keys of slot {slot} are lost: the source has some"
                owner.slots.discard(slot)
                self.opened.append((owner.name, node.name, node.offset))
            node.slots.add(slot)
            node.importing.pop(slot, None)
        else:
            assert slot in other.slots, "NODE on another one before the target"
            node.migrating.pop(slot, None)
        return "OK"

    def _migrate(self, source: Node, target: Node, rest: Sequence[str]) -> Reply:
        keys = rest[rest.index("KEYS") + 1 :]
        replaces = "REPLACE" in rest
        # What the target refuses is all that stays.
        busy = False
        for key in keys:
            slot = next((slot for slot, held in source.keys.items() if key in held), None)
            if slot is None:
                continue
            assert source.migrating.get(slot) == target.id, "keys of a slot that is not open"
            there = target.keys[slot].get(key)
            if there is not None and not replaces:
                busy = True
                continue
            if there not in (None, source.keys[slot][key]):
                assert (source.name, key) in self.sent, f"{key} is overwritten"
            target.keys[slot][key] = source.keys[slot][key]
            target.offset += 1
            if key in self.silent:
                self.silent.discard(key)
                self.sent.add((source.name, key))
                return Rejected("IOERR error or timeout reading to target instance")
            del source.keys[slot][key]
        return Rejected("ERR Target instance replied with error: BUSYKEY Target key name") if busy else "OK"
