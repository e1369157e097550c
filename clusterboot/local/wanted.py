"""The local servers that a topology asks for: which can be spawned, and which differ from those that run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clusterboot.addresses import Endpoint, is_loopback_address
from clusterboot.disk import records
from clusterboot.errors import Exit, Problem, UsageError, warning
from clusterboot.local.binary import locate
from clusterboot.local.server import CONFIG, Server, config, folder_name
from clusterboot.local.spawned import decode, key_of
from clusterboot.wording import agree, count, shortened

if TYPE_CHECKING:
    from clusterboot.topology.model import Node, Topology


def host_of(node: Node) -> str:
    """Return the IP address on which a server for a loopback node listens."""
    return node.host if is_loopback_address(node.host) else "127.0.0.1"


def server_for(
    topology: Topology, node: Node, root: Path, password: str | None, announce: bool = True
) -> Server:
    """Return the server to start for a node below `root`; `announce` sets cluster-announce-ip (Redis 4.0)."""
    host = host_of(node)
    settings = dict(topology.servers.config)
    if announce:
        # Otherwise the other nodes use the source address of its packets: 127.0.0.1 for all of 127.0.0.0/8,
        # and one of the wrong family where some nodes use IPv6.
        settings.setdefault("cluster-announce-ip", host)
    if node.announce is not None:
        ports = {
            "cluster-announce-port": node.announce.port,
            "cluster-announce-bus-port": node.announce.bus_port,
        }
        settings["cluster-announce-ip"] = node.announce.host
        settings |= {name: str(port) for name, port in ports.items() if port is not None}
    folder = root / folder_name(host, node.port)
    return Server(node.name, host, node.port, folder, node.bus_port, tuple(settings.items()), password)


def check_spawnable(topology: Topology, nodes: Sequence[Node], passwords: Mapping[str, str]) -> None:
    """Raise UsageError with everything that keeps `nodes` from being spawned."""
    problems: list[Problem] = []

    def refuse(message: str, hint: str, node: Node | None = None) -> None:
        name = None if node is None else node.name
        problems.append(Problem("spawn-unsupported", message, node=name, hint=hint, exit=Exit.USAGE))

    if topology.tls is not None:
        refuse(
            "servers with TLS cannot be spawned yet.", "start them yourself, or remove tls from the topology"
        )
    if len({passwords.get(node.name) for node in nodes}) > 1:
        refuse(
            "servers with different passwords cannot be spawned yet.",
            "use one auth for all of them, or start them yourself",
        )
    for node in nodes:
        if node.auth is not None and node.auth.username not in (None, "default"):
            refuse(
                f"{node.name}: a server with the user {node.auth.username} cannot be spawned yet.",
                "use the default user, or start the server yourself",
                node,
            )
    if problems:
        raise UsageError(*problems)


def stale_servers(topology: Topology, *, file: Path, passwords: Mapping[str, str]) -> tuple[Problem, ...]:
    """Return a warning for each way in which running spawned servers differ from the topology.

    They keep what they were started with. `file` is what the topology was read from; `passwords` are by node
    name. Raises Refused when the record of the servers is corrupt.
    """
    key = key_of(file, topology.reached)
    cluster = decode(key, records.read(key))
    running = {node.endpoint: node for node in cluster.nodes if node.running} if cluster else {}
    command = topology.servers.command
    path = _located(command)
    differences: dict[str, list[str]] = {}
    for node in topology.nodes:
        spawned = running.get(Endpoint(host_of(node), node.port))
        if spawned is None:
            continue
        if path is not None and path != spawned.binary:
            what = f"{spawned.binary}, and servers.command is {command} now"
            differences.setdefault(what, []).append(node.name)
        try:
            before = _settings((spawned.folder / CONFIG).read_text())
        except OSError:
            continue
        announce = "cluster-announce-ip" in before
        server = server_for(topology, node, spawned.folder.parent, passwords.get(node.name), announce)
        now = _settings(config(server))
        names = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
        if names:
            what = f"with other settings than the topology has now ({shortened(names)})"
            differences.setdefault(what, []).append(node.name)
    return tuple(
        warning(
            "spawned-otherwise",
            f"{count(len(names), 'spawned server')} {agree('runs', names)} {what}: {shortened(names)}.",
            node=names[0] if len(names) == 1 else None,
            hint=f"run 'clusterboot down {file}', then 'up --spawn' again: it starts new, empty servers",
        )
        for what, names in differences.items()
    )


def _located(command: str | None) -> str | None:
    """Return the path of servers.command, or the command itself if there is no such file."""
    if command is None:
        return None
    try:
        return locate(command)
    except UsageError:
        return command


def _settings(text: str) -> Mapping[str, str]:
    pairs = (line.partition(" ") for line in text.splitlines())
    return {name: value for name, _, value in pairs}
