"""Nodes behind addresses that are not their own, under names of a hosts file, and beside loopback ones."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.harness.cli import ROOT, clusterboot
from tests.harness.netns import Hosts
from tests.harness.ready import why_not_ready
from tests.network.conftest import need

PUBLIC = "198.51.100"  # TEST-NET-2: nobody's
PORT, BUS = 30001, 31999


def announcing(count: int) -> dict[int, list[str]]:
    return {
        index: [
            *("--cluster-announce-ip", f"{PUBLIC}.{index + 1}"),
            *("--cluster-announce-port", str(PORT), "--cluster-announce-bus-port", str(BUS)),
        ]
        for index in range(count)
    }


def translate(hosts: Hosts, count: int) -> None:
    """Give host i a public address that it does not have itself: its packets are translated on arrival."""
    for where in (*range(count), "console"):
        for index in range(count):
            if where != index:
                _in(
                    hosts,
                    where,
                    "ip",
                    "route",
                    "add",
                    f"{PUBLIC}.{index + 1}/32",
                    "via",
                    f"10.213.0.{index + 1}",
                )
    for index in range(count):
        here, own = f"{PUBLIC}.{index + 1}", f"10.213.0.{index + 1}"
        rules = ["add table ip nat", "add chain ip nat in { type nat hook prerouting priority -100; }"]
        for outer, inner in ((PORT, 6379), (BUS, 16379)):
            rules.append(f"add rule ip nat in ip daddr {here} tcp dport {outer} dnat to {own}:{inner}")
        _in(hosts, index, "nft", "; ".join(rules))


def _in(hosts: Hosts, where: int | str, *command: str) -> None:
    with hosts.inside(where):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"


@pytest.fixture
def behind_nat() -> Iterator[Hosts]:
    with Hosts(need("redis70"), 6, extra=announcing(6)) as hosts:
        translate(hosts, 6)
        yield hosts


def test_six_nodes_behind_translated_addresses_are_ready(behind_nat: Hosts) -> None:
    hosts = behind_nat
    public = [f"{PUBLIC}.{index + 1}:{PORT}" for index in range(6)]
    outcome = hosts.clusterboot("up", hosts.topology(nodes=public, replicas=1), "-o", "json")
    assert outcome.exit == 0, outcome
    with hosts.inside():
        assert why_not_ready(public) is None
    # The topology is silent about it: the nodes' own word on their bus ports is taken.
    meets = [step for step in outcome.json()["steps"] if step["kind"] == "meet"]
    assert [(meet["host"], meet["port"], meet["bus_port"]) for meet in meets] == [
        (f"{PUBLIC}.{index + 1}", PORT, BUS) for index in range(1, 6)
    ]


def test_nodes_that_are_dialled_elsewhere_are_met_where_they_announce_themselves(behind_nat: Hosts) -> None:
    hosts = behind_nat
    nodes = [
        {
            "name": "abcdef"[index],
            "host": f"10.213.0.{index + 1}",
            "port": 6379,
            "announce": {"host": f"{PUBLIC}.{index + 1}", "port": PORT, "bus_port": BUS},
        }
        for index in range(6)
    ]
    wrong = [{**node, "announce": {"host": f"{PUBLIC}.{index + 101}"}} for index, node in enumerate(nodes)]
    refused = hosts.clusterboot("up", hosts.topology(nodes=wrong), "-o", "json")
    assert refused.exit == 3, refused
    assert refused.named()[0] == ("announce-contradiction", "a", None)
    outcome = hosts.clusterboot("up", hosts.topology(nodes=nodes, replicas=1), "-o", "json")
    assert outcome.exit == 0, outcome
    with hosts.inside():
        assert why_not_ready(hosts.addresses) is None
    assert {step["host"] for step in outcome.json()["steps"] if step["kind"] == "meet"} == {
        f"{PUBLIC}.{index + 1}" for index in range(1, 6)
    }


def test_names_of_a_hosts_file_and_a_loopback_address_among_others() -> None:
    with Hosts(need("redis70"), 3) as hosts:
        mixed = hosts.topology(nodes=["10.213.0.1:6379", "127.0.0.1:6379", "10.213.0.3:6379"])
        with hosts.inside(1):
            refused = clusterboot("up", mixed, "-o", "json")
        assert refused.exit == 3, refused
        assert refused.named() == [("loopback-among-others", "127.0.0.1:6379", "10.213.0.1:6379")]
        assert all("MEET" not in str(hosts.call(index, "SLOWLOG", "GET", "1000")) for index in range(3))

        names = hosts.folder / "hosts"
        names.write_text(
            "127.0.0.1 localhost\n" + "".join(f"10.213.0.{i + 1} node-{i}.test\n" for i in range(3))
        )
        file = hosts.topology(nodes=["node-{0..2}.test:6379"])
        # A mount namespace of its own: the hosts file of this machine stays as it is.
        script = 'mount --bind "$1" /etc/hosts && shift && exec "$@"'
        command = ["unshare", "-m", "sh", "-c", script, "sh", str(names), sys.executable, "-m", "clusterboot"]
        with hosts.inside():
            done = subprocess.run(
                [*command, "up", str(file), "-o", "json"],
                capture_output=True, text=True, cwd=ROOT, timeout=60, check=False,
            )  # fmt: skip
        assert done.returncode == 0, done
        assert [node["ip"] for node in json.loads(done.stdout)["nodes"]] == hosts.ips
        with hosts.inside():
            assert why_not_ready(hosts.addresses) is None


def test_the_node_on_this_host_may_be_dialled_at_loopback_when_it_meets_the_others() -> None:
    with Hosts(need("redis70"), 3) as hosts:
        file = hosts.topology(nodes=["127.0.0.1:6379", "10.213.0.2:6379", "10.213.0.3:6379"])
        with hosts.inside(0):
            outcome = clusterboot("up", file, "-o", "json")
            assert outcome.exit == 0, outcome
            again = clusterboot("status", file)
        assert again.exit == 0, again
        with hosts.inside():
            assert why_not_ready(hosts.addresses) is None
