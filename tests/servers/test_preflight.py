"""Nodes that cannot be used: all of them are named at once, before anything is changed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.harness.cli import clusterboot, launch
from tests.harness.servers import Servers
from tests.servers.conftest import Take
from tests.servers.pool import Nodes, read_until

Start = Callable[..., Servers]


def _failed(nodes: Nodes, file: Path) -> list[tuple[str, str | None]]:
    """Run `up`, which must end with 5 before any change; return code and node of each error."""
    nodes.forget()
    outcome = nodes.up(file, "-o", "json", exit=5)
    assert nodes.changes() == {}
    return [(code, node) for code, node, _ in outcome.named()]


def test_nodes_that_cannot_be_reached_are_named_together(
    any_nodes: Take, free_ports: Callable[[int], list[int]]
) -> None:
    two = any_nodes(2)
    away = [f"127.0.0.1:{port}" for port in free_ports(2)]
    assert _failed(two, two.file(nodes=[*two.addresses, *away, "no-such-host.invalid:7001"])) == [
        *(("connection-refused", name) for name in away),
        ("name-not-resolved", "no-such-host.invalid:7001"),
    ]


def test_passwords_that_lack_or_are_wrong_are_told_and_never_shown(nodes: Take) -> None:
    three = nodes(3)
    _, b, c = three.addresses
    three.ok(2, "CONFIG", "SET", "requirepass", "s3cret")
    connections: list[dict[str, Any]] = [{"host": "127.0.0.1", "port": port} for port in three.ports]
    connections[1]["auth"] = {"password": "wr0ng"}
    outcomes = [clusterboot("up", three.file(nodes=connections), "-o", "json")]
    connections[2]["auth"] = {"password_env": "PASSWORD_OF_C"}
    outcomes.append(
        clusterboot("up", three.file(nodes=connections), "-o", "json", env={"PASSWORD_OF_C": "wr0ng"})
    )
    found = [outcome.named() for outcome in outcomes]
    assert found[0][-1] == ("auth-required", c, None)
    assert found[1][-1] == ("wrong-password", c, None)
    assert found[0][:-1] in ([("password-not-set", b, None)], [("wrong-password", b, None)])
    assert not any(
        secret in outcome.out + outcome.err for outcome in outcomes for secret in ("wr0ng", "s3cret")
    )
    assert [outcome.exit for outcome in outcomes] == [5, 5]
    # SLOWLOG of the node with a password can only be read with it: its view says that nothing was changed.
    assert three.servers.changing(0) == three.servers.changing(1) == []
    with_password = {"auth": {"password": "s3cret"}}
    listed = [{"host": "127.0.0.1", "port": three.ports[index]} for index in (0, 1)]
    last = {"host": "127.0.0.1", "port": three.ports[2], **with_password}
    assert three.up(three.file(nodes=[*listed, last])).exit == 0
    assert Connected(c, "s3cret").nodes() == 3


class Connected:
    """A node behind a password; the password is taken off when the count of its nodes is known."""

    def __init__(self, address: str, password: str) -> None:
        self._address, self._password = address, password

    def nodes(self) -> int:
        from tests.harness.resp import Connection

        with Connection(self._address, password=self._password) as connection:
            count = len(connection.call("CLUSTER", "NODES").splitlines())
            connection.call("CONFIG", "SET", "requirepass", "")
        return count


def test_a_user_that_lacks_a_command_is_told_which_rule_is_missing(nodes: Take) -> None:
    three = nodes(3)
    missing = {0: "meet", 1: "set-config-epoch"}
    # Before 7.0 a subcommand can be allowed but not taken away: there, everything else is allowed.
    old = three.kind == "redis62"
    subcommands = (
        "info",
        "nodes",
        "myid",
        "meet",
        "addslots",
        "addslotsrange",
        "replicate",
        "set-config-epoch",
    )
    for index, taken in missing.items():
        allowed = [f"+cluster|{name}" for name in subcommands if name != taken]
        given = ["+@all", "-cluster", *allowed] if old else ["+@all", f"-cluster|{taken}"]
        three.ok(index, "ACL", "SETUSER", "ops", "on", ">pw", *given)
    auth = {"username": "ops", "password": "pw"}
    listed: list[dict[str, Any]] = [{"host": "127.0.0.1", "port": port} for port in three.ports]
    for index in missing:
        listed[index]["auth"] = auth
    assert _failed(three, three.file(nodes=listed)) == [
        ("no-permission", three.addresses[index]) for index in missing
    ]


def test_a_server_that_is_no_cluster_node_is_told(server_kind: str, servers: Start, tmp_path: Path) -> None:
    # The last of several settings counts.
    found = servers(server_kind, 2, extra=lambda index: ["--cluster-enabled", "no"] if index else [])
    two = Nodes(found, 2, tmp_path)
    name = two.addresses[1]
    assert _failed(two, two.file()) == [("cluster-disabled", name)]


def test_cluster_taken_away_as_on_managed_services_is_told(
    server_kind: str, servers: Start, tmp_path: Path
) -> None:
    found = servers(server_kind, 2, extra=lambda index: ["--rename-command", "CLUSTER", ""] if index else [])
    two = Nodes(found, 2, tmp_path)
    name = two.addresses[1]
    assert _failed(two, two.file()) == [("command-unavailable", name)]


def test_a_node_that_loads_its_data_is_waited_for(
    require: Callable[[str], str], servers: Start, tmp_path: Path
) -> None:
    """Loading takes long, by a delay for each of a thousand keys, until the run says that it waits.

    Meanwhile Valkey answers INFO and CLUSTER as if it were not loading.
    """
    found = servers(require("valkey91"), 2)
    two = Nodes(found, 2, tmp_path)
    file = two.file()
    two.ready_up(file)
    two.ok(1, "CONFIG", "SET", "cluster-require-full-coverage", "no")
    slot = two.ok(1, "CLUSTER", "KEYSLOT", "{foo}")
    assert slot > 8191
    with_keys = [word for number in range(1000) for word in (f"{{foo}}{number}", "x" * 100)]
    two.ok(1, "MSET", *with_keys)
    two.ok(1, "SAVE")
    two.servers.kill(1)
    _restart_loading(two.servers, 1)
    with launch("up", file) as process:
        told = read_until(process, process.stderr, "loading data")
        two.ok(1, "CONFIG", "SET", "key-load-delay", "0")
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, told + err
    assert f"waiting for {two.addresses[1]}: loading data" in told
    assert "Already Ready" in out or "Ready in" in out
    assert two.why_not_ready() is None


@pytest.mark.parametrize("kind", ["redis70", "valkey91"])
def test_a_node_that_loads_for_longer_than_the_run_is_named(
    kind: str, require: Callable[[str], str], servers: Start, tmp_path: Path
) -> None:
    two = Nodes(servers(require(kind), 2), 2, tmp_path)
    file = two.file()
    two.ready_up(file)
    # Values that cannot be packed: by bytes the server tells when to look at its clients meanwhile.
    keys = [word for number in range(1000) for word in (f"{{foo}}{number}", os.urandom(50).hex())]
    two.ok(1, "MSET", *keys)
    two.ok(1, "SAVE")
    two.servers.kill(1)
    _restart_loading(two.servers, 1)
    outcome = two.up(file, "-o", "json", "--timeout", "2", exit=5)
    assert outcome.named() == [("out-of-time", None, None), ("loading", two.addresses[1], None)]
    looked = clusterboot("status", file, "-o", "json")
    first, *others = looked.named("reasons")
    assert first == ("loading", two.addresses[1], None), looked
    # The other one may say that it lost its link, or that the cluster is down, and nothing about the way.
    assert not [code for code, _, _ in others if code.startswith("bus-")], looked


def _restart_loading(servers: Servers, index: int) -> None:
    """Start a server again, which loads its 1,000 keys in ten seconds; return when it says so."""
    # Microseconds for each key; every few keys the server answers clients.
    settings = ("--key-load-delay", "10000", "--loading-process-events-interval-bytes", "1024")
    before = servers._extra
    servers._extra = lambda other: [*before(other), *(settings if other == index else ())]
    servers.processes[index] = servers._start(index)
    end = time.monotonic() + 10
    while time.monotonic() < end:
        with suppress(OSError):
            if "LOADING" in str(servers.call(index, "PING")):
                return
        time.sleep(0.01)
    raise AssertionError("the server does not say that it is loading")
