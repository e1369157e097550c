"""A network that breaks and heals, and what cannot be reached from here."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.harness.cli import ROOT, launch
from tests.harness.netns import Hosts
from tests.harness.ready import why_not_ready
from tests.network.conftest import need


def wait(condition: Callable[[], bool], what: str, deadline: float = 20.0) -> None:
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, f"not within {deadline:g} s: {what}"
        time.sleep(0.02)


def meets(hosts: Hosts, index: int) -> int:
    """How many MEETs host `index` was sent."""
    entries = hosts.call(index, "SLOWLOG", "GET", "100000")
    return sum(entry[3][:2] == ["CLUSTER", "MEET"] and entry[3][3] != "0" for entry in entries)


def flags(hosts: Hosts, index: int, peer: int) -> set[str]:
    """The flags with which host `index` lists host `peer`."""
    found: set[str] = set()
    for line in hosts.call(index, "CLUSTER", "NODES").splitlines():
        if f" {hosts.ips[peer]}:" in line:
            found.update(line.split(" ")[2].split(","))
    return found


def test_a_bus_port_that_opens_in_the_middle_of_the_run_ends_in_ready_with_the_meet_repaired() -> None:
    with Hosts(need("redis70"), 4) as hosts:
        hosts.drop(1, "tcp dport 16379")
        with hosts.inside():
            process = launch("up", hosts.topology(), "-o", "json", "--timeout", "60")
        wait(lambda: meets(hosts, 0) > 3, "the lost MEET is sent again")
        hosts.mend(1)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, (out, err)
        assert '"repaired": 0' not in out
        assert '"ready": true' in out
        with hosts.inside():
            assert why_not_ready(hosts.addresses) is None


def test_a_host_that_is_cut_off_in_the_middle_and_given_back_is_waited_for() -> None:
    with Hosts(need("valkey91"), 4) as hosts:
        # The last host keeps the run from its end until the second one has been cut off and is missed.
        hosts.drop(3, "tcp dport 16379")
        with hosts.inside():
            process = launch("up", hosts.topology(), "--timeout", "90")
        wait(lambda: "master" in flags(hosts, 0, 1), "a knows b")
        hosts.cut(1)
        wait(lambda: bool(flags(hosts, 0, 1) & {"fail", "fail?"}), "a takes b for failing")
        hosts.mend(1)
        hosts.mend(3)
        out, err = process.communicate(timeout=90)
        assert process.returncode == 0, (out, err)
        with hosts.inside():
            assert why_not_ready(hosts.addresses) is None
        for index in range(4):
            assert hosts.call(index, "CONFIG", "GET", "cluster-node-timeout")[1] == "15000"


def test_a_host_that_stays_cut_off_is_named_with_both_directions() -> None:
    with Hosts(need("redis70"), 4, node_timeout=1000) as hosts:
        topology = hosts.topology()
        assert hosts.clusterboot("up", topology).exit == 0
        hosts.cut(1)
        for peer in (0, 2, 3):
            wait(lambda peer=peer: "fail" in flags(hosts, peer, 1), "all take b for failed")  # type: ignore[misc]
            wait(lambda peer=peer: "fail?" in flags(hosts, 1, peer), "b suspects all")  # type: ignore[misc]
        outcome = hosts.clusterboot("status", topology, "-o", "json")
        assert outcome.exit == 4
        reasons = outcome.named("reasons")
        assert ("bus-cut-off", "b", None) in reasons, outcome
        assert "not-seen" not in [code for code, _, _ in reasons]


def test_client_ports_that_are_filtered_are_all_told_together_within_one_connect_timeout() -> None:
    with Hosts(need("redis70"), 4) as hosts:
        hosts.drop(1, "tcp dport 6379")
        hosts.drop(2, "tcp dport 6379")
        hosts.drop(3, "tcp dport 6379", verdict="reject with tcp reset")
        outcome = hosts.clusterboot("up", hosts.topology(), "-o", "json", timeout=3 + 2 + 10)
        assert outcome.exit == 5
        assert outcome.named() == [
            ("connect-timeout", "b", None),
            ("connect-timeout", "c", None),
            ("connection-refused", "d", None),
        ]
        assert " 3 s." in outcome.json()["errors"][0]["message"]
        assert hosts.call(0, "CLUSTER", "INFO").count("cluster_known_nodes:1\r\n") == 1


def test_less_time_than_a_connect_timeout_still_names_who_did_not_answer() -> None:
    with Hosts(need("redis70"), 2) as hosts:
        hosts.drop(1, "tcp dport 6379")
        topology = hosts.topology()
        for command in ("up", "status"):
            outcome = hosts.clusterboot(command, topology, "--timeout", "1", timeout=1 + 2 + 10)
            assert outcome.exit == 5, outcome
            text = " ".join((outcome.out + outcome.err).split())
            assert "10.213.0.2:6379 did not answer within 0.9 s." in text, outcome


def test_a_name_server_that_does_not_answer_holds_up_neither_the_run_nor_its_end(tmp_path: Path) -> None:
    """The resolver of the system tries for ten seconds and more, and cannot be interrupted."""
    file = tmp_path / "t.yaml"
    file.write_text("version: 1\nnodes: [a.example.test:6379, b.example.test:6379, 10.213.0.1:6379]\n")
    resolver = tmp_path / "resolv.conf"
    resolver.write_text("nameserver 10.99.0.53\n")
    with Hosts(need("redis70"), 1) as hosts:
        # A file system view of its own: the name server of this machine is left alone.
        script = f'mount --bind {resolver} /etc/resolv.conf && exec "$@"'
        command = ["unshare", "--mount", "sh", "-c", script, "sh"]
        with hosts.inside():
            ended = subprocess.run(
                [*command, sys.executable, "-m", "clusterboot", "up", file, "--timeout", "4"],
                capture_output=True,
                text=True,
                timeout=4 + 2 + 3,  # less than the resolver takes
                env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
                check=False,
            )
    assert ended.returncode == 5, ended
    for name in ("a", "b"):
        assert f"no name server answered for {name}.example.test in time." in ended.stderr, ended
