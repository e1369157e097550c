"""Starting servers: together, private, and nothing left when one fails."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from clusterboot.errors import Exit, NodeFailed, OutOfTime, UsageError
from clusterboot.local import launch, process
from clusterboot.local.binary import Binary, find_server
from clusterboot.local.failures import check_ports, exited
from clusterboot.local.process import Process
from clusterboot.local.server import Server
from tests.harness import servers as harness
from tests.harness.resp import call
from tests.harness.servers import Servers
from tests.local.test_binary import fake

Ports = Callable[[int], list[int]]


@pytest.fixture
def begin() -> Iterator[Callable[..., list[Process]]]:
    """`launch.start`, whose servers end with the test."""
    begun: list[Process] = []

    def start(binary: Binary, wanted: Sequence[Server], timeout: float = 20) -> list[Process]:
        processes: list[Process] = []
        launch.start(binary, wanted, timeout=timeout, record=processes.extend)
        begun.extend(processes)
        return processes

    yield start
    assert process.end(begun) == []


@pytest.fixture
def wanted(tmp_path: Path, free_ports: Ports) -> Callable[[int], list[Server]]:
    return lambda count: [
        Server(f"n{port}", "127.0.0.1", port, tmp_path / str(port)) for port in free_ports(count)
    ]


Begin = Callable[..., list[Process]]
Wanted = Callable[[int], list[Server]]


def left_running(folder: Path) -> list[str]:
    """Return the processes whose working folder is in `folder`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cwd").readlink().is_relative_to(folder):
                found.append(entry.name)
        except OSError:
            continue
    return found


def test_six_servers_answer_as_cluster_nodes_alone_and_empty(
    server_kind: str, begin: Begin, wanted: Wanted
) -> None:
    six = wanted(6)
    processes = begin(find_server(harness.binary(server_kind)), six)
    assert len({each.pid for each in processes}) == 6
    for server in six:
        address = f"127.0.0.1:{server.port}"
        assert "cluster_known_nodes:1" in call(address, "CLUSTER", "INFO")
        assert call(address, "CONFIG", "GET", "save") == ["save", ""]
        assert call(address, "CONFIG", "GET", "bind") == ["bind", "127.0.0.1"]
        assert stat.S_IMODE(server.folder.stat().st_mode) == 0o700
        assert {stat.S_IMODE(path.stat().st_mode) for path in server.folder.iterdir()} == {0o600}


def test_settings_win_over_defaults_and_may_have_several_arguments(
    server_kind: str, begin: Begin, wanted: Wanted
) -> None:
    settings = (("maxmemory", "64mb"), ("appendonly", "yes"), ("save", "900 1"))
    one = [replace(server, settings=settings) for server in wanted(1)]
    begin(find_server(harness.binary(server_kind)), one)
    address = f"127.0.0.1:{one[0].port}"
    assert call(address, "CONFIG", "GET", "maxmemory") == ["maxmemory", str(64 << 20)]
    assert call(address, "CONFIG", "GET", "appendonly") == ["appendonly", "yes"]
    assert call(address, "CONFIG", "GET", "save") == ["save", "900 1"]


def test_any_password_is_taken_and_not_on_the_command_line(
    server_kind: str, begin: Begin, wanted: Wanted
) -> None:
    password = "a b\"c'd\\e#$ü%\t1"
    one = [replace(server, password=password) for server in wanted(1)]
    assert password not in repr(one)
    (begun,) = begin(find_server(harness.binary(server_kind)), one)
    address = f"127.0.0.1:{one[0].port}"
    assert "NOAUTH" in call(address, "CLUSTER", "INFO")
    assert call(address, "CONFIG", "GET", "masterauth", password=password) == ["masterauth", password]
    assert password.encode() not in Path(f"/proc/{begun.pid}/cmdline").read_bytes()


def test_an_explicit_bus_port_is_used_where_the_server_can(
    server_kind: str, begin: Begin, wanted: Wanted, free_ports: Ports, tmp_path: Path
) -> None:
    one = [replace(server, bus_port=free_ports(1)[0]) for server in wanted(1)]
    found = find_server(harness.binary(server_kind))
    if server_kind == "redis62":
        with pytest.raises(UsageError, match=f"cannot use the bus port {one[0].bus_port}: before Redis 7.0"):
            begin(found, one)
        assert list(tmp_path.iterdir()) == []
    else:
        begin(found, one)
        assert f"@{one[0].bus_port}" in call(f"127.0.0.1:{one[0].port}", "CLUSTER", "NODES")


