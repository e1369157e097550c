"""Spawned clusters: recorded, reused, and exactly their servers stopped."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clusterboot.disk import records
from clusterboot.errors import Exit, NodeFailed, OutOfTime, Refused, UsageError
from clusterboot.local import clusters, process
from clusterboot.local.binary import find_server
from clusterboot.local.clusters import Spawned, Stopped
from clusterboot.local.spawned import SpawnedCluster, SpawnedNode, key_named, key_of, spawned_clusters
from clusterboot.topology.model import Announce, Auth, Node, Tls, Topology
from clusterboot.topology.model import Servers as Settings
from tests.harness import servers as harness
from tests.harness.cli import clusterboot, environment
from tests.harness.resp import call
from tests.harness.servers import Servers
from tests.local.test_binary import fake
from tests.local.test_servers import left_running

Ports = Callable[[int], list[int]]
Make = Callable[..., Topology]


@pytest.fixture
def make(free_ports: Ports, any_server: str) -> Make:
    """Make a topology of nodes on free ports."""

    def topology(count: int, **options: Any) -> Topology:
        nodes = tuple(Node(f"127.0.0.1:{port}", "127.0.0.1", port) for port in free_ports(count))
        return Topology(nodes, servers=Settings(harness.binary(any_server)), **options)

    return topology


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "orders.yaml"
    path.write_text("")
    return path


def spawn(topology: Topology, file: Path) -> Spawned:
    return clusters.spawn(topology, file=file, timeout=20, passwords={})


def stop(topology: Topology, file: Path) -> Stopped | None:
    return clusters.stop(key_of(file, topology.nodes), wait=5)


def the_cluster() -> SpawnedCluster:
    (cluster,), problems = spawned_clusters()
    assert problems == ()
    return cluster


def names(topology: Topology) -> tuple[str, ...]:
    return tuple(node.name for node in topology.nodes)


def edit(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    with records.locked(str(file), wait=0) as record:
        data = record.read()
        assert data is not None
        change(data)
        record.write(data)


def node_id(node: Node) -> str:
    found: str = call(node.address, "CLUSTER", "MYID")
    return found


def test_spawned_servers_are_listed_reused_and_stopped_without_leftovers(
    server_kind: str, free_ports: Ports, file: Path, state_folder: Path
) -> None:
    nodes = tuple(Node(f"n{port}", "127.0.0.1", port) for port in free_ports(3))
    topology = Topology(nodes, servers=Settings(harness.binary(server_kind)))
    done = spawn(topology, file)
    assert done == Spawned(names(topology), find_server(harness.binary(server_kind)).title)
    ids = list(map(node_id, nodes))

    cluster = the_cluster()
    assert (cluster.name, cluster.file) == ("orders", file)
    assert [(str(node.endpoint), node.running) for node in cluster.nodes] == [
        (n.address, True) for n in nodes
    ]

    assert spawn(topology, file) == Spawned()
    assert list(map(node_id, nodes)) == ids

    assert stop(topology, file) == Stopped(names(topology), ())
    assert left_running(state_folder) == []
    assert [path.name for path in sorted(state_folder.rglob("*"))] == ["servers", "spawned"]
    assert spawned_clusters() == ((), ())
    assert stop(topology, file) is None


def test_servers_outlive_the_command_that_spawned_them(make: Make, file: Path) -> None:
    topology = make(2, name="shop")
    text = f"""
        from pathlib import Path
        from clusterboot.local import clusters
        from clusterboot.topology.model import *
        nodes = tuple(Node(name, "127.0.0.1", int(name.partition(":")[2])) for name in {names(topology)!r})
        topology = Topology(nodes, name="shop", servers=Servers({topology.servers.command!r}))
        print(clusters.spawn(topology, file=Path({str(file)!r}), timeout=20, passwords={{}}).started)
    """
    run_python(text)
    assert the_cluster().name == "shop"
    assert all(node.running for node in the_cluster().nodes)
    assert spawn(topology, file) == Spawned()
    assert stop(topology, file) == Stopped(names(topology), ())


def run_python(text: str, expect: int = 0) -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(text)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == expect, done.stderr


def test_stopping_where_nothing_was_spawned_creates_nothing(
    make: Make, file: Path, state_folder: Path
) -> None:
    assert stop(make(1), file) is None
    assert not state_folder.exists()


def test_a_grown_topology_gets_the_new_servers_and_keeps_the_old(make: Make, file: Path) -> None:
    topology = make(4)
    before = replace(topology, nodes=topology.nodes[:2])
    spawn(before, file)
    ids = list(map(node_id, before.nodes))
    assert spawn(topology, file).started == names(topology)[2:]
    assert list(map(node_id, before.nodes)) == ids
    assert stop(topology, file) == Stopped(names(topology), ())


def test_a_killed_server_restarts_as_the_same_node_while_others_run(make: Make, file: Path) -> None:
    topology = make(3)
    spawn(topology, file)
    lost = topology.nodes[1]
    before = node_id(lost)
    kill(the_cluster().nodes[1])
    assert [node.running for node in the_cluster().nodes] == [True, False, True]
    assert spawn(topology, file) == Spawned((lost.name,), find_server(topology.servers.command).title)
    assert node_id(lost) == before
    assert stop(topology, file) == Stopped((topology.nodes[0].name, topology.nodes[2].name, lost.name), ())


def kill(node: SpawnedNode) -> None:
    assert node.process is not None
    os.kill(node.process.pid, signal.SIGKILL)
    wait_until(lambda: not node.running)


def wait_until(condition: Callable[[], bool], deadline: float = 10.0) -> None:
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, "the condition did not come true"
        time.sleep(0.01)


def test_when_no_server_runs_all_start_empty(make: Make, file: Path) -> None:
    topology = make(2)
    spawn(topology, file)
    before = list(map(node_id, topology.nodes))
    for node in the_cluster().nodes:
        kill(node)
    assert spawn(topology, file).started == names(topology)
    assert not set(before) & set(map(node_id, topology.nodes))
    stop(topology, file)


def test_stop_separates_stopped_servers_from_those_that_had_ended(make: Make, file: Path) -> None:
    topology = make(2)
    spawn(topology, file)
    kill(the_cluster().nodes[0])
    assert stop(topology, file) == Stopped((names(topology)[1],), (names(topology)[0],))


@pytest.mark.parametrize("forged", ["pid", "pid and start"])
def test_another_process_with_the_pid_of_a_server_is_left_alone(forged: str, make: Make, file: Path) -> None:
    topology = make(2)
    spawn(topology, file)
    kill(the_cluster().nodes[0])
    # In a session of its own like a server, so that only its identity can save it.
    with subprocess.Popen(["/bin/sleep", "1000"], start_new_session=True) as other:
        try:
            now = process.identify(other.pid, file.parent)
            assert now is not None

            def forge(data: dict[str, Any]) -> None:
                data["nodes"][0]["pid"] = now.pid
                if forged != "pid":
                    data["nodes"][0]["started"] = now.started

            edit(file, forge)
            assert [node.running for node in the_cluster().nodes] == [False, True]
            assert stop(topology, file) == Stopped((names(topology)[1],), (names(topology)[0],))
            assert other.poll() is None
        finally:
            other.kill()


def test_a_stopped_process_is_reported_not_restarted_and_down_ends_it(
    make: Make, file: Path, monkeypatch: pytest.MonkeyPatch, state_folder: Path
) -> None:
    topology = make(2)
    spawn(topology, file)
    stuck = the_cluster().nodes[0].process
    assert stuck is not None
    os.kill(stuck.pid, signal.SIGSTOP)
    message = rf"{names(topology)[0]} does not answer, but its spawned server runs \(process {stuck.pid}\)\."
    with pytest.raises(NodeFailed, match=message):
        spawn(topology, file)
    monkeypatch.setattr(process, "_GRACE", 0.1)
    assert stop(topology, file) == Stopped(names(topology), ())
    assert left_running(state_folder) == []


def test_a_server_that_was_not_spawned_is_left_alone(
    make: Make, file: Path, any_server: str, servers: Callable[..., Servers], state_folder: Path
) -> None:
    topology = make(2)
    theirs = servers(any_server, 1, ports=[topology.nodes[0].port], password="theirs")
    assert spawn(replace(topology, nodes=topology.nodes[:1]), file) == Spawned()
    assert not state_folder.exists()
    assert spawn(topology, file).started == names(topology)[1:]
    assert stop(topology, file) == Stopped(names(topology)[1:], ())
    assert theirs.call(0, "PING") == "PONG"


def test_a_failed_growth_leaves_what_was_there(make: Make, file: Path) -> None:
    topology = make(3)
    before = replace(topology, nodes=topology.nodes[:1])
    spawn(before, file)
    found = records.read(str(file))
    with (
        socket.create_server(("127.0.0.1", topology.nodes[2].port)),
        pytest.raises(NodeFailed, match=f"its port {topology.nodes[2].port} is in use"),
    ):
        spawn(topology, file)
    assert records.read(str(file)) == found
    assert stop(topology, file) == Stopped(names(before), ())


def test_a_failed_spawn_leaves_nothing(make: Make, file: Path, tmp_path: Path, state_folder: Path) -> None:
    server = fake(tmp_path / "server", "echo no luck; exit 1")
    topology = replace(make(3), servers=Settings(str(server)))
    with pytest.raises(NodeFailed, match="no luck") as caught:
        spawn(topology, file)
    assert caught.value.exit == Exit.NODE
    assert [path.name for path in sorted(state_folder.rglob("*"))] == ["servers", "spawned"]


def test_servers_of_a_command_killed_before_it_recorded_their_pids_are_found(
    make: Make, file: Path, state_folder: Path
) -> None:
    topology = make(2)
    text = f"""
        import os, signal
        from pathlib import Path
        from clusterboot.local import clusters, launch
        from clusterboot.topology.model import *
        def start(binary, wanted, *, timeout, record):
            launch.start(binary, wanted, timeout=timeout, record=lambda processes: None)
            os.kill(os.getpid(), signal.SIGKILL)
        clusters.start = start
        nodes = tuple(Node(name, "127.0.0.1", int(name.partition(":")[2])) for name in {names(topology)!r})
        topology = Topology(nodes, servers=Servers({topology.servers.command!r}))
        clusters.spawn(topology, file=Path({str(file)!r}), timeout=20, passwords={{}})
    """
    run_python(text, expect=-signal.SIGKILL)
    assert len(left_running(state_folder)) == 2
    assert [node.running for node in the_cluster().nodes] == [True, True]
    assert spawn(topology, file) == Spawned()
    assert stop(topology, file) == Stopped(names(topology), ())
    assert left_running(state_folder) == []


def test_an_interrupted_spawn_leaves_nothing(
    make: Make, file: Path, tmp_path: Path, state_folder: Path
) -> None:
    server = fake(tmp_path / "server", '[ "$1" = --version ] || sleep 100')
    topology = make(2)
    text = f"""
        from pathlib import Path
        from clusterboot.local import clusters
        from clusterboot.topology.model import *
        nodes = tuple(Node(name, "127.0.0.1", int(name.partition(":")[2])) for name in {names(topology)!r})
        topology = Topology(nodes, servers=Servers({str(server)!r}))
        clusters.spawn(topology, file=Path({str(file)!r}), timeout=60, passwords={{}})
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(text)],
        env=environment(),
        stderr=subprocess.DEVNULL,
    ) as run:
        wait_until(lambda: len(left_running(state_folder)) >= 2)
        run.send_signal(signal.SIGINT)
    wait_until(lambda: left_running(state_folder) == [])
    assert [path.name for path in sorted(state_folder.rglob("*"))] == ["servers", "spawned"]


