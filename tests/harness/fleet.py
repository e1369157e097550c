"""A simulated fleet: one process that answers for N cluster nodes on real sockets, one port each.

    with SimulatedFleet(100) as fleet:
        clusterboot("up", fleet.topology(tmp_path / "t.yaml", replicas=1))
        assert fleet.stats()["commands"]["CLUSTER MEET"] == 99

For how clusterboot itself behaves with many nodes: what it sends, reads and costs, and how it takes
faults. What nodes do is a model (see `gossip.py`), so it proves nothing about Redis or Valkey.

The process runs as `python -m tests.harness.fleet COUNT`; it prints its ports as JSON and ends when its
stdin is closed, so it never outlives its parent. It is told what to do with the command FLEET, on any of
its ports; FLEET itself is not counted.
"""

from __future__ import annotations

import asyncio
import json
import random
import resource
import subprocess
import sys
from collections import Counter
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any

from tests.harness import resp
from tests.harness.gossip import SLOTS, TICK, Model, Refused

HOST = "127.0.0.1"
ROOT = Path(__file__).resolve().parents[2]


class SimulatedFleet:
    """`count` simulated nodes; a context manager that ends them."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.ports: list[int] = []

    @property
    def addresses(self) -> list[str]:
        """`host:port` of every node, in order."""
        return [f"{HOST}:{port}" for port in self.ports]

    def __enter__(self) -> SimulatedFleet:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.harness.fleet", str(self._count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            start_new_session=True,  # a Ctrl-C meant for the tool under test is not for the nodes
        )
        assert self._process.stdout is not None
        self.ports = json.loads(self._process.stdout.readline())
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.communicate(timeout=20)

    def topology(self, path: Path, *, count: int | None = None, **keys: object) -> Path:
        """Write a topology file of the first `count` nodes, with `keys` as further lines, and return it."""
        lines = ["version: 1", *(f"{key}: {json.dumps(value)}" for key, value in keys.items()), "nodes:"]
        path.write_text("\n".join([*lines, *(f"  - {address}" for address in self.addresses[:count])]) + "\n")
        return path

    def order(self, address: str, *command: object) -> Any:
        """Send a command to one node, as any client would, and return its reply."""
        return resp.call(address, *command)

    def tell(self, *words: object) -> Any:
        """Send a FLEET command and return its reply.

        RESET: all nodes fresh, all faults and counts gone. LOSE i j: the next MEET from i to j is lost.
        SILENCE i / SPEAK i: node i takes commands and answers none / answers again. REJECT i NAME TEXT:
        node i answers commands whose words start with NAME with the error TEXT (empty: no more).
        DELAY i SECONDS: node i answers that much later.
        """
        reply = resp.call(self.addresses[0], "FLEET", *words, timeout=20)
        assert not isinstance(reply, resp.Error), reply
        return reply

    def stats(self) -> dict[str, Any]:
        """Return what arrived since the last RESET: `commands` by name, `received` and `sent` in bytes.

        Also `snapshot`, the size in bytes of CLUSTER NODES of all nodes together, as they stand now, and
        `connections`, how many were made.
        """
        found: dict[str, Any] = json.loads(self.tell("STATS"))
        return found

    def config(self, name: str) -> set[str]:
        """Return the values that the nodes have for a setting."""
        return set(json.loads(self.tell("CONFIG", name)))


class _Fleet:
    """The process: the model, its clock, the faults and the counts."""

    def __init__(self, ports: list[int]) -> None:
        self.ports = ports
        self.restart()

    def restart(self) -> None:
        self.model = Model(HOST, self.ports)
        self.silent: set[int] = set()
        self.rejects: dict[int, dict[str, str]] = {}
        self.delays: dict[int, float] = {}
        self.commands: Counter[str] = Counter()
        self.received = self.sent = self.connections = 0

    async def clock(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due = max(due + TICK, loop.time())
            await asyncio.sleep(due - loop.time())
            self.model.tick()

    def answer(self, node: int, words: list[str]) -> bytes:
        """Return the reply to one command, encoded."""
        name = words[0].upper()
        if name == "FLEET":
            return _bulk(self._told(words[1].upper(), words[2:]).encode())
        whole = " ".join([name, *words[1:]]).upper()
        self.commands[" ".join(whole.split(" ", 2)[:2]) if name in ("CLUSTER", "CONFIG") else name] += 1
        for start, text in self.rejects.get(node, {}).items():
            if whole.startswith(start):
                return b"-%s\r\n" % text.encode()
        try:
            return self._answer(node, name, words[1:])
        except Refused as refused:
            return b"-%s\r\n" % str(refused).encode()
        except (ValueError, IndexError):
            return b"-ERR Invalid argument or node address specified\r\n"

    def _answer(self, node: int, name: str, words: list[str]) -> bytes:
        model = self.model
        match name, words[0].upper() if words else "":
            case "INFO", _:
                return _bulk(model.info(node, words[0] if words else ""))
            case "CLUSTER", "INFO":
                return _bulk(model.cluster_info(node))
            case "CLUSTER", "NODES":
                return _bulk(model.nodes(node))
            case "CLUSTER", "MYID":
                return _bulk(model.ids[node].encode())
            case "CLUSTER", "MEET":
                if words[1].count(".") != 3:
                    raise Refused(f"ERR Invalid node address specified: {words[1]}:{words[2]}")
                model.meet(node, words[1], int(words[2]))
            case "CLUSTER", "REPLICATE":
                model.replicate(node, words[1])
            case "CLUSTER", "SET-CONFIG-EPOCH":
                model.set_epoch(node, int(words[1]))
            case "CLUSTER", "ADDSLOTS":
                model.add_slots(node, [_slot(word) for word in words[1:]])
            case "CLUSTER", "ADDSLOTSRANGE":
                ends = [_slot(word) for word in words[1:]]
                pairs = zip(ends[::2], ends[1::2], strict=True)
                model.add_slots(node, [slot for low, high in pairs for slot in range(low, high + 1)])
            case "CLUSTER", "RESET":
                model.reset(node)
            case "CONFIG", "GET":
                config = model.config[node]
                found = [pair for pair in config.items() if any(fnmatch(pair[0], each) for each in words[1:])]
                return b"*%d\r\n" % (2 * len(found)) + b"".join(_bulk(t.encode()) for p in found for t in p)
            case "CONFIG", "SET":
                wanted = dict(zip(words[1::2], words[2::2], strict=True))
                for unknown in wanted.keys() - model.config[node].keys():
                    raise Refused(f"ERR Unknown option or number of arguments for CONFIG SET - '{unknown}'")
                model.config[node] |= wanted
            case "PING", _:
                return b"+PONG\r\n"
            case "CLIENT" | "FLUSHALL", _:
                pass
            case _:
                raise Refused(f"ERR unknown command '{name}', with args beginning with: ")
        return b"+OK\r\n"

    def _told(self, what: str, words: list[str]) -> str:
        match what:
            case "RESET":
                self.restart()
            case "LOSE":
                self.model.lost.add((int(words[0]), int(words[1])))
            case "SILENCE":
                self.silent.add(int(words[0]))
            case "SPEAK":
                self.silent.discard(int(words[0]))
            case "REJECT":
                mine = self.rejects.setdefault(int(words[0]), {})
                mine.pop(words[1].upper(), None)
                if words[2]:
                    mine[words[1].upper()] = words[2]
            case "DELAY":
                self.delays[int(words[0])] = float(words[1])
            case "CONFIG":
                return json.dumps(sorted({config[words[0]] for config in self.model.config}))
            case "STATS":
                return json.dumps(
                    {
                        "commands": dict(sorted(self.commands.items())),
                        "received": self.received,
                        "sent": self.sent,
                        "connections": self.connections,
                        "snapshot": sum(len(self.model.nodes(node)) for node in range(self.model.count)),
                    }
                )
            case _:
                raise ValueError(f"no such order: {what}")
        return "OK"


class _Session(asyncio.Protocol):
    """One client of one node. Replies go out in order; what a silent node is asked stays unanswered."""

    def __init__(self, fleet: _Fleet, node: int) -> None:
        self._fleet, self._node = fleet, node
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._loop = asyncio.get_running_loop()

    def data_received(self, data: bytes) -> None:
        commands, self._buffer = _commands(self._buffer + data)
        replies = []
        fleet = self._fleet
        for words in commands:
            reply = fleet.answer(self._node, words)
            if words[0].upper() != "FLEET":
                fleet.sent += len(reply)
            replies.append((words, reply))
        if not commands:
            return
        if commands[0][0].upper() != "FLEET":
            fleet.received += len(data)
            fleet.connections += not self._counted
            self._counted = True
            if self._node in fleet.silent:
                return
        out = b"".join(reply for _, reply in replies)
        delay = fleet.delays.get(self._node, 0.0)
        if delay:
            self._loop.call_later(delay, self._transport.write, out)
        else:
            self._transport.write(out)

    _counted = False


def _commands(data: bytes) -> tuple[list[list[str]], bytes]:
    """Return the whole commands in `data`, and what is left. Arguments with line breaks are not meant."""
    lines = data.split(b"\r\n")
    found: list[list[str]] = []
    at = 0
    while at < len(lines) - 1:
        end = at + 1 + 2 * int(lines[at][1:])
        if end > len(lines) - 1:
            break
        found.append([line.decode() for line in lines[at + 2 : end : 2]])
        at = end
    return found, b"\r\n".join(lines[at:])


def _bulk(text: bytes) -> bytes:
    return b"$%d\r\n%s\r\n" % (len(text), text)


def _slot(word: str) -> int:
    slot = int(word)
    if not 0 <= slot < SLOTS:
        raise Refused("ERR Invalid or out of range slot")
    return slot


async def _serve(count: int) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    loop = asyncio.get_running_loop()
    fleet = _Fleet([])
    ports: list[int] = []
    start = random.randrange(12000, 30000)
    for port in (*range(start, 32000), *range(12000, start)):
        if len(ports) == count:
            break
        try:
            await loop.create_server(partial(_Session, fleet, len(ports)), HOST, port, backlog=16)
        except OSError:
            continue
        ports.append(port)
    fleet.ports = ports
    fleet.restart()
    clock = asyncio.create_task(fleet.clock())
    print(json.dumps(ports), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    clock.cancel()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
