"""Clients as applications use them, with every kind of second try switched off."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.retry import Retry

from tests.servers.pool import Nodes


def connect(nodes: Nodes) -> RedisCluster:
    """Return a redis-py cluster client that tries nothing twice."""
    return RedisCluster(
        host="127.0.0.1",
        port=nodes.ports[0],
        retry=Retry(NoBackoff(), 0),
        require_full_coverage=True,
        decode_responses=True,
        socket_timeout=5,
    )


def write_and_read(nodes: Nodes, keys: int = 300) -> Counter[int]:
    """Write and read keys over all shards; return how many went to each port.

    Any error of the client is one of the test. A redirection that the client hides is seen on the
    nodes: they count the error replies that they give.
    """
    for index in range(nodes.count):
        nodes.ok(index, "CONFIG", "RESETSTAT")
    ports: Counter[int] = Counter()
    client = connect(nodes)
    try:
        for number in range(keys):
            assert client.set(f"key:{number}", str(number))
            node: Any = client.get_node_from_key(f"key:{number}")  # type: ignore[no-untyped-call]
            ports[node.port] += 1
        for number in range(keys):
            assert client.get(f"key:{number}") == str(number)
    finally:
        client.close()
    assert refused(nodes) == {}
    return ports


def refused(nodes: Nodes) -> dict[str, str]:
    """The error replies that nodes gave since CONFIG RESETSTAT: MOVED, CLUSTERDOWN and the like."""
    found = {}
    for index in range(nodes.count):
        for line in str(nodes.ok(index, "INFO", "errorstats")).splitlines():
            name, _, count = line.partition(":")
            if name in {
                f"errorstat_{code}" for code in ("MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "READONLY")
            }:
                found[f"{nodes.addresses[index]} {name}"] = count
    return found


class Writer:
    """What a client did in the background: how many writes, and the first error."""

    def __init__(self) -> None:
        self.writes = 0
        self.error: Exception | None = None


@contextmanager
def writing(nodes: Nodes) -> Iterator[Writer]:
    """Keep writing to a cluster for the length of the block, and fail the test if one write fails."""
    writer = Writer()
    over = threading.Event()
    client = connect(nodes)

    def work() -> None:
        try:
            while not over.is_set():
                number = writer.writes
                assert client.set(f"written:{number}", str(number))
                assert client.get(f"written:{number}") == str(number)
                writer.writes += 1
                time.sleep(0.001)  # a client, not a load test
        except Exception as error:
            writer.error = error

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        nodes.until(lambda: writer.writes > 10 or writer.error, "the client writes")
        yield writer
        so_far = writer.writes
        nodes.until(lambda: writer.writes > so_far + 10 or writer.error, "the client still writes")
    finally:
        over.set()
        thread.join(10)
        client.close()
    assert writer.error is None, f"after {writer.writes} writes: {writer.error!r}"