def test_concurrent_spawns_of_one_file_start_each_server_once(make: Make, file: Path) -> None:
    topology = make(4)
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(lambda _: spawn(topology, file), range(3)))
    assert sorted(result.started for result in results) == [(), (), names(topology)]
    assert stop(topology, file) == Stopped(names(topology), ())


def test_two_files_of_the_same_name_in_two_folders_are_two_clusters(make: Make, tmp_path: Path) -> None:
    first, second = make(1), make(1)
    files = [tmp_path / "a" / "topology.yaml", tmp_path / "b" / "topology.yaml"]
    for path in files:
        path.parent.mkdir()
        path.write_text("")
    spawn(first, files[0])
    spawn(second, files[1])
    assert [cluster.name for cluster in spawned_clusters()[0]] == ["topology", "topology"]
    assert stop(first, files[0]) == Stopped(names(first), ())
    assert stop(second, files[1]) == Stopped(names(second), ())


def test_a_moved_topology_file_is_recognized(make: Make, file: Path, tmp_path: Path) -> None:
    topology, other = make(2), make(2)
    spawn(topology, file)
    moved = file.rename(tmp_path / "moved.yaml")
    assert stop(other, moved) is None
    assert stop(topology, moved) == Stopped(names(topology), ())


def test_leftovers_from_before_a_reboot_are_cleaned_by_the_next_spawn(
    make: Make, file: Path, tmp_path: Path, state_folder: Path
) -> None:
    old, new = make(1), make(1)
    spawn(old, file)
    kill(the_cluster().nodes[0])
    edit(file, lambda data: data.update(boot="before"))
    assert not the_cluster().nodes[0].running
    other = tmp_path / "other.yaml"
    other.write_text("")
    spawn(new, other)
    assert the_cluster().file == other
    assert len(list((state_folder / "servers").iterdir())) == 1
    stop(new, other)


