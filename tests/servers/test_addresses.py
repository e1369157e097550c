"""Under which addresses nodes are dialled, met and known: names, IPv6, bus ports, announcements, moves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import names
from tests.harness.cli import clusterboot
from tests.harness.ready import wait_ready, why_not_ready
from tests.harness.servers import Servers, free_ports
from tests.servers.conftest import Take
from tests.servers.pool import problems

Start = Callable[..., Servers]


def write(folder: Path, servers: Servers, name: str = "topology.yaml", **keys: object) -> Path:
    path = folder / name
    path.write_text(servers.topology(**keys))
    return path


def met(servers: Servers) -> list[list[str]]:
    """Every CLUSTER MEET that was sent, in the order of the nodes that got it."""
    return [
        command
        for index in range(len(servers))
        for command in servers.changing(index)
        if command[:2] == ["CLUSTER", "MEET"]
    ]


def test_host_names_are_met_at_their_addresses_and_shown_with_the_one_taken(any_nodes: Take) -> None:
    six = any_nodes(6)
    file = six.file(nodes=[f"localhost:{port}" for port in six.ports], replicas=1)
    outcome = six.ready_up(file, "-o", "json")
    assert six.sent("CLUSTER", "MEET") == [
        ["CLUSTER", "MEET", "127.0.0.1", str(port)] for port in six.ports[1:]
    ]
    document = outcome.json()
    assert {node["ip"] for node in document["nodes"]} == {"127.0.0.1"}
    assert [node["address"] for node in document["nodes"]] == [f"localhost:{port}" for port in six.ports]
    shown = clusterboot("status", file)
    assert shown.exit == 0
    assert "127.0.0.1" in shown.out


def test_every_address_of_a_name_is_tried_and_the_one_that_answers_is_met(any_nodes: Take) -> None:
    three = any_nodes(3)
    hosts = {"many.test": ["127.0.0.2", "::1", "127.0.0.1"]}
    file = three.file(nodes=[f"many.test:{port}" for port in three.ports])
    outcome = names.clusterboot(hosts, "up", file, "-o", "json")
    assert outcome.exit == 0, outcome
    assert three.why_not_ready() is None
    assert {node["ip"] for node in outcome.json()["nodes"]} == {"127.0.0.1"}
    assert {meet[2] for meet in three.sent("CLUSTER", "MEET")} == {"127.0.0.1"}


def test_a_name_without_a_living_address_is_told_with_all_it_has(any_nodes: Take) -> None:
    two = any_nodes(2)
    (dead,) = free_ports(1)
    hosts = {"many.test": ["127.0.0.2", "::1"], "none.test": []}
    file = two.file(nodes=[*two.addresses, f"many.test:{dead}", f"none.test:{dead}"])
    outcome = names.clusterboot(hosts, "up", file, "-o", "json")
    assert outcome.exit == 5, outcome
    assert outcome.named() == [
        ("unreachable", f"many.test:{dead}", None),
        ("name-not-resolved", f"none.test:{dead}", None),
    ]
    for ip in hosts["many.test"]:
        assert f"{ip} (" in problems(outcome)[0]["message"]
    assert two.changes() == {}


def test_six_nodes_on_ipv6_are_ready(any_server: str, servers: Start, tmp_path: Path) -> None:
    six = servers(any_server, 6, host="::1")
    outcome = clusterboot("up", write(tmp_path, six, replicas=1))
    assert outcome.exit == 0, outcome
    assert why_not_ready(six.addresses) is None
    assert met(six) == [["CLUSTER", "MEET", "::1", str(port)] for port in six.ports[1:]]


def test_ipv4_and_ipv6_in_one_list_are_ready(servers: Start, any_server: str, tmp_path: Path) -> None:
    six = servers(any_server, 6, extra=["--bind", "127.0.0.1", "::1"])
    mixed = [f"{'127.0.0.1' if index % 2 else '[::1]'}:{port}" for index, port in enumerate(six.ports)]
    outcome = clusterboot("up", write(tmp_path, six, nodes=mixed, replicas=1))
    assert outcome.exit == 0, outcome
    assert why_not_ready(six.addresses) is None
    assert {meet[2] for meet in met(six)} == {"127.0.0.1", "::1"}


@pytest.mark.parametrize("given", [True, False], ids=["in the topology", "as the nodes say"])
@pytest.mark.parametrize("kind", ["redis70", "valkey91"])
def test_shifted_bus_ports_are_met(
    kind: str, given: bool, servers: Start, tmp_path: Path, require: Callable[[str], str]
) -> None:
    ports = free_ports(12)
    ports, bus = ports[:6], ports[6:]
    by_port = dict(zip(ports, bus, strict=True))
    six = servers(
        require(kind), 6, ports=ports, extra=lambda index: ["--cluster-port", str(by_port[ports[index]])]
    )
    listed = [f"{address}@{by_port[port]}" for address, port in zip(six.addresses, ports, strict=True)]
    file = write(tmp_path, six, replicas=1, **({"nodes": listed} if given else {}))
    outcome = clusterboot("up", file)
    assert outcome.exit == 0, outcome
    assert why_not_ready(six.addresses) is None
    expected = [["CLUSTER", "MEET", "127.0.0.1", str(p), str(b)] for p, b in list(by_port.items())[1:]]
    assert met(six) == expected


def test_a_bus_port_that_the_node_does_not_have_is_refused(nodes: Take) -> None:
    two = nodes(2)
    wrong = two.ports[1] + 9000
    outcome = two.up(two.file(nodes=[two.addresses[0], f"{two.addresses[1]}@{wrong}"]), "-o", "json", exit=3)
    (problem,) = problems(outcome)
    assert problem["code"] == "bus-port-contradiction"
    assert problem["node"] == two.addresses[1]
    # Only Redis 7.0 and later can have another bus port than port + 10000.
    assert (f"cluster-port {wrong}" in problem["hint"]) == (two.kind != "redis62")
    assert two.changes() == {}


def test_what_a_node_announces_is_met_when_the_topology_is_silent(
    servers: Start, server_kind: str, tmp_path: Path
) -> None:
    three = servers(
        server_kind, 3, extra=["--bind", "127.0.0.1", "::1", "--cluster-announce-ip", "127.0.0.1"]
    )
    dialled = [f"[::1]:{port}" for port in three.ports]
    outcome = clusterboot("up", write(tmp_path, three, nodes=dialled))
    assert outcome.exit == 0, outcome
    assert met(three) == [["CLUSTER", "MEET", "127.0.0.1", str(port)] for port in three.ports[1:]]
    assert why_not_ready(three.addresses) is None


def test_an_announcement_that_contradicts_the_topology_is_refused_with_both_values(nodes: Take) -> None:
    two = nodes(2)
    two.ok(1, "CONFIG", "SET", "cluster-announce-ip", "127.0.0.3")
    two.ok(1, "CONFIG", "SET", "cluster-announce-bus-port", "17999")
    two.forget()
    host, port = "127.0.0.1", two.ports[1]
    announced = {"host": "127.0.0.4", "port": port, "bus_port": 18000}
    file = two.file(
        nodes=[two.addresses[0], {"name": "b", "host": host, "port": port, "announce": announced}]
    )
    outcome = two.up(file, "-o", "json", exit=3)
    assert outcome.named() == [("announce-contradiction", "b", None)]
    assert two.changes() == {}


def test_announcing_in_the_topology_what_nobody_announces_is_refused(any_nodes: Take) -> None:
    two = any_nodes(2)
    node = {"name": "b", "host": "127.0.0.1", "port": two.ports[1], "announce": {"host": "127.0.0.4"}}
    outcome = two.up(two.file(nodes=[two.addresses[0], node]), "-o", "json", exit=3)
    assert outcome.named() == [("announce-contradiction", "b", None)]
    assert two.changes() == {}


def move(servers: Servers, ports: list[int], host: str = "127.0.0.1") -> None:
    """Start every node again in its own folder, but at `host` and the port at the same place in `ports`."""
    for index in range(len(servers)):
        servers.kill(index)
    folders = [servers.folder / str(port) for port in servers.ports]
    for index, folder in enumerate(folders):
        folder.rename(servers.folder / f"moving-{index}")
    for index, port in enumerate(ports):
        (servers.folder / f"moving-{index}").rename(servers.folder / str(port))
    servers.ports[:] = ports
    if host != servers.host:
        servers._common[servers._common.index("--bind") + 1] = servers.host = host
        # The others take the address that its connections come from; older servers use that of --bind.
        servers._common += [] if servers.kind == "redis62" else ["--bind-source-addr", host]
    for index in range(len(servers)):
        servers.processes[index] = servers._start(index)
    for index in range(len(servers)):
        servers._wait(index)


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        ("redis70", "to another loopback address"),
        pytest.param("valkey91", "to another loopback address", marks=pytest.mark.soak),
        pytest.param("redis62", "to another loopback address", marks=pytest.mark.soak),
        pytest.param("redis70", "to new ports", marks=pytest.mark.soak),
        pytest.param("redis70", "to the port of the next one", marks=pytest.mark.soak),
        pytest.param("valkey91", "to new ports", marks=pytest.mark.soak),
        pytest.param("valkey91", "to the port of the next one", marks=pytest.mark.soak),
        pytest.param("redis62", "to new ports", marks=pytest.mark.soak),
        pytest.param("redis62", "to the port of the next one", marks=pytest.mark.soak),
    ],
)
def test_nodes_that_all_moved_are_recognised_by_their_ids_and_met_again(
    kind: str, how: str, servers: Start, tmp_path: Path, require: Callable[[str], str]
) -> None:
    six = servers(require(kind), 6)
    assert clusterboot("up", write(tmp_path, six, replicas=1)).exit == 0
    ids = [six.call(index, "CLUSTER", "MYID") for index in range(6)]
    slots = [line for line in six.call(0, "CLUSTER", "NODES").splitlines() if "master" in line]
    if how == "to another loopback address":
        move(six, six.ports, "127.0.0.2")
    else:
        move(six, free_ports(6) if how == "to new ports" else [*six.ports[1:], six.ports[0]])
    assert [six.call(index, "CLUSTER", "MYID") for index in range(6)] == ids

    file = write(tmp_path, six, "moved.yaml", replicas=1)
    before = clusterboot("status", file, "-o", "json")
    assert before.exit == 4, before
    assert "stranger" not in before.out
    assert "announce" not in before.out  # it is a matter of `up`
    if how != "to the port of the next one":
        moved = [node for code, node, _ in before.named("reasons") if code == "node-moved"]
        assert len(moved) == 1
    outcome = clusterboot("up", file, "-o", "json")
    assert outcome.exit == 0, outcome
    assert why_not_ready(six.addresses) is None
    # Valkey finds its neighbours itself where all old addresses are still somebody's.
    assert {step["kind"] for step in outcome.json()["steps"]} <= {"meet"}
    # Nobody lost its slots, and nobody got others.
    for line in slots:
        node_id, served = line.split()[0], line.split()[8:]
        assert six.call(0, "CLUSTER", "NODES").count(f"{node_id} ") >= 1
        (now,) = (one for one in six.call(0, "CLUSTER", "NODES").splitlines() if one.startswith(node_id))
        assert now.split()[8:] == served
    six.reset_slowlog()
    again = clusterboot("up", file)
    assert (again.exit, met(six)) == (0, [])


def test_one_node_that_moved_finds_its_way_back_by_itself_and_up_agrees(
    servers: Start, any_server: str, tmp_path: Path
) -> None:
    three = servers(any_server, 3)
    assert clusterboot("up", write(tmp_path, three)).exit == 0
    (new,) = free_ports(1)
    three.kill(2)
    (three.folder / str(three.ports[2])).rename(three.folder / str(new))
    three.ports[2] = new
    three.processes[2] = three._start(2)
    three._wait(2)
    outcome = clusterboot("up", write(tmp_path, three))
    assert outcome.exit == 0, outcome
    wait_ready(three.addresses, deadline=1)
