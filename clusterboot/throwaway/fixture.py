"""The cluster of the pytest fixture: a throwaway one, or the running one of a topology file."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from clusterboot.errors import Exit, Problem, from_problems, usage_error

if TYPE_CHECKING:
    from clusterboot.core.results import StatusResult
    from clusterboot.topology import Credential, Tls, Topology

T = TypeVar("T")
# Addresses of all nodes, the URL of one primary, and more options for a client of redis-py.
ClusterAddress = tuple[tuple[str, ...], str, Mapping[str, Any]]

_LOOK_SECONDS = 20.0


@contextmanager
def cluster(
    primaries: str | None, replicas: str | None, server: str | None, topology: str | None, root: Path
) -> Iterator[ClusterAddress]:
    """Yield a Ready cluster: of a `topology` file (relative to `root`) or throwaway; or ClusterbootError."""
    if topology is not None:
        if primaries or replicas or server:
            raise usage_error(
                "the nodes of a topology are not started here.", "leave out primaries, replicas and server"
            )
        yield _running(root / topology)
        return
    from clusterboot.local.binary import find_server
    from clusterboot.throwaway import shape
    from clusterboot.throwaway.cluster import Throwaway

    plain = shape.plain(_number("primaries", primaries or "3"), _number("replicas", replicas or "1"))
    with Throwaway(plain, find_server(server)) as throwaway:
        timeout = max(60.0, len(plain.nodes))
        throwaway.wait(timeout)
        _in_a_thread(throwaway.form(timeout))
        yield throwaway.addresses, throwaway.url, {}


def _running(file: Path) -> ClusterAddress:
    """Return the cluster of a topology. Raises ClusterbootError with every reason why it is not Ready."""
    from clusterboot.disk.credentials import load
    from clusterboot.disk.topology_file import read

    topology = read(file)
    credentials = load(topology)
    result = _in_a_thread(_look(topology, credentials))
    if not result.ready:
        head = Problem("not-ready", "the cluster of the topology is not Ready.", exit=Exit.NOT_READY)
        raise from_problems((head, *result.verdict.reasons))
    first = next(row.address for row in result.nodes if row.role == "primary")
    username, password = credentials[topology.nodes[0].name]
    options: dict[str, Any] = {"username": username, "password": password} if password else {}
    if topology.tls is not None:
        options |= _tls(topology.tls)
    scheme = "redis" if topology.tls is None else "rediss"
    return tuple(node.address for node in topology.nodes), f"{scheme}://{first}", options


async def _look(topology: Topology, credentials: Mapping[str, Credential]) -> StatusResult:
    from clusterboot.loop.status import status
    from clusterboot.wire.client import Fleet

    fleet = Fleet(topology, lambda node: credentials[node.name])
    try:
        async with asyncio.timeout(_LOOK_SECONDS):
            return await status(topology, fleet)
    finally:
        await fleet.close()


def _tls(tls: Tls) -> dict[str, Any]:
    if tls.server_name is not None or tls.min_version is not None:
        from clusterboot.wire.tls import context

        # redis-py verifies certificates only for the address, and its cluster client ignores the version.
        return {"tls": (context(tls), tls.server_name)}
    return {
        "ssl": True,
        "ssl_ca_certs": str(tls.ca) if tls.ca else None,
        "ssl_certfile": str(tls.cert) if tls.cert else None,
        "ssl_keyfile": str(tls.key) if tls.key else None,
        "ssl_cert_reqs": "required" if tls.verify else "none",
        "ssl_check_hostname": tls.verify,
    }


def _in_a_thread(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a new thread, because this one may already run an event loop."""
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(asyncio.run(work))
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=run, name="clusterboot", daemon=True).start()
    return outcome.result()


def _number(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise usage_error(
            f"redis-cluster-{name} must be a number, not {text!r}.", "give a number such as 3"
        ) from None
