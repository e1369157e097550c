"""The parts below `run`: ports that are taken, the shape of a cluster, the guardian's view of a family."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from clusterboot.addresses import BUS_OFFSET
from clusterboot.core.placement import place
from clusterboot.errors import NodeFailed, UsageError
from clusterboot.local.binary import find_server
from clusterboot.throwaway import cluster, shape
from clusterboot.throwaway.cluster import Throwaway
from clusterboot.throwaway.shape import HOST, PORTS, free_ports
from clusterboot.topology import load
from tests.harness.resp import call
from tests.harness.servers import any_kind, binary

TOPOLOGY = """
version: 1
nodes:
  - {name: a, host: 10.0.0.1, port: 6379, zone: x, announce: {host: 192.0.2.1}, auth: {password: secret}}
  - {host: 10.0.0.2, port: 6379, bus_port: 7000, zone: y, weight: 3}
  - {name: c, host: 10.0.0.3, port: 6379, zone: x}
  - {host: 10.0.0.4, port: 6379, zone: y}
replicas: 1
plan: {hub: 10.0.0.2:6379}
tls: true
retire: [10.0.0.5:6379]
"""


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Another process on one of our ports."""
    with socket.socket() as stranger:
        stranger.bind((HOST, free_ports(1)[0]))
        stranger.listen()
        yield stranger


@pytest.mark.server
@pytest.mark.parametrize("bus", [0, BUS_OFFSET])
def test_a_server_whose_port_was_taken_meanwhile_starts_elsewhere(
    bus: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The port is free when we look and taken when the server binds it: client port or bus port."""
    with ExitStack() as stack:

        def taken(count: int, used: object = ()) -> list[int]:
            monkeypatch.setattr(cluster, "free_ports", free_ports)
            ports = free_ports(count)
            stranger = stack.enter_context(socket.socket())
            stranger.bind((HOST, ports[0] + bus))
            stranger.listen()
            return ports

        monkeypatch.setattr(cluster, "free_ports", taken)
        with Throwaway(shape.plain(2, 0), find_server(binary(any_kind()))) as throwaway:
            before = throwaway.addresses
            throwaway.wait(20)
            assert throwaway.addresses[0] != before[0]
            assert throwaway.addresses[1] == before[1]
            for address in throwaway.addresses:
                assert call(address, "PING") == "PONG"
            folder = throwaway.keeper.folder
        assert not folder.exists()


@pytest.mark.server
def test_another_redis_on_the_port_is_not_mistaken_for_our_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = find_server(binary(any_kind()))
    with Throwaway(shape.plain(1, 0), server) as stranger:
        stranger.wait(20)
        ports = [int(stranger.addresses[0].rpartition(":")[2])]

        def same(count: int, used: object = ()) -> list[int]:
            monkeypatch.setattr(cluster, "free_ports", free_ports)
            return ports

        monkeypatch.setattr(cluster, "free_ports", same)
        with Throwaway(shape.plain(1, 0), server) as throwaway:
            throwaway.wait(20)
            assert throwaway.addresses != stranger.addresses


def test_ports_and_bus_ports_never_overlap(listener: socket.socket) -> None:
    ports = free_ports(200, [12000])
    every = [*ports, *(port + BUS_OFFSET for port in ports)]
    assert len(set(every)) == 400
    assert all(port in PORTS for port in ports)
    assert not {12000, 22000, 2000, listener.getsockname()[1]} & set(every)


def test_too_many_nodes_for_the_ports_are_reported() -> None:
    with pytest.raises(NodeFailed, match=r"has only .* of the 13000 free ports needed"):
        free_ports(13000)


def test_on_ports_keeps_the_placement_and_replaces_the_addresses() -> None:
    topology = load(TOPOLOGY, "x.yaml")
    moved = shape.on_ports(topology, [10001, 10002, 10003, 10004])
    assert [node.name for node in moved.nodes] == ["a", "127.0.0.1:10002", "c", "127.0.0.1:10004"]
    names = dict(
        zip((node.name for node in topology.nodes), (node.name for node in moved.nodes), strict=True)
    )
    wanted = {
        names[name]: (spot.role, names.get(spot.primary or ""), spot.slots)
        for name, spot in place(topology).spots.items()
    }
    assert {name: (s.role, s.primary, s.slots) for name, s in place(moved).spots.items()} == wanted
    assert moved.hub == "127.0.0.1:10002"
    assert moved.retire == ()
    assert [node.zone for node in moved.nodes] == ["x", "y", "x", "y"]
    assert (moved.tls, {(node.auth, node.announce, node.bus_port) for node in moved.nodes}) == (
        None,
        {(None, None, None)},
    )


def test_settings_override_those_of_the_file() -> None:
    topology = load("version: 1\nnodes: [h:1]\nservers: {config: {maxmemory: 64mb, save: ''}}\n", "x.yaml")
    found = shape.settings(topology, ["maxmemory=1gb", "Notify-Keyspace-Events = KEA", "save=60 1"])
    assert dict(found) == {"maxmemory": "1gb", "save": "60 1", "notify-keyspace-events": "KEA"}


@pytest.mark.parametrize("given", ["maxmemory", "=1", "dir=/tmp", "REQUIREPASS=x"])
def test_unusable_settings_are_refused(given: str) -> None:
    with pytest.raises(UsageError):
        shape.settings(shape.plain(1, 0), [given])
