"""The Docker files are consistent, and their services form one cluster; tested without a Docker engine."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from clusterboot.disk import topology_file
from tests.harness import netns
from tests.harness.cli import ROOT
from tests.harness.servers import any_kind, binary

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
NODES = topology_file.read(ROOT / "topologies" / "compose.yaml").nodes
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def options(name: str) -> dict[str, str]:
    """The server options of a service, from its command."""
    words = shlex.split(SERVICES[name]["command"])
    return dict(zip(words[::2], words[1::2], strict=True))


def test_every_node_of_the_topology_is_a_service_with_its_address() -> None:
    assert {node.name for node in NODES} == {name for name in SERVICES if name.startswith("redis-")}
    for node in NODES:
        settings = options(node.name)
        assert (settings["--port"], settings["--cluster-announce-ip"]) == (str(node.port), node.host)
        assert settings["--cluster-enabled"] == "yes"
        assert "--cluster-announce-port" not in settings
        assert node.bus_port is None


def test_everything_is_in_the_network_whose_ports_are_published_to_this_host_only() -> None:
    for name, service in SERVICES.items():
        assert name == "network" or service["network_mode"] == "service:network"
        assert name == "network" or "ports" not in service
    (published,) = SERVICES["network"]["ports"]
    host, outside, inside = published.split(":")
    first, last = map(int, outside.split("-"))
    assert (host, outside) == ("127.0.0.1", inside)
    assert [node.port for node in NODES] == list(range(first, last + 1))


def test_clusterboot_waits_until_every_node_is_healthy() -> None:
    assert SERVICES["clusterboot"]["depends_on"] == {
        node.name: {"condition": "service_healthy"} for node in NODES
    }
    for node in NODES:
        kind, test = SERVICES[node.name]["healthcheck"]["test"]
        assert kind == "CMD-SHELL"
        assert re.findall(r"-p (\d+)", test) == [str(node.port)] * 2
    assert SERVICES["clusterboot"]["command"] == ["up", "/topologies/compose.yaml"]
    assert SERVICES["clusterboot"]["volumes"] == ["./topologies:/topologies:ro"]


def test_a_variable_sets_the_image_of_all_nodes() -> None:
    images = {service["image"] for name, service in SERVICES.items() if name != "clusterboot"}
    assert images == {"${IMAGE:-redis:8}"}


def test_the_image_runs_as_an_unprivileged_user() -> None:
    last = DOCKERFILE.rpartition("FROM ")[2]
    assert re.search(r"^USER clusterboot$", last, re.MULTILINE)
    assert 'ENTRYPOINT ["clusterboot"]' in last
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE)
    for name in " ".join(copied).split():
        assert (ROOT / name).exists()
        assert f"!{name}" in (ROOT / ".dockerignore").read_text().splitlines()


@pytest.mark.server
@pytest.mark.network
def test_the_services_become_one_cluster_in_a_network_of_their_own(tmp_path: Path) -> None:
    """The commands of the services, run in one network namespace, as with `network_mode`."""
    try:
        netns.check()
    except netns.Unavailable as reason:
        if os.environ.get("CLUSTERBOOT_REQUIRE_NETNS") == "1":
            pytest.fail(str(reason), pytrace=False)
        pytest.skip(str(reason))
    if shutil.which("unshare") is None:
        pytest.skip("unshare not found; install util-linux")
    if not (shutil.which("redis-cli") or shutil.which("valkey-cli")):
        pytest.skip("redis-cli not found, which the health checks of the services use")
    lines = ["set -e", "ip link set lo up"]
    for node in NODES:
        (tmp_path / node.name).mkdir()
        command = f"{binary(any_kind())} {SERVICES[node.name]['command']}"
        lines.append(f"(cd {tmp_path / node.name} && exec {command} >log 2>&1) &")
    healthy = [
        SERVICES[node.name]["healthcheck"]["test"][1].replace(
            "redis-cli", shutil.which("redis-cli") or "redis-cli"
        )
        for node in NODES
    ]
    lines += [f"until {test}; do sleep 0.05; done >&2" for test in healthy]
    up = f"{sys.executable} -m clusterboot -o json up {ROOT / 'topologies' / 'compose.yaml'}"
    lines += [up, "echo ---", up]
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
    }
    # In a pid namespace, all processes end with the first one.
    done = subprocess.run(
        ["unshare", "--net", "--pid", "--fork", "--kill-child", "sh", "-c", "\n".join(lines)],
        capture_output=True,
        text=True,
        env=env,
        timeout=60,
    )
    assert done.returncode == 0, done
    first, second = map(json.loads, done.stdout.split("---\n"))
    assert first["ready"]
    assert [node["name"] for node in first["nodes"]] == [node.name for node in NODES]
    assert [node["role"] for node in first["nodes"]].count("primary") == 3
    assert (second["ready"], second["steps"]) == (True, [])
