"""The spawned clusters on record: which servers, for which topology file, in which folders.

The key of a record is the real path of the topology file. A record has the process of each server; whether
it still runs is looked up each time.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clusterboot.addresses import Endpoint
from clusterboot.disk import records
from clusterboot.errors import ClusterbootError, Problem, Refused, UsageError
from clusterboot.local import process
from clusterboot.local.process import Process
from clusterboot.local.server import PIDFILE, folder_name

if TYPE_CHECKING:
    from clusterboot.topology.model import Node


# What a record has of the cluster, and of each node beside its process.
_CLUSTER_FIELDS = ("name", "file", "machine", "boot")
_NODE_FIELDS = {"name": str, "host": str, "port": int, "binary": str, "version": str}


@dataclass(frozen=True, slots=True)
class SpawnedNode:
    """One server on record. `process` is None if it was never started, and may have ended: see `running`."""

    name: str
    host: str
    port: int
    folder: Path
    process: Process | None
    binary: str
    version: str

    @property
    def endpoint(self) -> Endpoint:
        """Where it listens."""
        return Endpoint(self.host, self.port)

    @property
    def running(self) -> bool:
        """Whether this very server still runs; another process with its pid does not count."""
        return self.process is not None and process.runs(self.process)


@dataclass(frozen=True, slots=True)
class SpawnedCluster:
    """All servers that were spawned for one topology file."""

    name: str
    file: Path
    machine: str
    boot: str
    nodes: tuple[SpawnedNode, ...]


def spawned_clusters() -> tuple[tuple[SpawnedCluster, ...], tuple[Problem, ...]]:
    """Return all spawned clusters in order of their names, and a problem for each unreadable record."""
    clusters, problems = _readable()
    return tuple(sorted(clusters.values(), key=lambda cluster: (cluster.name, cluster.file))), problems


def _readable() -> tuple[dict[str, SpawnedCluster], tuple[Problem, ...]]:
    found, problems = records.read_all()
    clusters: dict[str, SpawnedCluster] = {}
    for key, data in found.items():
        try:
            if cluster := decode(key, data):
                clusters[key] = cluster
        except Refused as error:
            problems += error.problems
    return clusters, problems


def key_of(file: Path, nodes: Iterable[Node]) -> str:
    """Return the key of a topology file: its real path, or its former path if the file was moved."""
    own = str(file.resolve())
    if records.read(own) is not None:
        return own
    addresses = {node.address for node in nodes}
    for key, cluster in _readable()[0].items():
        if not cluster.file.exists() and {str(node.endpoint) for node in cluster.nodes} <= addresses:
            return key
    return own


def key_named(name: str) -> str | None:
    """Return the key of the cluster with this name or file, or None; UsageError if several have the name."""
    path = Path(name).absolute()
    files = {
        key: cluster.file
        for key, cluster in _readable()[0].items()
        if cluster.name == name or cluster.file == path
    }
    if len(files) > 1:
        raise UsageError.of(
            "name-ambiguous",
            f"{len(files)} spawned clusters are named {name}: {', '.join(map(str, files.values()))}.",
            hint="give the topology file of the cluster that you mean",
        )
    return next(iter(files), None)


def check_machine(key: str, cluster: SpawnedCluster | None) -> None:
    """Raise Refused for servers of another machine, which shares the state folder but not its pids."""
    if cluster is None or cluster.boot == process.boot() or cluster.machine == machine():
        return
    raise Refused.of(
        "spawned-elsewhere",
        f"the servers of {cluster.file} were spawned on another machine, {cluster.machine}.",
        hint=f"run this there; if {cluster.machine} is gone, remove {records.path(key)}",
    )


def sweep() -> None:
    """Remove what was spawned on this machine before its last boot: none of it can still run."""
    for key, cluster in _readable()[0].items():
        if cluster.machine != machine() or cluster.boot == process.boot():
            continue
        # If it is locked or corrupt, the command that needs it reports that.
        with suppress(ClusterbootError), records.locked(key, wait=0) as record:
            if decode(key, record.read()) == cluster:
                remove(key)
                record.delete()


def remove(key: str) -> None:
    """Remove the folders of all servers of a cluster."""
    shutil.rmtree(records.make_servers_folder(key), ignore_errors=True)


def machine() -> str:
    """Return the name of this machine."""
    return os.uname().nodename


def encode(cluster: SpawnedCluster) -> dict[str, Any]:
    """Return the record of a cluster, for `decode`."""
    nodes = [
        {field: getattr(node, field) for field in _NODE_FIELDS}
        | {"pid": node.process and node.process.pid, "started": node.process and node.process.started}
        for node in cluster.nodes
    ]
    return {field: str(getattr(cluster, field)) for field in _CLUSTER_FIELDS} | {"nodes": nodes}


def decode(key: str, data: dict[str, Any] | None) -> SpawnedCluster | None:
    """Return the cluster of a record; None for no record. Raises Refused when it is corrupt.

    Folders are computed, not read, so that no record can name a folder outside of the state folder.
    """
    if data is None:
        return None
    root = records.servers_folder(key)
    try:
        name, file, machine, boot = (_typed(data, field, str) for field in _CLUSTER_FIELDS)
        nodes = []
        for each in _typed(data, "nodes", list):
            fields = {field: _typed(each, field, kind) for field, kind in _NODE_FIELDS.items()}
            folder = root / folder_name(fields["host"], fields["port"])
            if each["pid"] is None:
                now = _from_pidfile(folder)
            else:
                now = Process(_typed(each, "pid", int), _typed(each, "started", str), boot, folder)
            nodes.append(SpawnedNode(**fields, folder=folder, process=now))
    except (KeyError, TypeError) as error:
        why = f"{error.args[0]!r} is missing or has a wrong value"
        raise records.corrupt(records.path(key), why) from None
    return SpawnedCluster(name, Path(file), machine, boot, tuple(nodes))


def _typed(data: Any, name: str, kind: type) -> Any:
    value = data[name]
    if type(value) is not kind:
        raise TypeError(name)
    return value


def _from_pidfile(folder: Path) -> Process | None:
    """Return a server whose pid is not on record, because clusterboot was killed after starting it."""
    try:
        pid = int((folder / PIDFILE).read_text())
    except (OSError, ValueError):
        return None
    now = process.identify(pid, folder)
    return now if now is not None and process.runs(now) else None
