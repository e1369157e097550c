"""A throwaway cluster: servers on free ports under a guardian, made one cluster, gone with this process.

    with Throwaway(topology, binary, settings) as cluster:    # the servers are starting
        cluster.wait(timeout=60)                              # they answer
        await cluster.form(timeout=60)                        # they are one cluster, and it is Ready
        print(cluster.url)

Servers start before anything heavy is imported: their first two seconds, in which no node of a cluster
says that it is fine, pass while clusterboot gets ready and makes them meet.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clusterboot.errors import NodeFailed, OutOfTime
from clusterboot.local.records import folder_name
from clusterboot.local.servers import LOG, Server, answers, check_able, died, mute, prepare
from clusterboot.throwaway.keeper import Keeper
from clusterboot.throwaway.ports import HOST, free_ports
from clusterboot.throwaway.shape import moved

if TYPE_CHECKING:
    from clusterboot.core.events import Event
    from clusterboot.core.results import UpResult
    from clusterboot.local.binary import Binary
    from clusterboot.topology import Topology

# So often a server may find its port taken between our look and its bind before we call it a fault.
_TRIES = 5
_POLL = 0.01


class Throwaway:
    """A throwaway cluster; a context manager that starts its servers and leaves nothing of them."""

    def __init__(
        self,
        topology: Topology,
        binary: Binary,
        settings: Sequence[tuple[str, str]] = (),
        *,
        command: bool = False,
    ) -> None:
        """Take the shape, the server, the settings of all servers, and whether a command is to be run in it.

        Raises UsageError for bad settings.
        """
        self._shape = topology
        self._binary = binary
        self._settings = tuple(settings)
        self._command = command
        self._servers: list[Server] = []
        self.result: UpResult | None = None

    def __enter__(self) -> Throwaway:
        self._began = time.monotonic()
        self.keeper = Keeper(self._binary.path, command=self._command)
        try:
            self._servers = [self._server(port) for port in free_ports(len(self._shape.nodes))]
            check_able(self._binary, self._servers)
            for server in self._servers:
                self._start(server)
        except BaseException:
            self.keeper.close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.keeper.close()

    @property
    def addresses(self) -> tuple[str, ...]:
        """`host:port` of every node, in the order of the topology."""
        return tuple(f"{HOST}:{server.port}" for server in self._servers)

    @property
    def url(self) -> str:
        """The URL of one node: the first primary once there is one."""
        rows = self.result.nodes if self.result is not None else ()
        first = next((row.address for row in rows if row.role == "primary"), self.addresses[0])
        return f"redis://{first}"

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables that tell a program where the cluster is."""
        nodes = ",".join(self.addresses)
        return {
            "CLUSTERBOOT_NODES": nodes,
            "CLUSTERBOOT_URL": self.url,
            "REDIS_CLUSTER_NODES": nodes,
            "REDIS_URL": self.url,
        }

    def wait(self, timeout: float) -> None:
        """Wait until every server answers; one whose port was taken meanwhile starts on another.

        Nothing heavy is imported before that: it would keep the CPU from the servers, whose two seconds
        begin when they do. Raises NodeFailed when one dies, OutOfTime `timeout` seconds after the start.
        """
        tries = 0
        silent = list(self._servers)
        while silent:
            self.keeper.listen()
            for server in silent[:]:
                try:
                    self._check(server)
                    if answers(server):
                        silent.remove(server)
                except NodeFailed as failed:
                    tries += 1
                    if failed.problems[0].code != "port-in-use" or tries > _TRIES * len(self._servers):
                        raise
                    silent[silent.index(server)] = self._elsewhere(server)
            if silent and time.monotonic() - self._began > timeout:
                raise OutOfTime(*(mute(server, timeout) for server in silent))
            if silent:
                time.sleep(_POLL)

    async def form(self, timeout: float) -> UpResult:
        """Make the servers, which answer (see `wait`), one cluster; returns when it is Ready.

        `timeout` in seconds counts from the start of the servers. Raises OutOfTime, and as
        `clusterboot.bootstrap.up` does.
        """
        from clusterboot import bootstrap
        from clusterboot.wire.client import Fleet

        topology = moved(self._shape, [server.port for server in self._servers])
        fleet = Fleet(topology, lambda node: (None, None))
        try:
            spent = time.monotonic() - self._began
            # No helper: the guardian ends the servers, so nothing stays lowered.
            asked = bootstrap.Request(topology, fleet, _nobody, timeout, spent=spent, boost=topology.boost)
            self.result = await bootstrap.up(asked)
        finally:
            await fleet.close()
        return self.result

    def keep_logs(self, folder: Path) -> None:
        """Copy the servers' logs to `folder`, one file for each node; raises OSError."""
        folder.mkdir(parents=True, exist_ok=True)
        for node, server in zip(self._shape.nodes, self._servers, strict=True):
            named = node.name != node.address
            name = node.name.replace("/", "_") if named else folder_name(server.host, server.port)
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(server.folder / LOG, folder / f"{name}.log")

    def _server(self, port: int) -> Server:
        return Server(f"{HOST}:{port}", HOST, port, self.keeper.folder / str(port), settings=self._settings)

    def _start(self, server: Server) -> None:
        prepare(server)
        self.keeper.tell("start", server.port)

    def _check(self, server: Server) -> None:
        """Raise NodeFailed with its last words when the server has died."""
        if server.port in self.keeper.ended:
            raise NodeFailed(died(server, self.keeper.ended[server.port]))

    def _elsewhere(self, server: Server) -> Server:
        self.keeper.tell("stop", server.port)
        taken = [server.port for server in self._servers]
        fresh = self._server(free_ports(1, taken)[0])
        self._servers[self._servers.index(server)] = fresh
        self._start(fresh)
        return fresh


def _nobody(event: Event) -> None:
    """Nobody watches a throwaway cluster form: what goes wrong is an error, the rest is noise."""
