"""The databases of a node: which it has, and asking in one of them. Valkey 9 has several in a cluster."""

from __future__ import annotations

from clusterboot.core.views import View, parse_info
from clusterboot.errors import NodeFailed
from clusterboot.loop.observe import Asker, text
from clusterboot.wire.replies import Command, Rejected, Reply, explain

KEYSPACE: Command = ("INFO", "keyspace")

_SECONDS = 5.0


async def databases(fleet: Asker, view: View) -> dict[int, int]:
    """Return the number of keys by database of a node now; what `view` says where INFO is refused."""
    return read_databases((await fleet.ask(view.name, KEYSPACE))[0], view)


def read_databases(keyspace: Reply, view: View) -> dict[int, int]:
    """Return the number of keys by database in a reply to KEYSPACE; what `view` says if that was refused."""
    return dict(view.databases) if isinstance(keyspace, Rejected) else parse_info(text(keyspace))[1]


async def ask_in(
    fleet: Asker, name: str, database: int, *commands: Command, timeout: float = _SECONDS
) -> list[Reply]:
    """Ask a node in one of its databases, and select 0 again; errors as `Asker.ask`.

    Raises NodeFailed when it refuses the database, or any command but MIGRATE and those after ASKING.
    """
    # SELECT needs a permission that database 0 does not.
    before: list[Command] = [("SELECT", str(database))] if database else []
    after: list[Command] = [("SELECT", "0")] if database else []
    sent = [*before, *commands, *after]
    replies = await fleet.ask(name, *sent, timeout=timeout)
    for command, reply in zip(sent, replies, strict=True):
        if isinstance(reply, Rejected) and command[0] in ("SELECT", "CLUSTER"):
            raise NodeFailed(explain(reply, name, command))
    return replies[len(before) : len(replies) - len(after)]
