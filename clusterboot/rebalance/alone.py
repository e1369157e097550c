"""At most one `--rebalance` per cluster at a time, without writing anything: the runs see each other's names.

A run names its connections with CLIENT SETNAME, and CLIENT LIST shows the names of all. It says that it
wants to move, looks, says that it moves, and looks again. Only who then sees nobody before it goes on: of two
runs, the one that connected first has named itself after that look of the other one, and so sees that it
moves. A name lasts as long as its connection: a run that is killed leaves nothing.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Literal

from clusterboot.core.borrowed import left_lowered
from clusterboot.core.views import Views, number
from clusterboot.errors import NodeFailed, Problem, Refused, refusal, warning
from clusterboot.loop.observe import Asker, text
from clusterboot.wire.replies import Command, Rejected, explain

# The members with the lowest ids decide: more than one, since one may leave the cluster in the middle.
_ARBITERS = 3
# How often a run that sees another one looks again, and the seconds between: the other one may be giving up.
_LOOKS, _PAUSE = 5, 0.2

_PREFIX = "clusterboot"
_LIST: Command = ("CLIENT", "LIST")
State = Literal["wants", "moves"]


@dataclass(frozen=True, slots=True)
class Client:
    """A connection of a run: `state` as it says itself, `token` of its run; `age` and `idle` in seconds."""

    id: int
    address: str
    state: str
    token: str
    age: int
    idle: int


def parse_clients(reply: str) -> tuple[Client, ...]:
    """Return the connections of runs of clusterboot among those of CLIENT LIST."""
    found = []
    for line in reply.splitlines():
        fields = dict(field.split("=", 1) for field in line.split(" ") if "=" in field)
        prefix, _, rest = fields.get("name", "").partition(":")
        state, _, token = rest.partition(":")
        if prefix == _PREFIX and state in ("wants", "moves"):
            numbers = (number(fields.get(key, "")) for key in ("age", "idle"))
            found.append(
                Client(number(fields.get("id", "")), fields.get("addr", "?"), state, token, *numbers)
            )
    return tuple(found)


def rivals(clients: Iterable[Client], token: str, state: State) -> list[Client]:
    """Return who goes first: while we only want, all that move; and always who was connected before us.

    Ids grow with every connection, so two runs never give way to each other in the same look.
    """
    clients = tuple(clients)
    mine = min((client.id for client in clients if client.token == token), default=0)
    others = [client for client in clients if client.token != token]
    return [client for client in others if client.id < mine or (state == "wants" and client.state == "moves")]


class Alone:
    """The only `--rebalance` of a cluster."""

    def __init__(self, fleet: Asker, views: Views, warn: Callable[[Iterable[Problem]], None]) -> None:
        self._fleet = fleet
        self._warn = warn
        self._token = secrets.token_hex(4)
        self._held: list[str] = []
        self._arbiters = _arbiters(views)

    async def take(self) -> None:
        """Be the only one; raises Refused if another run is at work, NodeFailed when a node is silent."""
        for node in self._arbiters:
            if not await self._take(node):
                return

    async def keep(self) -> None:
        """Take it again where a connection was lost, and the name with it; raises as `take`."""
        for node in tuple(self._held):
            [name] = await self._fleet.ask(node, ("CLIENT", "GETNAME"))
            if name != self._name("moves"):
                await self._take(node)

    async def give_back(self) -> None:
        """Let others go on; a node that is silent forgets the name with the connection."""
        for node in self._held:
            with suppress(NodeFailed):
                await self._fleet.ask(node, ("CLIENT", "SETNAME", ""))
        self._held.clear()

    async def _take(self, node: str) -> bool:
        """Take one node; returns False, after a warning, where its user may not see connections."""
        if node not in self._held:
            self._held.append(node)
        for state in ("wants", "moves"):
            for look in range(_LOOKS):
                clients = await self._say(node, state)
                if clients is None:
                    await self.give_back()
                    return False
                others = rivals(clients, self._token, state)
                if not others:
                    break
                if state == "moves" or look == _LOOKS - 1:
                    await self.give_back()
                    raise Refused(_running(node, others[0]))
                await asyncio.sleep(_PAUSE)
        return True

    async def _say(self, node: str, state: State) -> tuple[Client, ...] | None:
        name: Command = ("CLIENT", "SETNAME", self._name(state))
        said, listed = await self._fleet.ask(node, name, _LIST)
        for command, reply in ((name, said), (_LIST, listed)):
            if isinstance(reply, Rejected):
                if not reply.refuses_permission:
                    raise NodeFailed(explain(reply, node, command))
                self._warn([_unseen(explain(reply, node, command))])
                return None
        return parse_clients(text(listed))

    def _name(self, state: State) -> str:
        return f"{_PREFIX}:{state}:{self._token}"


@asynccontextmanager
async def alone(
    fleet: Asker, views: Views, warn: Callable[[Iterable[Problem]], None] = lambda problems: None
) -> AsyncIterator[Alone]:
    """Be the only `--rebalance` of the cluster within the block; call `keep` between two windows.

    Raises Refused (`rebalance-running`) if another one is at work. Where a user may not see connections, it
    goes on after a warning.
    """
    only = Alone(fleet, views, warn)
    try:
        await only.take()
        yield only
    finally:
        await only.give_back()


async def at_work(fleet: Asker, views: Views) -> bool:
    """Return whether a `--rebalance` holds settings of nodes at this moment: they are not left over then.

    Asks only where settings are held; False where it cannot be seen.
    """
    if not left_lowered(views):
        return False
    for name in _arbiters(views):
        [reply] = await fleet.ask(name, _LIST)
        if any(client.state == "moves" for client in parse_clients(text(reply))):
            return True
    return False


def _arbiters(views: Views) -> list[str]:
    """Return the nodes that decide, in order: of two runs that meet at one node, only one gets past it."""
    return sorted(views, key=lambda name: views[name].id)[:_ARBITERS]


def _running(node: str, client: Client) -> Problem:
    return refusal(
        "rebalance-running",
        f"another 'clusterboot up --rebalance' is at work on this cluster: from {client.address}, connected "
        f"to {node} for {client.age} s, last heard of {client.idle} s ago.",
        node,
        hint=f"let it end first; if its machine is gone, run 'CLIENT KILL ID {client.id}' on {node}",
    )


def _unseen(problem: Problem) -> Problem:
    return warning(
        "rebalance-unseen",
        f"another 'clusterboot up --rebalance' on this cluster would not be seen: {problem.message}",
        problem.node,
        hint=problem.hint,
    )
