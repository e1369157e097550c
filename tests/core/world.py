"""A small pure model of servers: what they know and hold, what they say, and what each step does to them.

It follows cluster-facts: a MEET joins two groups, SET-CONFIG-EPOCH wants a node alone, a slot
has one owner, REPLICATE wants a known primary and empty hands. A step that a real server would refuse
fails the test.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings

from clusterboot.core.groups import group
from clusterboot.core.steps import (
    AddSlots,
    Failover,
    Forget,
    Meet,
    MoveSlots,
    Replicate,
    Reset,
    SetEpoch,
    Step,
)
from clusterboot.core.views import Peer, View
from clusterboot.slots import ALL, NONE, Slots, union
from clusterboot.topology import Node, Topology


def examples(count: int) -> settings:
    """So many examples, the same ones in every run: what fails here fails everywhere.

    The mutation run sets CLUSTERBOOT_TEST_EXAMPLES, since it runs each test very often.
    """
    most = int(os.environ.get("CLUSTERBOOT_TEST_EXAMPLES", count))
    return settings(max_examples=min(count, most), deadline=None, derandomize=True, database=None)


def node(name: str, **keys: Any) -> Node:
    """A node of the topology; the number in its name, if any, gives the port."""
    digits = "".join(filter(str.isdigit, name))
    port = 7000 + (int(digits) if digits else ord(name[0]) - ord("a") + 1)
    return Node(**{"name": name, "host": "10.0.0.1", "port": port, **keys})


def topology(*nodes: Node | str, **keys: Any) -> Topology:
    """A topology of nodes, or of names where nothing else matters."""
    return Topology(tuple(each if isinstance(each, Node) else node(each) for each in nodes), **keys)


def slots(text: str) -> Slots:
    """`slots("0-5460")`."""
    return Slots.parse(text)


@dataclass
class Server:
    """One server; `knows` are the names of the others that it lists, `cut` those it is not connected to."""

    name: str
    ip: str = "10.0.0.1"
    port: int = 7001
    id: str = ""
    epoch: int = 0
    slots: Slots = NONE
    primary: str | None = None
    keys: int = 0
    knows: set[str] = field(default_factory=set)
    cut: set[str] = field(default_factory=set)
    lines: tuple[Peer, ...] = ()
    info: dict[str, str] = field(default_factory=dict)
    flags: frozenset[str] = frozenset()


class World:
    """All servers by name."""

    def __init__(self, *servers: Server) -> None:
        self.servers: dict[str, Server] = {}
        for server in servers:
            self.add(server)

    def add(self, server: Server) -> Server:
        """Add one; without an id of its own it gets one that tells it from the others."""
        server.id = server.id or f"{len(self.servers) + 1:040x}"
        self.servers[server.name] = server
        return server

    def __getitem__(self, name: str) -> Server:
        return self.servers[name]

    def join(self, *names: str) -> None:
        """Let all of `names` know each other."""
        for name in names:
            self[name].knows |= set(names) - {name}

    def peer(self, name: str, teller: str) -> Peer:
        """The line of one server in the reply of another."""
        server = self[name]
        mine = {"myself"} if name == teller else set()
        return Peer(
            id=server.id,
            ip=server.ip,
            port=server.port,
            bus_port=server.port + 10000,
            flags=frozenset({"slave" if server.primary else "master"} | mine | server.flags),
            primary=self[server.primary].id if server.primary else None,
            epoch=server.epoch,
            connected=name not in self[teller].cut,
            slots=server.slots,
        )

    def view(self, name: str) -> View:
        """What one server says."""
        server = self[name]
        known = [name, *(other for other in self.servers if other in server.knows)]
        state = "ok" if union(self[other].slots for other in known) == ALL else "fail"
        role = {"role": "slave", "master_link_status": "up"} if server.primary else {"role": "master"}
        return View(
            name=name,
            ip=server.ip,
            peers=(*(self.peer(other, name) for other in known), *server.lines),
            info={"redis_version": "7.0.15", "run_id": f"run-{name}", **role, **server.info},
            cluster={"cluster_state": state, "cluster_known_nodes": str(len(known) + len(server.lines))},
            config={"cluster-node-timeout": "15000"},
            databases={0: server.keys} if server.keys else {},
        )

    def views(self, names: Iterable[str] | None = None) -> dict[str, View]:
        """What all servers say, or those of `names`."""
        return {name: self.view(name) for name in (self.servers if names is None else names)}

    def do(self, *steps: Step) -> None:
        """Take steps as servers do; what a server would refuse fails."""
        reset = {step.node for step in steps if isinstance(step, Reset)}
        for step in steps:
            server = self[step.node]
            match step:
                case SetEpoch(_, epoch):
                    assert not server.knows, f"{step}: it knows others"
                    assert server.epoch == 0, f"{step}: it has an epoch"
                    server.epoch = epoch
                case AddSlots(_, wanted):
                    taken = union(self[other].slots for other in (server.name, *server.knows))
                    assert not taken & wanted, f"{step}: busy"
                    assert server.primary is None, f"{step}: a replica"
                    server.slots |= wanted
                case Meet(_, peer, host, port, bus_port):
                    assert (host, port, bus_port) == (self[peer].ip, self[peer].port, None)
                    views = self.views()
                    self.join(*(n for g in group(views) if {step.node, peer} & set(g) for n in g))
                case Replicate(_, primary):
                    assert primary in server.knows, f"{step}: unknown node"
                    assert self[primary].primary is None, f"{step}: can only replicate a primary"
                    assert server.primary or not (server.slots or server.keys), f"{step}: not empty"
                    server.primary = primary
                case Failover(_, peer):
                    assert server.primary == peer, f"{step}: not its replica"
                    old = self[peer]
                    server.slots, old.slots = old.slots, NONE
                    server.primary, old.primary = None, step.node
                    for each in self.servers.values():
                        if each.primary == peer:
                            each.primary = step.node
                case MoveSlots(_, peer, wanted):
                    assert not wanted - server.slots, f"{step}: not its slots"
                    assert self[peer].primary is None, f"{step}: to a replica"
                    assert server.primary is None, f"{step}: from a replica"
                    assert peer in server.knows, f"{step}: unknown node"
                    server.slots -= wanted
                    self[peer].slots |= wanted
                case Forget(_, _, node_id):
                    gone = {other for other in server.knows if self[other].id == node_id}
                    assert server.primary not in gone, f"{step}: can't forget my master"
                    server.knows -= gone
                    server.lines = tuple(line for line in server.lines if line.id != node_id)
                case Reset(_, node_id):
                    assert server.id == node_id, f"{step}: another node"
                    assert not server.slots, f"{step}: it serves"
                    staying = (each for each in self.servers.values() if each.name not in reset)
                    assert not any(step.node in each.knows for each in staying), f"{step}: known"
                    server.id, server.primary = f"{int(node_id, 16) + 0xABC000:040x}", None
                    server.knows, server.epoch = set(), 0


def fresh(top: Topology) -> World:
    """A server for every node of a topology, each alone and empty."""
    return World(*(Server(each.name, each.host, each.port) for each in top.nodes))


def stranger(number: int, *, flags: Sequence[str] = ("master",), ip: str = "10.9.9.9", **keys: Any) -> Peer:
    """A line about a node that is in no topology."""
    return Peer(
        **{
            "id": f"{0xF000 + number:040x}",
            "ip": ip,
            "port": 6379 if ip else 0,
            "bus_port": 16379 if ip else 0,
            "flags": frozenset(flags),
            "primary": None,
            "epoch": 9,
            "connected": not {"noaddr", "fail", "handshake"} & set(flags),
            "slots": NONE,
            **keys,
        }
    )
