"""A throwaway cluster: servers on free ports under a guardian, which ends them with this process.

    with Throwaway(topology, binary, settings) as cluster:    # the servers are starting
        cluster.wait(timeout=60)                              # they answer
        await cluster.form(timeout=60)                        # they are a cluster, and it is Ready
        print(cluster.url)

Servers start before the slow imports: a node reports cluster_state:fail for its first two seconds
(CLUSTER_WRITABLE_DELAY), and these pass meanwhile.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clusterboot.errors import NodeFailed, OutOfTime
from clusterboot.local.failures import exited, not_answering
from clusterboot.local.launch import answers
from clusterboot.local.server import LOG, Server, check_able, folder_name, prepare
from clusterboot.throwaway.keeper import Keeper
from clusterboot.throwaway.shape import HOST, free_ports, on_ports

if TYPE_CHECKING:
    from clusterboot.core.results import UpResult
    from clusterboot.local.binary import Binary
    from clusterboot.topology import Topology

# A port can be taken between our check and the server's bind; so many retries per server.
_MAX_RETRIES = 5
_POLL = 0.01


class Throwaway:
    """A throwaway cluster: a context manager that starts its servers and removes everything at the end.

    Entering it raises UsageError for settings that cannot be used, NodeFailed if there are no free ports.
    """

    def __init__(
        self,
        topology: Topology,
        binary: Binary,
        settings: Sequence[tuple[str, str]] = (),
        *,
        command: bool = False,
    ) -> None:
        """Take the shape, the server, the settings of all servers, and whether to run a command in it."""
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
        """The environment variables with the addresses of the cluster."""
        nodes = ",".join(self.addresses)
        return {
            "CLUSTERBOOT_NODES": nodes,
            "CLUSTERBOOT_URL": self.url,
            "REDIS_CLUSTER_NODES": nodes,
            "REDIS_URL": self.url,
        }

    def wait(self, timeout: float) -> None:
        """Wait until every server answers; a server whose port was taken starts again on another one.

        Raises NodeFailed when one dies, OutOfTime `timeout` seconds after the start.
        """
        retries = _MAX_RETRIES * len(self._servers)
        silent = list(self._servers)
        while silent:
            self.keeper.listen()
            for server in silent[:]:
                try:
                    if server.port in self.keeper.ended:
                        raise NodeFailed(exited(server, self.keeper.ended[server.port]))
                    if answers(server):
                        silent.remove(server)
                except NodeFailed as failed:
                    retries -= 1
                    if failed.problems[0].code != "port-in-use" or retries < 0:
                        raise
                    silent[silent.index(server)] = self._on_another_port(server)
            if silent and time.monotonic() - self._began > timeout:
                raise OutOfTime(*(not_answering(server, timeout) for server in silent))
            if silent:
                time.sleep(_POLL)

    async def form(self, timeout: float) -> UpResult:
        """Form the cluster, after `wait`; return when it is Ready.

        `timeout` in seconds counts from the start of the servers. Raises as `clusterboot.bootstrap.up` does.
        """
        from clusterboot import bootstrap
        from clusterboot.wire.client import Fleet

        topology = on_ports(self._shape, [server.port for server in self._servers])
        fleet = Fleet(topology, lambda node: (None, None))
        try:
            spent = time.monotonic() - self._began
            # No helper: the guardian ends the servers, so nothing stays lowered.
            asked = bootstrap.Request(
                topology, fleet, lambda _: None, timeout, spent=spent, boost=topology.boost
            )
            self.result = await bootstrap.up(asked)
        finally:
            await fleet.close()
        return self.result

    def keep_logs(self, folder: Path) -> None:
        """Copy the servers' logs to `folder`, one file per node. Raises OSError."""
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

    def _on_another_port(self, server: Server) -> Server:
        self.keeper.tell("stop", server.port)
        taken = [server.port for server in self._servers]
        fresh = self._server(free_ports(1, taken)[0])
        self._servers[self._servers.index(server)] = fresh
        self._start(fresh)
        return fresh
