"""A model of N cluster nodes, for tests and benchmarks that need many: no sockets, no clock of its own.

It is a model and not Redis. What it keeps: which nodes each node knows, roles, slots, epochs, a few settings,
and the error replies that clusterboot reacts to. How knowledge spreads, in ticks of 100 ms:

- a MEET takes two ticks, then both sides know each other; the model loses it if it was told to;
- in every tick each node picks one node it knows, and both learn about an eighth of what the other knows;
- whoever learns of a node is known to it from then on, as a new link tells both ends;
- a role changes at its node at once; others learn it with a new link, else by one chance in four per tick;
- a replica is in sync three ticks after REPLICATE.

Nothing expires and nobody fails: faults are made by the fleet around it (see `fleet.py`). Knowledge is
one integer per node with a bit for each other node, so that a tick of 1,000 nodes costs a few ms.
"""

from __future__ import annotations

import random
from itertools import compress

TICK = 0.1
SLOTS = 16384
_DEFAULTS = {
    "cluster-node-timeout": "15000",
    "repl-diskless-sync-delay": "5",
    "repl-diskless-load": "disabled",
    "cluster-replica-no-failover": "no",
    "cluster-migration-barrier": "1",
    "cluster-announce-ip": "",
}


class Refused(Exception):
    """The node answers with an error."""


