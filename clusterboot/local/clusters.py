"""Spawned clusters: the servers that `up --spawn` started, remembered until `down` stops them.

One record per topology file (its real path is the key), written before the servers are started and
again as soon as they have pids, so a crash in between loses none: each server also writes its pid into
its own folder.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clusterboot.addresses import is_loopback, is_loopback_address
from clusterboot.disk import records
from clusterboot.errors import Exit, NodeFailed, Problem, UsageError
from clusterboot.local import process
from clusterboot.local.binary import find_server
from clusterboot.local.records import (
    SpawnedCluster,
    SpawnedNode,
    check_machine,
    decode,
    encode,
    folder_name,
    key_named,
    key_of,
    machine,
    remove,
    sweep,
)
from clusterboot.local.servers import PIDFILE, Server, answers, speaks, start

if TYPE_CHECKING:
    from clusterboot.local.process import Process
    from clusterboot.topology.model import Node, Topology

_GRACE = 3.0


@dataclass(frozen=True, slots=True)
class Spawned:
    """What `spawn` did, by node name: started now, or answering already (whoever started them).

    `server` is what was started, such as "Valkey 9.1.2"; None when nothing was.
    """

    started: tuple[str, ...]
    already: tuple[str, ...]
    server: str | None


@dataclass(frozen=True, slots=True)
class Stopped:
    """What `stop` did: names of nodes whose servers it ended, and of those that had ended before."""

    stopped: tuple[str, ...]
    gone: tuple[str, ...]


def spawn(
    topology: Topology,
    nodes: Sequence[Node],
    *,
    file: Path,
    timeout: float,
    passwords: Mapping[str, str] | None = None,
) -> Spawned:
    """Start a local server for each of `nodes` that does not answer, and remember them.

    The nodes are of `topology`, which was read from `file`. One whose server died comes back from its
    folder while others of the cluster still run; when none does, all begin anew. `passwords` are those
    of nodes that have one, by name. When anything fails, whatever this call started is gone again.

    Raises UsageError for what cannot be spawned or when there is no server; NodeFailed when a port is
    taken, a server dies, or one that was spawned before is stuck; OutOfTime after `timeout` seconds; Refused
    when the record is not ours to change, and as in `clusterboot.disk.records.locked`.
    """
    end = time.monotonic() + timeout
    passwords = passwords or {}
    silent = [node for node in nodes if not (is_loopback(node.host) and speaks(host_of(node), node.port))]
    if not silent:
        return Spawned((), tuple(node.name for node in nodes), None)
    _check(topology, silent, passwords)
    binary = find_server(topology.servers.command)
    sweep()
    key = key_of(file, topology.nodes)
    with records.locked(key, wait=timeout) as record:
        before = decode(key, record.read())
        check_machine(key, before)
        root = records.make_servers_folder(key)
        if before is None or not any(node.running for node in before.nodes):
            # Nothing of it runs: what lies there is from before a crash or a reboot.
            before = None
            _empty(root)
        known = {(node.host, node.port): node for node in before.nodes} if before else {}
        announce = not (binary.kind == "Redis" and binary.before(4))
        servers = [server_for(topology, node, root, passwords.get(node.name), announce) for node in silent]
        # Those that run were started by another clusterboot since the look above.
        running = [server for server in servers if (node := known.get(_at(server))) and node.running]
        _check_not_stuck(running, known)
        missing = [server for server in servers if server not in running]
        if not missing:
            return Spawned((), tuple(node.name for node in nodes), None)
        kept = [node for at, node in known.items() if at not in map(_at, missing)]
        for server in missing:
            # What `decode` finds in it after a crash must be of the server that is started now.
            (server.folder / PIDFILE).unlink(missing_ok=True)

        def remember(processes: Iterable[Process | None]) -> None:
            fresh = [
                SpawnedNode(
                    server.name, server.host, server.port, server.folder, now, binary.path, binary.title
                )
                for server, now in zip(missing, processes, strict=True)
            ]
            name = topology.name or file.stem
            cluster = SpawnedCluster(name, file.resolve(), machine(), process.boot(), (*kept, *fresh))
            record.write(encode(cluster))

        try:
            remember([None] * len(missing))
            start(binary, missing, timeout=end - time.monotonic(), begun=remember)
        except BaseException:
            if before is not None:
                record.write(encode(before))
            else:
                remove(key)
                record.delete()
            raise
    started = tuple(server.name for server in missing)
    return Spawned(started, tuple(node.name for node in nodes if node.name not in started), binary.title)


def stop(topology: Topology, *, file: Path, wait: float) -> Stopped | None:
    """Stop every server spawned for this topology, remove their folders and forget them.

    Returns None when nothing had been spawned. A process that only has the pid of one is left alone.
    Waits up to `wait` seconds for another clusterboot at work on the same cluster. Raises NodeFailed
    when a server cannot be ended (it stays remembered), Refused as in `clusterboot.disk.records.locked`.
    """
    return _stop(key_of(file, topology.nodes), wait)


def stop_named(name: str, *, wait: float) -> Stopped | None:
    """Stop the spawned cluster that `ls` shows under this name, or whose topology file was this one.

    For a topology file that is gone, or to spare looking for it. Returns None when there is no such
    cluster. Raises UsageError when several have the name, and as `stop` does.
    """
    key = key_named(name)
    return None if key is None else _stop(key, wait)


def _stop(key: str, wait: float) -> Stopped | None:
    # Without this look, asking would leave an empty state folder behind.
    if records.read(key) is None:
        return None
    with records.locked(key, wait=wait) as record:
        cluster = decode(key, record.read())
        if cluster is None:
            return None
        check_machine(key, cluster)
        running = [node for node in cluster.nodes if node.running]
        pairs = [(node.process, node.folder) for node in running if node.process is not None]
        left = process.end(pairs, grace=_GRACE)
        if left:
            raise NodeFailed(
                *(
                    Problem(
                        "server-not-stopped",
                        f"{node.name}: its server (process {node.process.pid}) does not end",
                        node=node.name,
                        hint="end it yourself, then run `clusterboot down` again",
                        exit=Exit.NODE,
                    )
                    for node in running
                    if node.process is not None and node.process in left
                )
            )
        remove(key)
        record.delete()
    return Stopped(
        tuple(node.name for node in running),
        tuple(node.name for node in cluster.nodes if node not in running),
    )


def _check(topology: Topology, nodes: Sequence[Node], passwords: Mapping[str, str]) -> None:
    problems: list[Problem] = []

    def refuse(message: str, hint: str, node: Node | None = None) -> None:
        name = None if node is None else node.name
        problems.append(Problem("spawn-unsupported", message, node=name, hint=hint, exit=Exit.USAGE))

    if topology.tls is not None:
        refuse("servers with TLS cannot be spawned yet", "start them yourself, or take tls out of the file")
    if len({passwords.get(node.name) for node in nodes}) > 1:
        refuse(
            "servers with different passwords cannot be spawned yet",
            "use one auth for all of them, or start them yourself",
        )
    for node in nodes:
        if not is_loopback(node.host):
            refuse(f"{node.name}: {node.host} is not a loopback address", "start that server yourself", node)
        if node.auth is not None and node.auth.username not in (None, "default"):
            refuse(
                f"{node.name}: a server with the user {node.auth.username} cannot be spawned yet",
                "use the default user, or start the server yourself",
                node,
            )
    if problems:
        raise UsageError(*problems)


def host_of(node: Node) -> str:
    """Return the address on which a server for a loopback node listens."""
    return node.host if is_loopback_address(node.host) else "127.0.0.1"


def _at(server: Server) -> tuple[str, int]:
    """Nodes are told apart by where they listen: a name can change in the file from one run to the next."""
    return server.host, server.port


def _check_not_stuck(servers: Iterable[Server], known: Mapping[tuple[str, int], SpawnedNode]) -> None:
    problems = [
        Problem(
            "server-stuck",
            f"{server.name} does not answer, and its spawned server runs: process {now.pid}.",
            node=server.name,
            hint="if it is stopped, kill -CONT lets it go on; 'clusterboot down' ends all servers of its "
            "cluster, and their keys are lost",
            exit=Exit.NODE,
        )
        for server in servers
        if (now := known[_at(server)].process) is not None and not answers(server)
    ]
    if problems:
        raise NodeFailed(*problems)


def server_for(
    topology: Topology, node: Node, root: Path, password: str | None, announce: bool = True
) -> Server:
    """Return the server that would be started for a node, in a folder below `root`.

    With `announce` it tells the others its address itself, which Redis can since 4.0.
    """
    host = host_of(node)
    settings = dict(topology.servers.config)
    if announce:
        # Else the others take the address that its packets come from: 127.0.0.1 for all of 127.0.0.0/8, and
        # one of the wrong kind where some nodes use IPv6.
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


def _empty(root: Path) -> None:
    for folder in root.iterdir():
        shutil.rmtree(folder, ignore_errors=True)
