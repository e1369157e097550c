"""Local servers: find a binary, start servers on loopback, remember them, stop exactly those."""

from clusterboot.local.binary import Binary, find_server
from clusterboot.local.changed import changed
from clusterboot.local.clusters import Spawned, Stopped, spawn, stop, stop_named
from clusterboot.local.process import Process
from clusterboot.local.records import SpawnedCluster, SpawnedNode, spawned
from clusterboot.local.servers import Server, start

__all__ = [
    "Binary",
    "Process",
    "Server",
    "Spawned",
    "SpawnedCluster",
    "SpawnedNode",
    "Stopped",
    "changed",
    "find_server",
    "spawn",
    "spawned",
    "start",
    "stop",
    "stop_named",
]