class Model:
    """N nodes at `host`:`ports`; nodes are named by their index."""

    def __init__(self, host: str, ports: list[int], *, seed: int = 1) -> None:
        self.host, self.ports = host, ports
        self.count = len(ports)
        self._random = random.Random(seed)
        self._index = {port: index for index, port in enumerate(ports)}
        self.now = 0
        self.lost: set[tuple[int, int]] = set()
        self.ids = [f"{self._random.getrandbits(160):040x}" for _ in ports]
        self.known = [1 << index for index in range(self.count)]
        self._stale = [0] * self.count
        self.epoch = [0] * self.count
        self.primary: list[int | None] = [None] * self.count
        self._attached = [0] * self.count
        self.slots: list[set[int]] = [set() for _ in ports]
        self._owner: dict[int, int] = {}
        self._serving: set[int] | None = None
        self.config = [dict(_DEFAULTS) for _ in ports]
        self._meets: list[tuple[int, int, int]] = []
        self._names = {node_id: index for index, node_id in enumerate(self.ids)}
        self._lines = [b""] * self.count
        self._old = [b""] * self.count
        self._whole: bytes | None = None
        self._starts: list[int] = []
        for index in range(self.count):
            self._describe(index)

    def tick(self) -> None:
        """Let 100 ms pass."""
        self.now += 1
        for meet in [meet for meet in self._meets if meet[0] <= self.now]:
            self._meets.remove(meet)
            self._join(meet[1], 1 << meet[2])
            # The new link is one more chance to hear of a role.
            self._stale[meet[1]] &= ~(1 << meet[2])
            self._stale[meet[2]] &= ~(1 << meet[1])
        everything = (1 << self.count) - 1
        for one in range(self.count):
            if self._stale[one]:
                self._stale[one] &= self._random.getrandbits(self.count) | self._random.getrandbits(
                    self.count
                )
            known = self.known[one]
            if known == everything or known & (known - 1) == 0:
                continue
            other = self._pick(known, one)
            mask = self._eighth()
            mine, theirs = self.known[other] & ~known & mask, known & ~self.known[other] & mask
            self._join(one, mine)
            self._join(other, theirs)

    def _eighth(self) -> int:
        bits = self._random.getrandbits
        return bits(self.count) & bits(self.count) & bits(self.count)

    def _pick(self, known: int, one: int) -> int:
        for _ in range(8):
            other = self._random.randrange(self.count)
            if other != one and known >> other & 1:
                return other
        others = [index for index in range(self.count) if known >> index & 1 and index != one]
        return self._random.choice(others)

    def _join(self, one: int, others: int) -> None:
        """Let `one` and every node of the mask `others` know each other."""
        self.known[one] |= others
        while others:
            bit = others & -others
            others ^= bit
            self.known[bit.bit_length() - 1] |= 1 << one

    # What nodes are asked

    def nodes(self, one: int) -> bytes:
        """CLUSTER NODES as `one` has it; the times of the last pong are those of the asking."""
        own = self._lines[one].replace(b" master ", b" myself,master ").replace(b" slave ", b" myself,slave ")
        if self.known[one] == (1 << self.count) - 1 and not self._stale[one]:
            if self._whole is None:
                self._whole = b"".join(self._lines)
                self._starts = [0]
                for line in self._lines:
                    self._starts.append(self._starts[-1] + len(line))
            text = self._whole[: self._starts[one]] + own + self._whole[self._starts[one + 1] :]
        else:
            lines = list(self._lines)
            stale = self._stale[one]
            while stale:
                bit = stale & -stale
                stale ^= bit
                lines[bit.bit_length() - 1] = self._old[bit.bit_length() - 1]
            lines[one] = own
            bits = map(int, reversed(f"{self.known[one]:b}"))
            text = b"".join(compress(lines, bits))
        return text.replace(b"\0", b"%d" % (1_700_000_000_000 + self.now * 100 + one))

    def cluster_info(self, one: int) -> bytes:
        known = self.known[one]
        owners = self._owners()
        ok = len(self._owner) == SLOTS and all(known >> owner & 1 for owner in owners)
        return (
            f"cluster_state:{'ok' if ok else 'fail'}\r\ncluster_slots_assigned:{len(self._owner)}\r\n"
            f"cluster_slots_ok:{len(self._owner)}\r\ncluster_slots_pfail:0\r\ncluster_slots_fail:0\r\n"
            f"cluster_known_nodes:{known.bit_count()}\r\ncluster_size:{len(owners)}\r\n"
            f"cluster_current_epoch:{max(self.epoch)}\r\ncluster_my_epoch:{self.epoch[one]}\r\n"
        ).encode()

    def _owners(self) -> set[int]:
        if self._serving is None:
            self._serving = set(self._owner.values())
        return self._serving

    def info(self, one: int, section: str) -> bytes:
        primary = self.primary[one]
        role = "role:master\r\n"
        if primary is not None:
            up = "up" if self.now - self._attached[one] >= 3 else "down"
            role = f"role:slave\r\nmaster_link_status:{up}\r\nmaster_sync_in_progress:0\r\n"
        if section == "replication":
            return f"# Replication\r\n{role}".encode()
        server = f"redis_version:7.0.15\r\nrun_id:{self.ids[one][::-1]}\r\nloading:0\r\ncluster_enabled:1\r\n"
        return f"# Server\r\n{server}# Replication\r\n{role}# Keyspace\r\n".encode()

    # What changes nodes

    def set_epoch(self, one: int, epoch: int) -> None:
        if self.known[one].bit_count() > 1:
            raise Refused(
                "ERR The user can assign a config epoch only when the node does not know any other node."
            )
        if self.epoch[one]:
            raise Refused("ERR Node config epoch is already non-zero")
        self.epoch[one] = epoch
        self._describe(one)

    def add_slots(self, one: int, slots: list[int]) -> None:
        for slot in slots:
            if slot in self._owner:
                raise Refused(f"ERR Slot {slot} is already busy")
        self._owner |= dict.fromkeys(slots, one)
        self.slots[one] |= set(slots)
        self._serving = None
        self._describe(one)

    def meet(self, one: int, host: str, port: int) -> None:
        other = self._index.get(port) if host == self.host else None
        if other is None or other == one:
            return  # OK proves nothing, as with the real ones
        if (one, other) in self.lost:
            self.lost.remove((one, other))
            return
        self._meets.append((self.now + 2, one, other))

    def replicate(self, one: int, node_id: str) -> None:
        other = self._names.get(node_id)
        if other is None or not self.known[one] >> other & 1:
            raise Refused(f"ERR Unknown node {node_id}")
        if self.primary[other] is not None:
            raise Refused("ERR I can only replicate a master, not a replica.")
        if self.slots[one]:
            raise Refused("ERR To set a master the node must be empty and without assigned slots.")
        self.primary[one] = other
        self._attached[one] = self.now
        self._old[one] = self._lines[one]
        self._describe(one)
        for index in range(self.count):
            if index != one and self.known[index] >> one & 1:
                self._stale[index] |= 1 << one

    def reset(self, one: int) -> None:
        """RESET HARD: a new id, nobody known; the others forget it too, where real ones keep a ghost."""
        del self._names[self.ids[one]]
        self.ids[one] = f"{self._random.getrandbits(160):040x}"
        self._names[self.ids[one]] = one
        self._owner = {slot: owner for slot, owner in self._owner.items() if owner != one}
        self._serving = None
        self.slots[one].clear()
        self.primary[one], self.epoch[one] = None, 0
        for index in range(self.count):
            self.known[index] &= ~(1 << one)
            self._stale[index] &= ~(1 << one)
        self.known[one], self._stale[one] = 1 << one, 0
        self._meets = [meet for meet in self._meets if one not in meet[1:]]
        self._describe(one)

    def _describe(self, one: int) -> None:
        """Keep the line of a node as the others tell it; NUL stands for the time of its last pong."""
        port, primary = self.ports[one], self.primary[one]
        role = "master -" if primary is None else f"slave {self.ids[primary]}"
        slots = "".join(
            f" {low}-{high}" if low != high else f" {low}" for low, high in _ranges(self.slots[one])
        )
        who = f"{self.ids[one]} {self.host}:{port}@{port + 10000} {role}"
        self._lines[one] = f"{who} 0 \0 {self.epoch[one]} connected{slots}\n".encode()
        self._whole = None


def _ranges(slots: set[int]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for slot in sorted(slots):
        if found and found[-1][1] == slot - 1:
            found[-1] = (found[-1][0], slot)
        else:
            found.append((slot, slot))
    return found