def test_a_server_on_ipv6_loopback(any_server: str, begin: Begin, tmp_path: Path) -> None:
    try:
        (port,) = harness.free_ports(1, "::1")
    except RuntimeError:
        pytest.skip("this machine has no IPv6 loopback")
    begin(find_server(harness.binary(any_server)), [Server("six", "::1", port, tmp_path / "six")])
    assert call(f"[::1]:{port}", "PING") == "PONG"


@pytest.mark.parametrize(("what", "offset"), [("port", 0), ("bus port", 10000)])
def test_a_taken_port_is_named_and_nothing_is_started(
    what: str, offset: int, any_server: str, wanted: Wanted, begin: Begin, tmp_path: Path
) -> None:
    two = wanted(2)
    taken = two[1].port + offset
    with socket.create_server(("127.0.0.1", taken)), pytest.raises(NodeFailed) as caught:
        begin(find_server(harness.binary(any_server)), two)
    assert str(caught.value) == f"{two[1].name}: its {what} {taken} is in use on 127.0.0.1."
    assert caught.value.exit == Exit.NODE
    assert str(taken) in (caught.value.problems[0].hint or "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere TIME-WAIT keeps no port from a server")
def test_a_port_in_time_wait_is_not_reported_as_listening(free_ports: Ports) -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=False) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            server, _ = listener.accept()
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
            server.close()  # The side that closes first is in TIME-WAIT afterwards.
            assert client.recv(1) == b""
    one = Server("one", "127.0.0.1", port, Path("/nowhere"), bus_port=free_ports(1)[0])
    with pytest.raises(NodeFailed) as caught:
        check_ports([one])
    (problem,) = caught.value.problems
    assert (problem.code, "nothing listens on its port" in problem.message) == ("port-in-use", True)
    assert problem.hint == "try again in a minute, or choose another port"


