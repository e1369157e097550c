"""`up --spawn`, `ls` and `down`, end to end, with a state folder of their own."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

from tests.harness import resp
from tests.harness.cli import clusterboot, launch
from tests.harness.ready import why_not_ready
from tests.harness.servers import Servers, binary
from tests.servers.pool import read_until

Ports = Callable[[int], list[int]]


def _file(folder: Path, kind: str, ports: list[int]) -> Path:
    file = folder / "topology.yaml"
    nodes = ", ".join(f"127.0.0.1:{port}" for port in ports)
    file.write_text(
        f"version: 1\nname: throwaway\nnodes: [{nodes}]\nreplicas: 1\nservers: {{command: {binary(kind)}}}\n"
    )
    return file


def test_spawned_servers_become_a_cluster_are_listed_and_stopped(
    server_kind: str, free_ports: Ports, tmp_path: Path
) -> None:
    ports = free_ports(4)
    addresses = [f"127.0.0.1:{port}" for port in ports]
    file = _file(tmp_path, server_kind, ports)
    before = set(tmp_path.iterdir())
    document = clusterboot("up", file, "--spawn", "-o", "json").json()
    assert document["ready"] is True, document
    assert why_not_ready(addresses) is None
    assert set(tmp_path.iterdir()) == before  # nothing is left beside the topology

    (cluster,) = clusterboot("ls", "-o", "json").json()["clusters"]
    assert (cluster["name"], cluster["file"], cluster["running"]) == ("throwaway", str(file), 4)
    assert [node["address"] for node in cluster["nodes"]] == addresses
    pids = [node["pid"] for node in cluster["nodes"]]

    # One dies, and comes back as the node it was.
    os.kill(pids[3], signal.SIGKILL)
    text = clusterboot("up", file, "--spawn")
    assert "started 1 local server" in text.err
    assert "Already" not in text.out, text

    # What the file says by now is not what they run with.
    file.write_text(file.read_text().replace("}", ", config: {maxmemory: 99mb}}"))
    again = clusterboot("up", file, "--spawn", "-o", "json").json()
    assert again["ready"] is True, again
    (warning,) = [each for each in again["warnings"] if each["code"] == "spawned-otherwise"]
    assert "4 spawned servers run with other settings" in warning["message"]
    assert "(maxmemory)" in warning["message"]
    assert f"clusterboot down {file}" in warning["hint"]
    assert [node["id"] for node in again["nodes"]] == [node["id"] for node in document["nodes"]]
    assert why_not_ready(addresses) is None

    down = clusterboot("down", file, "-o", "json").json()
    assert (down["ok"], down["stopped"], down["reset"]) == (True, addresses, [])
    for address in addresses:
        assert _closed(address)
    assert clusterboot("ls", "-o", "json").json()["clusters"] == []
    assert clusterboot("down", file).exit == 0


def test_any_addresses_of_loopback_make_one_cluster(
    server_kind: str, free_ports: Ports, tmp_path: Path
) -> None:
    """A server on 127.0.0.2 sends from 127.0.0.1, and one on ::1 from either kind."""
    hosts = ("127.0.0.1", "127.0.0.2", "[::1]" if _six() else "127.0.0.3", "127.255.255.254")
    addresses = [f"{host}:{port}" for host, port in zip(hosts, free_ports(4), strict=True)]
    file = tmp_path / "topology.yaml"
    nodes = ", ".join(f'"{address}"' for address in addresses)
    file.write_text(
        f"version: 1\nnodes: [{nodes}]\nreplicas: 1\nservers: {{command: {binary(server_kind)}}}\n"
    )
    outcome = clusterboot("up", file, "--spawn", "-o", "json")
    try:
        assert outcome.exit == 0, outcome
        assert why_not_ready(addresses) is None
    finally:
        clusterboot("down", file)


def test_only_the_nodes_that_do_not_answer_are_spawned_and_only_those_are_stopped(
    any_server: str, servers: Callable[..., Servers], free_ports: Ports, tmp_path: Path
) -> None:
    running = servers(any_server, 2)
    ports = [*running.ports, *free_ports(2)]
    file = _file(tmp_path, any_server, ports)
    outcome = clusterboot("up", file, "--spawn")
    assert outcome.exit == 0, outcome
    assert why_not_ready([f"127.0.0.1:{port}" for port in ports]) is None
    stopped = clusterboot("down", file, "-o", "json").json()["stopped"]
    assert stopped == [f"127.0.0.1:{port}" for port in ports[2:]]
    assert [running.call(index, "PING") for index in (0, 1)] == ["PONG", "PONG"]


def test_a_run_that_is_interrupted_leaves_spawned_servers_to_down(
    any_server: str, free_ports: Ports, tmp_path: Path
) -> None:
    ports = free_ports(4)
    file = _file(tmp_path, any_server, ports)
    with launch("up", file, "--spawn") as process:
        told = read_until(process, process.stderr, "meet")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130, told + err
    down = clusterboot("down", file, "-o", "json").json()
    assert len(down["stopped"]) == 4
    assert all(_closed(f"127.0.0.1:{port}") for port in ports)


def _six() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def _closed(address: str) -> bool:
    try:
        resp.call(address, "PING", timeout=1.0)
    except OSError:
        return True
    return False
