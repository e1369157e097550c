"""The shell script of `plan --format commands` does on real servers what it says."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from clusterboot.core.placement import place
from clusterboot.core.plan import plan
from clusterboot.render.script import script
from clusterboot.topology import Announce, Auth, Node, Secret, Tls, Topology
from tests.harness.ready import why_not_ready
from tests.harness.servers import Servers
from tests.render.paper import local, named

QUICK = {"node_timeout": 1000, "extra": ("--repl-diskless-sync-delay", "0")}
SHELLS = [shell for shell in ("sh", "dash", "bash") if shutil.which(shell)]


def made(topology: Topology) -> str:
    placement = place(topology)
    return script(topology, plan(topology, placement), "topologies/local.yaml")


def run(
    text: str, *, shell: str = "sh", env: Mapping[str, str] | None = None, timeout: float = 90.0
) -> subprocess.CompletedProcess[str]:
    """Run a script the way users do: piped into a shell."""
    return subprocess.run(
        [shell],
        input=text,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def topology_of(servers: Servers, host: str | None = None, **options: object) -> Topology:
    host = host or servers.host
    nodes = tuple(Node(f"n{index}", host, port) for index, port in enumerate(servers.ports))
    return Topology(nodes, **options)  # type: ignore[arg-type]


def meets(servers: Servers) -> int:
    return sum(words[1] == "MEET" for index in range(len(servers)) for words in servers.changing(index))


@pytest.mark.skipif(not shutil.which("redis-cli"), reason="needs redis-cli")
class TestOnServers:
    def test_forms_the_cluster_with_the_fewest_meets(
        self, servers: Callable[..., Servers], server_kind: str
    ) -> None:
        nodes = servers(server_kind, 6, **QUICK)
        outcome = run(made(topology_of(nodes, replicas=1)))
        assert (outcome.returncode, outcome.stderr, outcome.stdout) == (0, "", "6 nodes: Ready\n")
        assert why_not_ready(nodes.addresses) is None
        assert meets(nodes) == 5

    @pytest.mark.parametrize("shell", SHELLS)
    def test_runs_in_every_shell_and_resolves_host_names(
        self, servers: Callable[..., Servers], any_server: str, shell: str
    ) -> None:
        nodes = servers(any_server, 3, **QUICK)
        outcome = run(made(topology_of(nodes, "localhost", strategy="chain")), shell=shell)
        assert (outcome.returncode, outcome.stderr) == (0, "")
        assert why_not_ready(nodes.addresses) is None
        assert [nodes.changing(index)[-1][:3] for index in (0, 1)] == [
            ["CLUSTER", "MEET", "127.0.0.1"],
            ["CLUSTER", "MEET", "127.0.0.1"],
        ]

    def test_a_mesh_only_gets_no_slots(self, servers: Callable[..., Servers], any_server: str) -> None:
        nodes = servers(any_server, 3, **QUICK)
        outcome = run(made(topology_of(nodes, slots="none")))
        assert (outcome.returncode, outcome.stdout) == (0, "3 nodes: a full mesh\n")
        assert why_not_ready(nodes.addresses, mesh_only=True) is None
        assert [nodes.changing(index) for index in (1, 2)] == [[], []]

    @pytest.mark.parametrize("source", ["env", "odd-env", "file", "literal"])
    def test_passwords_come_from_outside_of_the_script(
        self, servers: Callable[..., Servers], any_server: str, source: str, tmp_path: Path
    ) -> None:
        password = "s3cret $(touch oops) `x` \"'"
        nodes = servers(any_server, 2, **QUICK, password=password)
        path = tmp_path / "pass word"
        path.write_text(password + "\n")
        auth, env = {
            "env": (Auth("default", password_env="answer"), {"answer": password}),
            "odd-env": (Auth("default", password_env="MY-PASS'WORD"), {"REDISCLI_AUTH": password}),
            "file": (Auth(None, password_file=path), {}),
            "literal": (Auth(None, password=Secret(password)), {"REDISCLI_AUTH": password}),
        }[source]
        topology = topology_of(nodes)
        topology = replace(topology, nodes=tuple(replace(node, auth=auth) for node in topology.nodes))
        text = made(topology)
        assert "s3cret" not in text
        outcome = run(text, env=env)
        assert (outcome.returncode, outcome.stderr) == (0, "")
        assert why_not_ready(nodes.addresses, password=password) is None

    def test_ipv6_and_bus_ports(self, servers: Callable[..., Servers]) -> None:
        try:
            nodes = servers("redis70", 2, **QUICK, host="::1")
        except RuntimeError as error:
            pytest.skip(f"no IPv6 on loopback: {error}")
        topology = topology_of(nodes)
        first, second = topology.nodes
        topology = replace(topology, nodes=(first, replace(second, bus_port=second.port + 10000)))
        assert run(made(topology)).returncode == 0
        assert why_not_ready(nodes.addresses) is None

    def test_changes_nothing_when_a_node_is_not_fresh(
        self, servers: Callable[..., Servers], any_server: str
    ) -> None:
        nodes = servers(any_server, 3)
        nodes.call(1, "CLUSTER", "MEET", "127.0.0.1", nodes.ports[2])
        nodes.reset_slowlog()
        outcome = run(made(topology_of(nodes)))
        assert outcome.returncode == 1
        assert outcome.stderr == "error: n1 already knows other nodes\n"
        assert [nodes.changing(index) for index in range(3)] == [[], [], []]

    def test_stops_at_a_refused_step_and_says_which(
        self, servers: Callable[..., Servers], any_server: str
    ) -> None:
        nodes = servers(any_server, 2)
        nodes.call(1, "CLUSTER", "SET-CONFIG-EPOCH", "7")
        outcome = run(made(topology_of(nodes)))
        assert outcome.returncode == 1
        assert outcome.stderr == (
            "error: n1 answers CLUSTER SET-CONFIG-EPOCH with: ERR Node config epoch is already non-zero\n"
        )

    def test_says_what_is_wrong_with_a_node_that_is_not_fresh(
        self, servers: Callable[..., Servers], any_server: str
    ) -> None:
        nodes = servers(any_server, 1)
        nodes.call(0, "CLUSTER", "ADDSLOTS", "16383")
        assert run(made(topology_of(nodes))).stderr == "error: n0 already serves slots\n"
        locked = servers(any_server, 1, password="secret")
        outcome = run(made(topology_of(locked)))
        assert outcome.stderr == ("error: n0 answers CLUSTER INFO with: NOAUTH Authentication required.\n")
        locked.kill(0)
        assert run(made(topology_of(locked))).stderr.endswith(
            "error: n0 answers CLUSTER INFO with: no answer\n"
        )

    def test_gives_up_after_its_deadline_and_says_why(
        self, servers: Callable[..., Servers], any_server: str
    ) -> None:
        nodes = servers(any_server, 2)
        first, second = topology_of(nodes).nodes
        # The MEET goes to a port where nobody is.
        topology = Topology((first, replace(second, announce=Announce("127.0.0.1", 1, 2))))
        outcome = run(made(topology), env={"CLUSTER_TIMEOUT": "1"})
        assert outcome.returncode == 1
        assert outcome.stderr == (
            "error: out of time: n0 sees 1 of 2 nodes; can the nodes reach each other's bus ports?\n"
        )


def syntax(text: str) -> None:
    for shell in SHELLS:
        outcome = subprocess.run([shell, "-n"], input=text, capture_output=True, text=True, timeout=30)
        assert (outcome.returncode, outcome.stderr) == (0, "")


def test_is_valid_shell_at_every_size() -> None:
    for topology in (local(1), local(6, replicas=1), local(200, replicas=1), named(), local(3, slots="none")):
        syntax(made(topology))


def test_the_default_deadline_grows_with_the_cluster() -> None:
    assert "CLUSTER_TIMEOUT:-60}" in made(local(6))
    assert "CLUSTER_TIMEOUT:-200}" in made(local(200))


def test_bus_ports_and_announced_addresses_are_in_the_meets() -> None:
    lines = made(named()).splitlines()
    assert "must node_1 CLUSTER MEET 10.0.0.2 6379 17000" in lines
    assert "must node_1 CLUSTER MEET 203.0.113.7 30001" in lines


def test_tls_flags() -> None:
    tls = Tls(Path("ca.pem"), Path("my cert.pem"), Path("key.pem"), verify=False, server_name="redis.example")
    text = made(replace(local(1), tls=tls))
    assert "--tls --cacert ca.pem --cert 'my cert.pem' --key key.pem --insecure --sni redis.example" in text


def test_nodes_have_their_own_credentials() -> None:
    one, two, three = (replace(node) for node in local(3).nodes)
    topology = Topology(
        (
            replace(one, auth=Auth("ops", password_env="REDIS_A")),
            replace(two, auth=Auth(None, password_env="REDIS_B")),
            replace(three, auth=Auth("ops", password_env="REDIS_A")),
        )
    )
    text = made(topology)
    assert 'password_1="${REDIS_A:?holds the password of 127.0.0.1:7001}"' in text
    assert 'node_3() { REDISCLI_AUTH="$password_1" "${REDIS_CLI:-redis-cli}"' in text
    assert "-p 7003 --user ops" in text
    assert 'node_2() { REDISCLI_AUTH="$password_2"' in text


def test_an_unset_password_is_said_before_anything_is_sent() -> None:
    auth = Auth(None, password_env="CLUSTERBOOT_TEST_UNSET")
    topology = Topology(tuple(replace(node, auth=auth) for node in local(2).nodes))
    outcome = run(made(topology), env={"REDIS_CLI": "false"})
    assert outcome.returncode != 0
    assert "CLUSTERBOOT_TEST_UNSET: holds the password of 127.0.0.1:7001" in outcome.stderr


def test_nothing_from_the_topology_becomes_code(tmp_path: Path) -> None:
    evil = f"x'\"`touch {tmp_path}/a`$(touch {tmp_path}/b)\n;touch {tmp_path}/c #\\0033[31m\x1b[31m\u202e}}\\"
    node = Node(
        evil,
        evil,
        7001,
        auth=Auth(evil, password_env=evil),
        announce=Announce(evil, 7001),
    )
    files = Node(evil + "2", evil, 7002, auth=Auth(evil, password_file=Path(evil)))
    literal = Node(evil + "3", evil, 7003, auth=Auth(evil, password=Secret(evil)))
    topology = Topology((node, files, literal), tls=Tls(Path(evil), None, None, True, evil))
    text = script(topology, plan(topology, place(topology)), evil)
    syntax(text)
    assert "\x1b" not in "\n".join(line for line in text.splitlines() if line.startswith("#"))
    run(text, env={"REDIS_CLI": "true", "REDISCLI_AUTH": "x", evil: "x"})
    # Once more with all that stops it early out of the way.
    fewer = Topology(tuple(replace(one, auth=None) for one in topology.nodes))
    outcome = run(script(fewer, plan(fewer, place(fewer)), evil), env={"REDIS_CLI": "true"})
    assert "\x1b" not in outcome.stderr
    assert list(tmp_path.iterdir()) == []