@pytest.mark.parametrize(("what", "offset"), [("port", 0), ("bus port", 10000)])
def test_a_server_that_dies_of_a_port_in_use_is_reported_with_the_port(
    what: str,
    offset: int,
    server_kind: str,
    wanted: Wanted,
    begin: Begin,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("clusterboot.local.launch.check_ports", lambda servers: None)
    one = wanted(1)
    taken = one[0].port + offset
    with (
        socket.create_server(("127.0.0.1", taken)),
        pytest.raises(NodeFailed, match=f"its {what} {taken} is in use"),
    ):
        begin(find_server(harness.binary(server_kind)), one)


def test_a_port_that_is_taken_at_the_last_moment_is_not_mistaken_for_the_server(
    server_kind: str,
    wanted: Wanted,
    servers: Callable[..., Servers],
    begin: Begin,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    two = wanted(2)
    servers(server_kind, 1, ports=[two[0].port])
    monkeypatch.setattr("clusterboot.local.launch.check_ports", lambda servers: None)
    with pytest.raises(NodeFailed, match=f"its port {two[0].port} is in use"):
        begin(find_server(harness.binary(server_kind)), two)
    assert left_running(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_port_wanted_twice_is_reported_with_both_nodes(
    any_server: str, begin: Begin, tmp_path: Path
) -> None:
    clash = [
        Server("a", "127.0.0.1", 11001, tmp_path / "a"),
        Server("b", "127.0.0.1", 21001, tmp_path / "b"),
    ]
    with pytest.raises(NodeFailed, match="b: its port 21001 is also the bus port of a"):
        begin(find_server(harness.binary(any_server)), clash)


def test_an_address_of_another_machine_is_reported(any_server: str, begin: Begin, tmp_path: Path) -> None:
    with pytest.raises(NodeFailed, match=r"a: its port 11001 cannot be used on 192\.0\.2\.1: "):
        begin(find_server(harness.binary(any_server)), [Server("a", "192.0.2.1", 11001, tmp_path / "a")])


def test_a_server_that_exits_immediately_is_reported_with_its_output(
    begin: Begin, wanted: Wanted, tmp_path: Path
) -> None:
    server = fake(tmp_path / "server", "echo first; echo 'libssl.so.3: not found' >&2; exit 3")
    one = wanted(1)
    with pytest.raises(NodeFailed) as caught:
        begin(find_server(str(server)), one)
    assert str(caught.value) == (
        f"{one[0].name}: the server exited immediately (exit status 3): first / libssl.so.3: not found."
    )
    assert [path.name for path in tmp_path.iterdir()] == ["server"]


def test_a_refused_setting_is_reported_and_the_other_servers_are_stopped(
    server_kind: str, begin: Begin, wanted: Wanted, tmp_path: Path
) -> None:
    good, bad = wanted(2)
    bad = replace(bad, settings=(("maxmemory", "64zb"),))
    with pytest.raises(NodeFailed, match=f"^{bad.name}: the server exited immediately .*maxmemory"):
        begin(find_server(harness.binary(server_kind)), [good, bad])
    assert left_running(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_password_in_the_output_is_replaced_by_stars(begin: Begin, wanted: Wanted, tmp_path: Path) -> None:
    # As a server does that refuses the line: it prints it.
    server = fake(tmp_path / "server", "cat server.conf; echo bad password ge/heim; exit 1")
    one = [replace(server, password="ge/heim") for server in wanted(1)]
    with pytest.raises(NodeFailed, match=r"requirepass \*+ / .*bad password \*+\.$") as caught:
        begin(find_server(str(server)), one)
    assert "heim" not in str(caught.value.problems)


def test_a_setting_cannot_contain_another(any_server: str, begin: Begin, wanted: Wanted) -> None:
    one = [replace(server, settings=(("maxmemory", "64mb\nport 1"),)) for server in wanted(1)]
    with pytest.raises(UsageError, match="line break"):
        begin(find_server(harness.binary(any_server)), one)


def test_a_server_that_never_answers_is_ended_with_its_children(
    begin: Begin, wanted: Wanted, tmp_path: Path
) -> None:
    server = fake(tmp_path / "server", '[ "$1" = --version ] || { echo still loading; sleep 100; }')
    with pytest.raises(OutOfTime, match=r"does not answer on port \d+ after 0.1 s; .*: still loading"):
        begin(find_server(str(server)), wanted(2), timeout=0.1)
    end = time.monotonic() + 10
    while left_running(tmp_path):
        assert time.monotonic() < end, "the child of the script was left running"
        time.sleep(0.01)
    assert [path.name for path in tmp_path.iterdir()] == ["server"]


def test_a_script_that_starts_the_server_is_ended_together_with_it(
    any_server: str, begin: Begin, wanted: Wanted, tmp_path: Path
) -> None:
    server = fake(tmp_path / "server", f'{harness.binary(any_server)} "$@"\necho over')
    one = wanted(1)
    (begun,) = begin(find_server(str(server)), one)
    assert process.end([begun]) == []
    end = time.monotonic() + 10
    while left_running(one[0].folder):
        assert time.monotonic() < end, "the server behind the script was left running"
        time.sleep(0.01)


def test_a_process_is_known_by_its_start_and_a_zombie_is_none() -> None:
    here = Path.cwd()
    with subprocess.Popen(["/bin/sleep", "1000"]) as child:
        now = process.identify(child.pid, here)
        assert now is not None
        assert process.identify(child.pid, here) == now
        # What the systems without /proc go by.
        started = process._started_ps(child.pid)
        assert started
        assert process._started_ps(child.pid) == started
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert process.identify(child.pid, here) is None
        assert process._started_ps(child.pid) is None
    assert process.identify(child.pid, here) is None
    assert process._started_ps(child.pid) is None


def test_a_killed_server_does_not_run(begin: Begin, wanted: Wanted, any_server: str) -> None:
    one = wanted(1)
    (begun,) = begin(find_server(harness.binary(any_server)), one)
    assert process.runs(begun)
    os.kill(begun.pid, 9)
    end = time.monotonic() + 10
    while process.runs(begun):
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_password_among_the_settings_is_not_shown_with_the_end_of_the_log(tmp_path: Path) -> None:
    server = Server(
        "a", "127.0.0.1", 7001, tmp_path, settings=(("requirepass", "S3CRET x"), ("save", "60 1"))
    )
    (tmp_path / "log").write_text("at line 4\n>>> 'requirepass S3CRET x'\nwrong number of arguments\n")
    message = exited(server, 1).message
    assert "S3CRET" not in message
    assert "'requirepass *****'" in message
