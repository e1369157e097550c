"""Start and stop spawned clusters: the servers that 'up --spawn' starts, on record until 'down' stops them.

The record is written before the servers start, and again when they have pids. If clusterboot is killed in
between, none is lost: each server writes its pid into its own folder.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from clusterboot.addresses import Endpoint, is_loopback
from clusterboot.disk import records
from clusterboot.errors import Exit, NodeFailed, Problem
from clusterboot.local import process
from clusterboot.local.binary import find_server
from clusterboot.local.launch import answers, any_server_answers, start
from clusterboot.local.server import PIDFILE, Server
from clusterboot.local.spawned import (
    SpawnedCluster,
    SpawnedNode,
    check_machine,
    decode,
    encode,
    key_of,
    machine,
    remove,
    sweep,
)
from clusterboot.local.wanted import check_spawnable, host_of, server_for

if TYPE_CHECKING:
    from clusterboot.local.process import Process
    from clusterboot.topology.model import Topology


@dataclass(frozen=True, slots=True)
class Spawned:
    """The names of the nodes that `spawn` started, and their server, such as "Valkey 9.1.2"."""

    started: tuple[str, ...] = ()
    server: str | None = None


@dataclass(frozen=True, slots=True)
class Stopped:
    """What `stop` did, by node name: stopped now, or already ended before."""

    stopped: tuple[str, ...]
    gone: tuple[str, ...]


def spawn(topology: Topology, *, file: Path, timeout: float, passwords: Mapping[str, str]) -> Spawned:
    """Start a local server for each loopback node that does not answer, and record them.

    `topology` was read from `file`; `passwords` are by node name. While other servers of the cluster run, one
    that died restarts as the same node, from its folder; otherwise all start empty. On any error, whatever
    this call started is stopped and removed.

    Raises UsageError for what cannot be spawned or when there is no server; NodeFailed when a port is taken,
    a server dies, or an earlier spawned one does not answer; OutOfTime after `timeout` seconds; Refused for
    servers of another machine, and as in `clusterboot.disk.records.locked`.
    """
    end = time.monotonic() + timeout
    local = [node for node in topology.nodes if is_loopback(node.host)]
    silent = [node for node in local if not any_server_answers(host_of(node), node.port)]
    if not silent:
        return Spawned()
    check_spawnable(topology, silent, passwords)
    binary = find_server(topology.servers.command)
    sweep()
    key = key_of(file, topology.reached)
    with records.locked(key, wait=timeout) as record:
        before = decode(key, record.read())
        check_machine(key, before)
        if before is None or not any(node.running for node in before.nodes):
            # The folders are left over from a crash or a reboot.
            before = None
            remove(key)
        root = records.make_servers_folder(key)
        known = {node.endpoint: node for node in before.nodes} if before else {}
        announce = not binary.is_redis_before(4)
        servers = [server_for(topology, node, root, passwords.get(node.name), announce) for node in silent]
        # Those that run were started by another clusterboot since the check above.
        running = [server for server in servers if (node := known.get(server.endpoint)) and node.running]
        _check_not_stuck(running, known)
        missing = [server for server in servers if server not in running]
        if not missing:
            return Spawned()
        for server in missing:
            known.pop(server.endpoint, None)
            # `decode` may read it after a crash, and must find the pid of the new server only.
            (server.folder / PIDFILE).unlink(missing_ok=True)
        name = topology.name or file.stem
        kept = SpawnedCluster(name, file.resolve(), machine(), process.boot(), tuple(known.values()))

        def write(processes: Iterable[Process | None]) -> None:
            fresh = [
                SpawnedNode(each.name, each.host, each.port, each.folder, now, binary.path, binary.title)
                for each, now in zip(missing, processes, strict=True)
            ]
            record.write(encode(replace(kept, nodes=(*kept.nodes, *fresh))))

        with _restored_on_error(record, key, before):
            write([None] * len(missing))
            start(binary, missing, timeout=end - time.monotonic(), record=write)
    return Spawned(tuple(server.name for server in missing), binary.title)


@contextmanager
def _restored_on_error(record: records.Record, key: str, before: SpawnedCluster | None) -> Iterator[None]:
    try:
        yield
    except BaseException:
        if before is not None:
            record.write(encode(before))
        else:
            remove(key)
            record.delete()
        raise


def stop(key: str | None, *, wait: float) -> Stopped | None:
    """Stop the spawned cluster with this key, and remove the folders of its servers and its record.

    Returns None if there is none. Another process that has the pid of a server is left alone. Waits up to
    `wait` seconds for another clusterboot that works on the same cluster. Raises NodeFailed when a server
    does not end (it stays on record), Refused as in `clusterboot.disk.records.locked`.
    """
    # Without a record, the lock would create the state folder.
    if key is None or records.read(key) is None:
        return None
    with records.locked(key, wait=wait) as record:
        cluster = decode(key, record.read())
        if cluster is None:
            return None
        check_machine(key, cluster)
        running = [node for node in cluster.nodes if node.running]
        left = process.end([node.process for node in running if node.process is not None])
        problems = [
            Problem(
                "server-not-stopped",
                f"{node.name}: its server (process {node.process.pid}) does not end.",
                node=node.name,
                hint="kill it yourself, then run 'clusterboot down' again",
                exit=Exit.NODE,
            )
            for node in running
            if node.process is not None and node.process in left
        ]
        if problems:
            raise NodeFailed(*problems)
        remove(key)
        record.delete()
    return Stopped(
        tuple(node.name for node in running),
        tuple(node.name for node in cluster.nodes if node not in running),
    )


def _check_not_stuck(servers: Iterable[Server], known: Mapping[Endpoint, SpawnedNode]) -> None:
    problems = [
        Problem(
            "server-stuck",
            f"{server.name} does not answer, but its spawned server runs (process {now.pid}).",
            node=server.name,
            hint="resume it with 'kill -CONT' if it is stopped; or run 'clusterboot down', which ends all "
            "servers of its cluster and deletes their keys",
            exit=Exit.NODE,
        )
        for server in servers
        if (now := known[server.endpoint].process) is not None and not answers(server)
    ]
    if problems:
        raise NodeFailed(*problems)