def test_after_a_reboot_the_same_pid_and_start_mean_nothing(make: Make, file: Path) -> None:
    topology = make(1)
    spawn(topology, file)
    (node,) = the_cluster().nodes
    edit(file, lambda data: data.update(boot="before"))
    assert not the_cluster().nodes[0].running
    assert node.process is not None
    assert process.end([node.process]) == []


def test_servers_of_another_machine_are_left_alone(make: Make, file: Path, tmp_path: Path) -> None:
    topology = make(2)
    spawn(replace(topology, nodes=topology.nodes[:1]), file)
    edit(file, lambda data: data.update(boot="theirs", machine="far"))
    for act in (lambda: stop(topology, file), lambda: spawn(topology, file)):
        with pytest.raises(Refused, match="spawned on another machine, far"):
            act()
    other = tmp_path / "other.yaml"
    spawn(second := make(1), other)
    assert len(spawned_clusters()[0]) == 2, "not swept: it is not ours"
    stop(second, other)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.pop("nodes"),
        lambda data: data.update(nodes={}),
        lambda data: data.update(nodes=[1]),
        lambda data: data.update(file=None),
        lambda data: data["nodes"][0].pop("pid"),
        lambda data: data["nodes"][0].update(pid="12"),
        lambda data: data["nodes"][0].update(pid=True),
        lambda data: data["nodes"][0].update(host=7),
    ],
)
def test_a_record_of_the_wrong_shape_is_reported_by_every_command(
    change: Callable[[dict[str, Any]], object], make: Make, file: Path
) -> None:
    topology = make(2)
    spawn(replace(topology, nodes=topology.nodes[:1]), file)
    edit(file, change)
    for act in (lambda: stop(topology, file), lambda: spawn(topology, file)):
        with pytest.raises(Refused, match="cannot be understood") as caught:
            act()
        assert "then remove the file" in (caught.value.problems[0].hint or "")
    found, problems = spawned_clusters()
    assert found == ()
    assert [problem.code for problem in problems] == ["state-record"]


