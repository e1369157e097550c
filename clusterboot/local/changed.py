"""Do the servers that run have what the topology gives them now? They keep what they were started with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from clusterboot.disk import records
from clusterboot.errors import Exit, Problem, UsageError
from clusterboot.local.binary import locate
from clusterboot.local.clusters import host_of, server_for
from clusterboot.local.records import decode, key_of
from clusterboot.local.servers import CONFIG, config
from clusterboot.wording import count, shortened

if TYPE_CHECKING:
    from clusterboot.topology.model import Topology


def changed(topology: Topology, *, file: Path, passwords: Mapping[str, str]) -> tuple[Problem, ...]:
    """Return a warning for each way in which spawned servers differ from those that would be started now.

    `file` is what the topology was read from, `passwords` are those of nodes that have one. Raises Refused
    when the record of the servers is corrupt.
    """
    key = key_of(file, topology.nodes)
    cluster = decode(key, records.read(key))
    known = {(node.host, node.port): node for node in cluster.nodes if node.running} if cluster else {}
    command = topology.servers.command
    path = _located(command)
    otherwise: dict[str, list[str]] = {}
    for named in topology.nodes:
        node = known.get((host_of(named), named.port))
        if node is None:
            continue
        if path is not None and path != node.binary:
            what = f"run {node.binary}, and servers.command is {command} now"
            otherwise.setdefault(what, []).append(named.name)
        try:
            before = _settings((node.folder / CONFIG).read_text())
        except OSError:
            continue
        announce = "cluster-announce-ip" in before
        server = server_for(topology, named, node.folder.parent, passwords.get(named.name), announce)
        now = _settings(config(server))
        names = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
        if names:
            what = f"run with other settings than the topology has now ({shortened(names)})"
            otherwise.setdefault(what, []).append(named.name)
    return tuple(
        Problem(
            "spawned-otherwise",
            f"{count(len(names), 'spawned server')} {_verb(what, len(names))}: {shortened(names)}.",
            node=names[0] if len(names) == 1 else None,
            hint=f"`clusterboot down {file}`, then `up --spawn` again: it starts new ones, without any key",
            exit=Exit.DONE,
        )
        for what, names in otherwise.items()
    )


def _verb(what: str, number: int) -> str:
    return what if number > 1 else f"runs{what.removeprefix('run')}"


def _located(command: str | None) -> str | None:
    """Return the path of a command that the topology names; one that is not there is as good as another."""
    if command is None:
        return None
    try:
        return locate(command)
    except UsageError:
        return command


def _settings(text: str) -> Mapping[str, str]:
    pairs = (line.partition(" ") for line in text.splitlines())
    return {name: value for name, _, value in pairs}
