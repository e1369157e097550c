"""The records of spawned clusters: which servers, for which topology file, in which folders.

The key of a record is the real path of the topology file. A record tells which process a server was;
whether it still runs is asked of the system each time.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clusterboot.addresses import Endpoint
from clusterboot.disk import records
from clusterboot.errors import ClusterbootError, Exit, Problem, Refused, UsageError
from clusterboot.local import process
from clusterboot.local.process import Process
from clusterboot.local.servers import PIDFILE

if TYPE_CHECKING:
    from clusterboot.topology.model import Node


@dataclass(frozen=True, slots=True)
class SpawnedNode:
    """One remembered server. `process` is None when it never got one; it may be long gone: see `running`."""

    name: str
    host: str
    port: int
    folder: Path
    process: Process | None
    binary: str
    version: str

    @property
    def address(self) -> str:
        """`host:port`, with brackets around an IPv6 host."""
        return str(Endpoint(self.host, self.port))

    @property
    def running(self) -> bool:
        """Whether this very server still runs; another process with its pid does not count."""
        return self.process is not None and process.runs(self.process, self.folder)


@dataclass(frozen=True, slots=True)
class SpawnedCluster:
    """All servers that were spawned for one topology file."""

    name: str
    file: Path
    machine: str
    boot: str
    nodes: tuple[SpawnedNode, ...]


def spawned() -> tuple[tuple[SpawnedCluster, ...], tuple[Problem, ...]]:
    """Return all spawned clusters by name, and a problem for each record that cannot be understood."""
    found, problems = records.read_all()
    clusters: list[SpawnedCluster] = []
    for key, data in found.items():
        try:
            cluster = decode(key, data)
        except Refused as error:
            problems += error.problems
        else:
            assert cluster is not None
            clusters.append(cluster)
    return tuple(sorted(clusters, key=lambda cluster: (cluster.name, cluster.file))), problems


def key_of(file: Path, nodes: Iterable[Node]) -> str:
    """Return the key of a topology file: its real path, or that of the record it had before it was moved."""
    own = str(file.resolve())
    if records.read(own) is not None:
        return own
    addresses = {node.address for node in nodes}
    for key, data in records.read_all()[0].items():
        try:
            cluster = decode(key, data)
        except ClusterbootError:
            continue
        if (
            cluster is not None
            and not cluster.file.exists()
            and {node.address for node in cluster.nodes} <= addresses
        ):
            return key
    return own


def key_named(name: str) -> str | None:
    """Return the key of the spawned cluster of that name, or of the topology file of that path; None if none.

    Raises UsageError when several clusters have the name.
    """
    found: dict[str, Path] = {}
    path = Path(name).absolute()
    for key, data in records.read_all()[0].items():
        try:
            cluster = decode(key, data)
        except ClusterbootError:
            continue
        if cluster is not None and (cluster.name == name or cluster.file == path):
            found[key] = cluster.file
    if len(found) > 1:
        raise UsageError(
            Problem(
                "name-ambiguous",
                f"{len(found)} spawned clusters are named {name}: {', '.join(map(str, found.values()))}",
                hint="give the topology file of the one that you mean",
                exit=Exit.USAGE,
            )
        )
    return next(iter(found), None)


def check_machine(key: str, cluster: SpawnedCluster | None) -> None:
    """Raise Refused when the servers run on another machine: it may share our home folder, not our pids."""
    if cluster is None or cluster.boot == process.boot() or cluster.machine == machine():
        return
    raise Refused(
        Problem(
            "spawned-elsewhere",
            f"the servers of {cluster.file} were spawned on another machine, {cluster.machine}",
            hint=f"run this there; if {cluster.machine} is gone, remove {records.path(key)}",
            exit=Exit.REFUSED,
        )
    )


def sweep() -> None:
    """Forget what was spawned on this machine before it was booted: nothing of it can run any more."""
    for key, data in records.read_all()[0].items():
        try:
            cluster = decode(key, data)
            if cluster is None or cluster.machine != machine() or cluster.boot == process.boot():
                continue
            with records.locked(key, wait=0) as record:
                if record.read() == data:
                    remove(key)
                    record.delete()
        except ClusterbootError:
            # Somebody is at work on it, or it is corrupt: the command that asks for it says so.
            continue


def remove(key: str) -> None:
    """Remove the folders of all servers of a cluster."""
    shutil.rmtree(records.make_servers_folder(key), ignore_errors=True)


def folder_name(host: str, port: int) -> str:
    """Return the name of a server's folder, which is always the name of one folder."""
    return f"{re.sub('[^0-9A-Za-z.]', '_', host)}-{port}"


def machine() -> str:
    """Return the name of this machine."""
    return os.uname().nodename


def encode(cluster: SpawnedCluster) -> dict[str, Any]:
    """Return what the record of a cluster holds; `decode` reads it."""
    return {
        "name": cluster.name,
        "file": str(cluster.file),
        "machine": cluster.machine,
        "boot": cluster.boot,
        "nodes": [
            {
                "name": node.name,
                "host": node.host,
                "port": node.port,
                "pid": node.process and node.process.pid,
                "started": node.process and node.process.started,
                "binary": node.binary,
                "version": node.version,
            }
            for node in cluster.nodes
        ],
    }


def decode(key: str, data: dict[str, Any] | None) -> SpawnedCluster | None:
    """Return the cluster of a record. Folders are worked out anew: no record can point anywhere else."""
    if data is None:
        return None
    root = records.servers_folder(key)
    try:
        boot = _typed(data, "boot", str)
        nodes = []
        for each in _typed(data, "nodes", list):
            host, port = _typed(each, "host", str), _typed(each, "port", int)
            folder = root / folder_name(host, port)
            if each["pid"] is None:
                now = _from_pidfile(folder)
            else:
                now = Process(_typed(each, "pid", int), _typed(each, "started", str), boot)
            nodes.append(
                SpawnedNode(
                    _typed(each, "name", str),
                    host,
                    port,
                    folder,
                    now,
                    _typed(each, "binary", str),
                    _typed(each, "version", str),
                )
            )
        return SpawnedCluster(
            _typed(data, "name", str),
            Path(_typed(data, "file", str)),
            _typed(data, "machine", str),
            boot,
            tuple(nodes),
        )
    except (KeyError, TypeError) as error:
        file = records.path(key)
        raise records.corrupt(file, f"{error.args[0]!r} is missing or not what it should be") from None


def _typed(data: Any, name: str, kind: type) -> Any:
    value = data[name]
    if type(value) is not kind:
        raise TypeError(name)
    return value


def _from_pidfile(folder: Path) -> Process | None:
    """Return the server that a crashed clusterboot had started without coming to write down its pid."""
    try:
        pid = int((folder / PIDFILE).read_text())
    except (OSError, ValueError):
        return None
    now = process.identify(pid)
    return now if now is not None and process.runs(now, folder) else None
