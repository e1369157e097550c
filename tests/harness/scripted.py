"""A fake of `client.Fleet` without sockets: a few nodes that behave, but for what a script says.

The nodes are the simplest model of servers that a bootstrap can finish on: a MEET joins groups at once,
knowledge and roles spread at once. What matters is what the script does in between: silence, errors,
refusals and nonsense, request by request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch

from clusterboot.errors import Exit, NodeFailed, Problem
from clusterboot.wire.replies import Command, Rejected, Reply

OLD = {
    "cluster-node-timeout": "15000",
    "repl-diskless-sync-delay": "5",
    "repl-diskless-load": "disabled",
    "cluster-replica-no-failover": "no",
    "cluster-migration-barrier": "1",
}
_VALUES = {"yes", "no", "disabled", "on-empty-db"}


@dataclass(frozen=True)
class Act:
    """What happens to one request: `answer`, `silence`, `lost`, `reject` or `nonsense`; `after` seconds.

    With `reject` the reply to the command at `index` (counted around) is the error `text`; `nonsense` puts
    `reply` there. `lost` is a connection that breaks after the node has done what it was told.
    """

    kind: str = "answer"
    after: float = 0.001
    index: int = 0
    text: str = ""
    reply: Reply = None


@dataclass
class FakeNode:
    """One node of the model."""

    name: str
    index: int
    config: dict[str, str] = field(default_factory=lambda: dict(OLD))
    epoch: int = 0
    slots: set[int] = field(default_factory=set)
    primary: str | None = None
    knows: set[str] = field(default_factory=set)

    @property
    def id(self) -> str:
        """Its id: 40 hexadecimal digits."""
        return f"{self.index + 1:040x}"

    @property
    def ip(self) -> str:
        """Its address, of a network that exists in books only."""
        return f"192.0.2.{self.index + 1}"


@dataclass(frozen=True)
class Sent:
    """One command, when it was sent, and what came back (None: nothing)."""

    time: float
    node: str
    command: Command
    reply: Reply | None
    answered: float


class ScriptedFleet:
    """Answers `ask` as the model says, unless the node's next act says otherwise."""

    def __init__(self, names: Iterable[str], script: Mapping[str, Sequence[Act]]) -> None:
        self.nodes = {name: FakeNode(name, index) for index, name in enumerate(names)}
        for node in self.nodes.values():
            node.knows.add(node.name)
        self._script = {name: list(script.get(name, ())) for name in self.nodes}
        self.sent: list[Sent] = []

    def forget_the_script(self) -> None:
        """From now on every node answers every request."""
        for script in self._script.values():
            script.clear()

    def ip(self, name: str) -> str:
        """Return the address of a node."""
        return self.nodes[name].ip

    def add(self, node: object) -> None:
        """Take one more node: there is none here."""
        raise AssertionError(node)

    async def close(self) -> None:
        """Do nothing."""

    async def ask(self, name: str, *commands: Command, timeout: float = 5.0) -> list[Reply]:
        """Answer as `client.Fleet.ask` does: replies, or NodeFailed."""
        clock = asyncio.get_running_loop().time
        began = clock()
        script = self._script[name]
        act = script.pop(0) if script else Act()
        if act.kind == "silence" or act.after > timeout:
            self._log(began, name, commands, [None] * len(commands))
            await asyncio.sleep(timeout)
            raise _away(name, "not-answering")
        if act.kind == "reject" and commands:
            at = act.index % len(commands)
            replies = [
                Rejected(act.text) if i == at else self._do(name, command)
                for i, command in enumerate(commands)
            ]
        else:
            replies = [self._do(name, command) for command in commands]
        if act.kind == "nonsense" and commands:
            replies[act.index % len(commands)] = act.reply
        entries = self._log(began, name, commands, replies)
        await asyncio.sleep(act.after)
        if act.kind == "lost":
            raise _away(name, "connection-lost")
        for entry in entries:
            object.__setattr__(entry, "answered", clock())
        return replies

    def _log(self, began: float, name: str, commands: Sequence[Command], replies: list[Reply]) -> list[Sent]:
        entries = [Sent(began, name, c, r, float("inf")) for c, r in zip(commands, replies, strict=True)]
        self.sent += entries
        return entries

    def _do(self, name: str, command: Command) -> Reply:
        node = self.nodes[name]
        match command:
            case ("INFO", *_):
                role = "slave\r\nmaster_link_status:up" if node.primary else "master"
                return f"redis_version:7.2.4\r\nvalkey_version:9.1.0\r\nrun_id:{node.id}\r\nrole:{role}\r\n"
            case ("CLUSTER", "INFO"):
                return f"cluster_state:{self._state()}\r\ncluster_known_nodes:{len(node.knows)}\r\n"
            case ("CLUSTER", "NODES"):
                return "".join(self._line(node, self.nodes[other]) for other in sorted(node.knows))
            case ("CLUSTER", "LINKS"):
                return []
            case ("CONFIG", "GET", *patterns):
                wanted = [key for key in node.config if any(fnmatch(key, each) for each in patterns)]
                return [word for key in wanted for word in (key, node.config[key])]
            case ("CONFIG", "SET", *words) if all(v.isdigit() or v in _VALUES for v in words[1::2]):
                node.config |= dict(zip(words[::2], words[1::2], strict=True))
                return "OK"
            case ("CLUSTER", "SET-CONFIG-EPOCH", epoch) if epoch.isdigit() and not node.epoch:
                node.epoch = int(epoch)
                return "OK"
            case ("CLUSTER", "ADDSLOTSRANGE", low, high) if low.isdigit() and high.isdigit():
                node.slots |= set(range(int(low), int(high) + 1))
                return "OK"
            case ("CLUSTER", "MEET", host, port, *_) if port != "0":
                for other in self.nodes.values():
                    if other.ip == host:
                        self._join(node, other)
                return "OK"
            case ("CLUSTER", "REPLICATE", node_id):
                for known in node.knows:
                    if self.nodes[known].id == node_id:
                        node.primary = known
                        return "OK"
                return Rejected(f"ERR Unknown node {node_id}")
        return Rejected(f"ERR Invalid argument of '{command[0]}'")

    def _join(self, one: FakeNode, other: FakeNode) -> None:
        everybody = one.knows | other.knows
        for name in everybody:
            self.nodes[name].knows = everybody

    def _state(self) -> str:
        return "ok" if len(set().union(*(node.slots for node in self.nodes.values()))) == 16384 else "fail"

    def _line(self, teller: FakeNode, node: FakeNode) -> str:
        flags = ("myself," if node is teller else "") + ("slave" if node.primary else "master")
        primary = self.nodes[node.primary].id if node.primary else "-"
        slots = f" {min(node.slots)}-{max(node.slots)}" if node.slots else ""
        ip = node.ip
        return f"{node.id} {ip}:6379@16379 {flags} {primary} 0 0 {node.epoch} connected{slots}\n"


def _away(name: str, code: str) -> NodeFailed:
    return NodeFailed(Problem(code, f"{name} is away.", node=name, exit=Exit.NODE))
