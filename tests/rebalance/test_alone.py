"""At most one `--rebalance` at a time, in every order in which runs can name themselves and look."""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from clusterboot.core.views import View, parse_nodes
from clusterboot.errors import NodeFailed, Problem, Refused
from clusterboot.rebalance import alone as module
from clusterboot.rebalance.alone import Alone, alone, parse_clients
from clusterboot.wire.replies import Command, Rejected, Reply

_NODE = "{id:040x} 192.0.2.1:7001@17001 myself,master - 0 0 1 connected 0-99"


def views(*names: str) -> dict[str, View]:
    return {
        name: View(name, "192.0.2.1", parse_nodes(_NODE.format(id=place))) for place, name in enumerate(names)
    }


@dataclass
class Server:
    """The names of the connections of one node, by client id."""

    names: dict[int, str] = field(default_factory=dict)

    def answer(self, client: int, command: Command) -> Reply:
        match command:
            case ("CLIENT", "SETNAME", name):
                self.names[client] = name
                return "OK"
            case ("CLIENT", "GETNAME"):
                return self.names.get(client) or None
            case ("CLIENT", "LIST"):
                return "".join(
                    f"id={number} addr=192.0.2.9:5 name={name} age=7 idle=1 db=0\n"
                    for number, name in self.names.items()
                )
        raise AssertionError(command)


class Step(Awaitable[None]):
    """A place where other runs can go first."""

    def __await__(self) -> Generator[None, None, None]:
        yield


class Fleet:
    """The connections of one run, to every node with the same client id."""

    def __init__(self, servers: dict[str, Server], client: int) -> None:
        self.servers = servers
        self.client = client
        self.heard: list[Reply] = []
        self.over = False

    async def ask(self, name: str, *commands: Command, timeout: float = 5.0) -> list[Reply]:
        replies = []
        for command in commands:
            if self.over:
                raise NodeFailed  # nobody looks at this world any more
            await Step()
            replies.append(self.servers[name].answer(self.client, command))
        self.heard += replies
        return replies

    def ip(self, name: str) -> str:
        return "192.0.2.1"


class World:
    """Some runs, each at the step where it stands; `refused` are those that ended with that."""

    stepping = 0

    def __init__(self, runs: int, nodes: Sequence[str]) -> None:
        self.servers = {name: Server() for name in nodes}
        self.fleets = [Fleet(self.servers, client + 1) for client in range(runs)]
        self.inside: set[int] = set()
        self.refused: set[int] = set()
        self.most = 0
        self.runs = [self._run(number) for number in range(runs)]
        self.left = set(range(runs))

    async def _run(self, number: int) -> None:
        only = Alone(self.fleets[number], views(*self.servers), lambda problems: None)
        try:
            await only.take()
            self.inside.add(number)
            self.most = max(self.most, len(self.inside))
            await only.keep()
            self.inside.discard(number)
        except Refused:
            self.refused.add(number)
        finally:
            await only.give_back()

    def step(self, number: int) -> None:
        World.stepping = number
        try:
            self.runs[number].send(None)
        except StopIteration:
            self.left.discard(number)

    def state(self) -> object:
        """Everything that what happens next depends on."""
        names = tuple(tuple(sorted(server.names.items())) for server in self.servers.values())
        return names, tuple(map(str, (fleet.heard for fleet in self.fleets))), frozenset(self.left)


def orders(runs: int, nodes: Sequence[str]) -> Generator[World, None, None]:
    """Every world in which all runs have ended; equal states are gone on with only once."""
    seen: set[object] = set()
    todo: list[tuple[int, ...]] = [()]
    while todo:
        path = todo.pop()
        world = World(runs, nodes)
        for number in path:
            world.step(number)
        assert world.most <= 1, f"two at once after {path}"
        # A run's place between two replies counts too, so the length of each part of the path.
        state = (world.state(), tuple(path.count(number) for number in range(runs)))
        if state in seen:
            close(world)
            continue
        seen.add(state)
        if not world.left:
            yield world
        todo += [(*path, number) for number in world.left]
        close(world)


def close(world: World) -> None:
    for run, fleet in zip(world.runs, world.fleets, strict=True):
        fleet.over = True
        with suppress(NodeFailed):
            run.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens that are told apart, few looks, and pauses that are only another step."""
    World.stepping = 0
    monkeypatch.setattr(module.secrets, "token_hex", lambda length: f"run{World.stepping}")

    async def pause(seconds: float) -> None:
        await Step()

    monkeypatch.setattr(module.asyncio, "sleep", pause)


@pytest.mark.parametrize(
    ("runs", "nodes", "looks"), [(2, "a", 3), (2, "ab", 2), pytest.param(3, "a", 1, marks=pytest.mark.soak)]
)
def test_never_two_at_once(runs: int, nodes: str, looks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOKS", looks)
    refused = [len(world.refused) for world in orders(runs, nodes)]
    assert {0, runs - 1} <= set(refused)


def test_who_is_in_the_way_is_named() -> None:
    servers = {"a": Server({3: "clusterboot:moves:other", 4: "clusterboot:odd", 5: "app"})}

    async def run() -> None:
        async with alone(Fleet(servers, 9), views("a")):
            raise AssertionError

    with pytest.raises(Refused) as refused:
        drive(run())
    [problem] = refused.value.problems
    assert problem.code == "rebalance-running"
    assert "from 192.0.2.9:5, connected to a for 7 s, last heard of 1 s ago" in problem.message
    assert problem.hint is not None
    assert "'CLIENT KILL ID 3' on a" in problem.hint
    assert servers["a"].names[9] == "", "it gives way"


def test_the_three_lowest_ids_decide_and_get_the_name_back() -> None:
    servers = {name: Server() for name in "abcd"}

    async def run() -> None:
        async with alone(Fleet(servers, 1), views(*"dcba")) as only:
            assert [list(servers[name].names) for name in "abcd"] == [[], [1], [1], [1]]
            servers["c"].names.clear()  # the connection was made again
            await only.keep()
            assert [servers[name].names for name in "bcd"] == [{1: "clusterboot:moves:run0"}] * 3
            servers["c"].names = {2: "clusterboot:moves:other"}
            await only.keep()

    with pytest.raises(Refused):
        drive(run())
    assert [servers[name].names.get(1) for name in "bcd"] == [""] * 3


@pytest.mark.parametrize("forbidden", ["SETNAME", "LIST"])
def test_a_user_that_may_not_see_connections_is_warned(forbidden: str) -> None:
    class Strict(Server):
        def answer(self, client: int, command: Command) -> Reply:
            if command[1] == forbidden:
                return Rejected(f"NOPERM this user has no permissions to run 'client|{forbidden.lower()}'")
            return super().answer(client, command)

    warned: list[Problem] = []

    async def run() -> None:
        async with alone(Fleet({"a": Strict()}, 1), views("a"), warned.extend) as only:
            await only.keep()

    drive(run())
    assert [problem.code for problem in warned] == ["rebalance-unseen"]
    assert f"CLIENT {forbidden}" in warned[0].message


def test_odd_lines_are_no_clients() -> None:
    assert parse_clients("\nid=1 addr=x\nname=clusterboot:moves\nid=2 name=clusterboot:moves:t\n") != ()
    assert [client.id for client in parse_clients("name=clusterboot:moves:t\nid=2 name=x\n")] == [0]


def drive(run: Coroutine[None, None, None]) -> None:
    with suppress(StopIteration):
        while True:
            run.send(None)