def test_a_truncated_record_is_reported_by_every_command(make: Make, file: Path) -> None:
    topology = make(2)
    spawn(replace(topology, nodes=topology.nodes[:1]), file)
    records.path(str(file)).write_text('{"schema": 1, "ke')
    for act in (lambda: stop(topology, file), lambda: spawn(topology, file)):
        with pytest.raises(Refused, match="it is not JSON"):
            act()
    assert len(spawned_clusters()[1]) == 1


def test_no_record_names_a_folder_outside_of_its_cluster(make: Make, file: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim-7001"
    victim.mkdir()
    topology = make(1)
    spawn(topology, file)
    escape = os.path.relpath(tmp_path, records.servers_folder(str(file)))
    edit(
        file,
        lambda data: data["nodes"].append({**data["nodes"][0], "host": f"{escape}/victim", "port": 7001}),
    )
    mine, forged = the_cluster().nodes
    assert forged.folder.parent == mine.folder.parent
    stop(topology, file)
    assert victim.is_dir()


def test_a_password_of_the_topology_is_set_and_not_recorded(
    make: Make, file: Path, state_folder: Path
) -> None:
    topology = make(2)
    topology = replace(
        topology, nodes=tuple(replace(n, auth=Auth(password_env="PW")) for n in topology.nodes)
    )
    passwords = dict.fromkeys(names(topology), "s3cret")
    clusters.spawn(topology, file=file, timeout=20, passwords=passwords)
    assert "NOAUTH" in call(topology.nodes[0].address, "CLUSTER", "INFO")
    assert call(topology.nodes[0].address, "PING", password="s3cret") == "PONG"
    assert "s3cret" not in json.dumps(records.read(str(file)))
    again = clusters.spawn(topology, file=file, timeout=20, passwords=passwords)
    assert again == Spawned()
    stop(topology, file)


def test_an_announced_address_is_announced(make: Make, file: Path) -> None:
    topology = make(1)
    topology = replace(
        topology, nodes=(replace(topology.nodes[0], announce=Announce("203.0.113.7", 30001, 40001)),)
    )
    spawn(topology, file)
    assert "203.0.113.7:30001@40001" in call(topology.nodes[0].address, "CLUSTER", "NODES")
    stop(topology, file)


def test_localhost_is_spawned_on_the_ipv4_loopback(make: Make, file: Path, free_ports: Ports) -> None:
    port = free_ports(1)[0]
    topology = replace(make(1), nodes=(Node("a", "localhost", port),))
    spawn(topology, file)
    assert call(f"127.0.0.1:{port}", "PING") == "PONG"
    assert spawn(topology, file) == Spawned()
    stop(topology, file)


def test_everything_that_cannot_be_spawned_is_reported_at_once(
    any_server: str, file: Path, state_folder: Path
) -> None:
    nodes = (
        Node("a", "127.0.0.1", 7001),
        Node("ops", "127.0.0.1", 7002, auth=Auth("ops", password_env="PW")),
    )
    topology = Topology(nodes, tls=Tls(), servers=Settings(harness.binary(any_server)))
    with pytest.raises(UsageError) as caught:
        clusters.spawn(topology, file=file, timeout=1, passwords={"ops": "s3cret"})
    assert [problem.message for problem in caught.value.problems] == [
        "servers with TLS cannot be spawned yet.",
        "servers with different passwords cannot be spawned yet.",
        "ops: a server with the user ops cannot be spawned yet.",
    ]
    assert all(problem.hint for problem in caught.value.problems)
    assert not state_folder.exists()


def test_time_spent_waiting_is_bounded_by_the_timeout(make: Make, file: Path, tmp_path: Path) -> None:
    server = fake(tmp_path / "server", '[ "$1" = --version ] || sleep 100')
    topology = replace(make(1), servers=Settings(str(server)))
    with pytest.raises(OutOfTime) as caught:
        clusters.spawn(topology, file=file, timeout=0.1, passwords={})
    assert caught.value.exit == Exit.NOT_READY
    assert spawned_clusters() == ((), ())


def test_a_cluster_is_stopped_by_its_name_or_by_the_path_of_a_file_that_is_gone(
    make: Make, file: Path
) -> None:
    topology = make(2)
    file.unlink()
    spawn(topology, file)
    assert clusters.stop(key_named("other"), wait=5) is None
    assert clusters.stop(key_named("orders"), wait=5) == Stopped(names(topology), ())
    spawn(topology, file)
    for args, message in (
        ((file.with_name("none.yaml"),), "is neither a topology file nor the name of a spawned cluster."),
        ((file, "--reset", "--yes"), "there is no such file"),
    ):
        outcome = clusterboot("down", *args, env={"COLUMNS": "300"})
        assert (outcome.exit, message in outcome.err) == (2, True), outcome
    assert clusterboot("down", file, "-o", "json").json()["stopped"] == list(names(topology))
    assert spawned_clusters() == ((), ())


def test_an_ambiguous_name_stops_no_cluster(make: Make, tmp_path: Path) -> None:
    files = [tmp_path / folder / "orders.yaml" for folder in ("a", "b")]
    for each in files:
        spawn(make(1), each)
    with pytest.raises(UsageError, match="2 spawned clusters are named orders"):
        clusters.stop(key_named("orders"), wait=5)
    assert [cluster.nodes[0].running for cluster in spawned_clusters()[0]] == [True, True]
    for each in files:
        assert clusters.stop(key_named(str(each)), wait=5) is not None
