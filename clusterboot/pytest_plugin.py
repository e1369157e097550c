"""The pytest plugin: a real cluster for the session, and the same cluster emptied for each test.

    def test_orders(clean_redis_cluster):
        client = clean_redis_cluster.client(decode_responses=True)
        client.set("order:1", "tea")

The cluster starts with the first test that uses it; each pytest-xdist worker has its own. pytest imports this
module in every run where clusterboot is installed, so the rest is imported in the fixtures.
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
    """A running cluster: `nodes` are its nodes as `host:port`, `url` is the URL of one primary."""

    def __init__(self, nodes: tuple[str, ...], url: str, options: Mapping[str, Any]) -> None:
        """Take the nodes, the URL, and the options of every client (credentials, TLS)."""
        self.nodes = nodes
        self.url = url
        self._options = options
        self._clients = ExitStack()

    def __repr__(self) -> str:
        return f"<RedisCluster {self.url} of {len(self.nodes)}>"

    def client(self, **options: Any) -> Client:
        """Return a new redis-py client with these options; it is closed when the session ends."""
        client = self._connect(options)
        self._clients.callback(client.close)
        return client

    def flush(self) -> None:
        """Delete all keys, on replicas too."""
        # A new client, because a test may have caused a failover.
        client: Any = self._connect({})
        try:
            for node in client.get_primaries():
                # One connection: WAIT covers only the writes of its own connection.
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
            # redis-py uses the connection pool class only with a URL.
            given |= {"url": self.url, "connection_pool_class": _pool(*tls)}
        return cluster.RedisCluster(startup_nodes=nodes, **given)


def _pool(context: SSLContext, server_name: str | None) -> type[ConnectionPool]:
    """Return a connection pool class with this TLS context, for certificates with this server name."""
    from redis import connection

    class Connection(connection.SSLConnection):
        def _wrap_socket_with_ssl(self, sock: Any) -> Any:
            return context.wrap_socket(sock, server_hostname=server_name or self.host)

    class Pool(connection.ConnectionPool):
        def __init__(self, **options: Any) -> None:
            super().__init__(**{**options, "connection_class": Connection})

    return Pool


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options and ini settings of the cluster."""
    group = parser.getgroup("clusterboot", "a Redis or Valkey Cluster for tests")
    for name, (metavar, text) in _OPTIONS.items():
        group.addoption(f"--redis-cluster-{name}", metavar=metavar, default=None, help=text)
        parser.addini(f"redis_cluster_{name}", text, default=None)


@pytest.fixture(scope="session")
def redis_cluster(request: pytest.FixtureRequest) -> Iterator[RedisCluster]:
    """A real, Ready cluster for the whole session: .nodes, .url, .client()."""
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
            # Not in the except block, where pytest would also show the exception.
            pytest.fail(f"there is no cluster for this test: {reason}", pytrace=False)
        cluster = RedisCluster(*found)
        stack.callback(cluster.close)
        yield cluster


@pytest.fixture
def clean_redis_cluster(redis_cluster: RedisCluster) -> RedisCluster:
    """The same cluster, emptied: FLUSHALL before each test that uses it."""
    redis_cluster.flush()
    return redis_cluster


def _option(config: pytest.Config, name: str) -> str | None:
    given: str | None = config.getoption(f"redis_cluster_{name}")
    if given is None:
        given = config.getini(f"redis_cluster_{name}")
    return given or None
