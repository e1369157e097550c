"""The pytest plugin: `redis_cluster` is a real cluster for the session, `clean_redis_cluster` an empty one.

    def test_orders(clean_redis_cluster):
        client = clean_redis_cluster.client(decode_responses=True)
        client.set("order:1", "tea")

Nothing starts before a test asks for a fixture. Every process of pytest-xdist has a cluster of its own.
pytest imports this file in every run of an environment that has clusterboot, so all else waits until a
fixture is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ssl import SSLContext

    from redis.cluster import RedisCluster as Client
    from redis.connection import ConnectionPool

_OPTIONS = {
    "primaries": ("N", "primaries of the throwaway cluster (default: 3)"),
    "replicas": ("N", "replicas of each primary (default: 1)"),
    "server": ("PATH", "the server to start: a path, or a name on PATH"),
    "topology": ("FILE", "use the running cluster of this topology file instead of starting one"),
}


class RedisCluster:
    """A running cluster: `nodes` are all its nodes as `host:port`, `url` is the URL of one primary."""

    def __init__(self, nodes: tuple[str, ...], url: str, options: Mapping[str, Any]) -> None:
        """Take the nodes, the URL, and what a client needs beyond an address (credentials, TLS)."""
        self.nodes = nodes
        self.url = url
        self._options = options
        self._clients = ExitStack()

    def __repr__(self) -> str:
        return f"<RedisCluster {self.url} of {len(self.nodes)}>"

    def client(self, **options: Any) -> Client:
        """Return a new client of redis-py, which takes `options`; it is closed when the session ends."""
        client = self._connect(options)
        self._clients.callback(client.close)
        return client

    def flush(self) -> None:
        """Delete all keys, and return when the replicas have done so too."""
        # A new client, for a test may have moved primaries.
        client: Any = self._connect({})
        try:
            for node in client.get_primaries():
                # One connection for all of it: WAIT is about the writes of its own connection.
                with client.get_redis_connection(node).client() as primary:
                    primary.flushall()
                    replicas = primary.info("replication")["connected_slaves"]
                    primary.wait(replicas, 5000)
        finally:
            client.close()

    def close(self) -> None:
        """Close every client."""
        self._clients.close()

    def _connect(self, options: Mapping[str, Any]) -> Client:
        from redis import cluster

        make: Any = cluster.ClusterNode  # redis-py leaves it untyped
        parts = (node.rpartition(":") for node in self.nodes)
        nodes = [make(host.strip("[]"), int(port)) for host, _, port in parts]
        given = {**self._options, **options}
        if (tls := given.pop("tls", None)) is not None:
            # Only with a URL does redis-py ask for connections in the way that it was told.
            given |= {"url": self.url, "connection_pool_class": _pool(*tls)}
        return cluster.RedisCluster(startup_nodes=nodes, **given)


def _pool(context: SSLContext, server_name: str | None) -> type[ConnectionPool]:
    """Return a pool of connections with this TLS context, to servers whose certificates have this name."""
    from redis import connection

    class Connection(connection.SSLConnection):
        def _wrap_socket_with_ssl(self, sock: Any) -> Any:
            return context.wrap_socket(sock, server_hostname=server_name or self.host)

    class Pool(connection.ConnectionPool):
        def __init__(self, **options: Any) -> None:
            super().__init__(**{**options, "connection_class": Connection})

    return Pool


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add an option and an ini setting for each thing that the cluster can be told."""
    group = parser.getgroup("clusterboot", "a Redis or Valkey Cluster for tests")
    for name, (metavar, text) in _OPTIONS.items():
        group.addoption(f"--redis-cluster-{name}", metavar=metavar, default=None, help=text)
        parser.addini(f"redis_cluster_{name}", text, default=None)


@pytest.fixture(scope="session")
def redis_cluster(request: pytest.FixtureRequest) -> Iterator[RedisCluster]:
    """A real cluster, Ready, for the whole session: .nodes, .url, .client()."""
    from clusterboot.errors import ClusterbootError
    from clusterboot.throwaway import fixture

    wanted = {name: _option(request.config, name) for name in _OPTIONS}
    with ExitStack() as stack:
        reason = ""
        try:
            found = stack.enter_context(fixture.cluster(**wanted, root=request.config.rootpath))
        except ClusterbootError as failed:
            reason = "\n".join(
                f"{problem.message}\n  → {problem.hint}" if problem.hint else problem.message
                for problem in failed.problems
            )
        if reason:
            # Not in the handler: pytest would show what it handles as well.
            pytest.fail(f"there is no cluster for this test: {reason}", pytrace=False)
        cluster = RedisCluster(*found)
        stack.callback(cluster.close)
        yield cluster


@pytest.fixture
def clean_redis_cluster(redis_cluster: RedisCluster) -> RedisCluster:
    """The cluster of the session without a single key: FLUSHALL before each test that asks for it."""
    redis_cluster.flush()
    return redis_cluster


def _option(config: pytest.Config, name: str) -> str | None:
    given: str | None = config.getoption(f"redis_cluster_{name}")
    if given is None:
        given = config.getini(f"redis_cluster_{name}")
    return given or None
