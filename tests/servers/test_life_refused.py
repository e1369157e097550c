"""`up --rebalance` that would be unsafe: exit 3, and nothing has changed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ONE_KIND
from tests.harness import shards
from tests.harness.cli import launch
from tests.harness.load import Data
from tests.harness.servers import Servers
from tests.servers.conftest import Take
from tests.servers.life import Life
from tests.servers.pool import Nodes

Start = Callable[..., Servers]

_EVEN = {0: 1, 1: 1, 2: 1}


def test_a_file_that_lacks_half_of_the_cluster(any_nodes: Take) -> None:
    life = Life(any_nodes(6), Data(300))
    life.form(life.primaries(0, 1, 2) + life.replicas({3: 0, 4: 1, 5: 2}))
    life.refuses(life.file(life.primaries(0, 1) + life.replicas({3: 0})), "")


@ONE_KIND
def test_too_little_memory_on_the_target(nodes: Take) -> None:
    life = Life(nodes(4), Data(20_000))
    life.form(life.primaries(0, 1, 2))
    life.nodes.up(life.file(life.primaries(0, 1, 2, 3)))
    used = next(
        int(line.partition(":")[2])
        for line in life.nodes.ok(3, "INFO", "memory").splitlines()
        if line.startswith("used_memory:")
    )
    life.nodes.ok(3, "CONFIG", "SET", "maxmemory", used + 100_000)
    life.refuses(life.file(life.primaries(0, 1, 2, 3)), "too-little-memory")


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["redis70", "redis62"])
def test_a_hash_that_would_block_its_node_for_too_long(
    require: Callable[[str], str], servers: Start, tmp_path: Path, kind: str
) -> None:
    started = servers(require(kind), 2, node_timeout=1000, slowlog=True)
    life = Life(Nodes(started, 2, tmp_path), Data(100, megabytes=120))
    life.form([life.entry(0, role="primary", slots="0-16382"), life.entry(1, role="primary", slots="16383")])
    life.nodes.configure({"cluster-node-timeout": "1000"})
    slot = life.nodes.ok(0, "CLUSTER", "KEYSLOT", "big")
    slots = [f"0-{slot - 1},{slot + 1}-16383", str(slot)]
    entries = [life.entry(index, role="primary", slots=each) for index, each in enumerate(slots)]
    outcome = life.refuses(life.file(entries), "key-too-big")
    assert "big" in outcome.out


def test_retiring_more_than_half_of_the_owners(any_nodes: Take) -> None:
    life = Life(any_nodes(6), Data(300))
    six = life.primaries(0, 1, 2) + life.replicas({3: 0, 4: 1, 5: 2})
    life.form(six)
    life.refuses(life.file([six[0], six[3]], retire=[life.addresses[index] for index in (1, 2, 4, 5)]), "")


@pytest.mark.soak
def test_slots_that_a_killed_node_alone_had(server_kind: str, servers: Start, tmp_path: Path) -> None:
    started = servers(server_kind, 4, node_timeout=1000)
    life = Life(Nodes(started, 4, tmp_path), Data(300))
    life.form(life.primaries(0, 1, 2))
    dead = life.nodes.id(0)
    started.kill(0)
    life.nodes.until(lambda: _failed(life, dead), "the others agree that it failed")
    outcome = life.refuses(life.file(life.primaries(1, 2, 3), retire=[dead]), "", members=(1, 2, 3))
    assert "0-5460" in outcome.out


def _failed(life: Life, dead: str) -> bool:
    found = [life.nodes.call(index, "CLUSTER", "NODES").splitlines() for index in (1, 2)]
    fields = [line.split() for lines in found for line in lines if line.startswith(dead)]
    return all("fail" in each[2].split(",") for each in fields)


@pytest.mark.soak
def test_slots_that_somebody_else_is_moving(nodes: Take) -> None:
    life = Life(nodes(4), Data(20_000))
    life.form(life.primaries(0, 1, 2))
    file = life.file(life.primaries(0, 1, 2, 3))
    life.nodes.up(file)
    program = shutil.which("redis-cli")
    assert program is not None
    words = [program, "--cluster", "rebalance", life.addresses[0], "--cluster-use-empty-masters"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as foreign:
        try:
            life.nodes.until(
                lambda: shards.counts(life.addresses[0]).get(life.addresses[3], 0) > 5, "redis-cli moves"
            )
            outcome = life.rebalance(file, exit=3)
            assert "slots-moving" in [problem[0] for problem in outcome.named()], outcome
            assert foreign.poll() is None, "redis-cli was over too early"
            out, _ = foreign.communicate(timeout=120)
        finally:
            with suppress(ProcessLookupError):
                foreign.kill()
    assert foreign.returncode == 0, out
    assert life.data.compare(life.addresses[0]) == []
    assert shards.open_slots(life.addresses) == []


@ONE_KIND
def test_two_at_once_end_with_one_refused(nodes: Take) -> None:
    life = Life(nodes(4), Data(10_000))
    life.form(life.primaries(0, 1, 2))
    entries = life.primaries(0, 1, 2, 3)
    file = life.file(entries)
    life.nodes.up(file)
    both = [launch("up", file, "--rebalance", "-o", "json") for _ in range(2)]
    told = [process.communicate(timeout=120) for process in both]
    assert sorted(process.returncode or 0 for process in both) == [0, 3], told
    life.settled(file, entries, {**_EVEN, 3: 1})


@pytest.mark.soak
def test_keys_in_several_databases_all_move(
    require: Callable[[str], str], servers: Start, tmp_path: Path
) -> None:
    started = servers(require("valkey91"), 4, extra=["--cluster-databases", "4"])
    life = Life(Nodes(started, 4, tmp_path), Data(2000, databases=4))
    life.form(life.primaries(0, 1, 2))
    life.change(life.primaries(0, 1, 2, 3), {**_EVEN, 3: 1})


@pytest.mark.parametrize(
    ("old", "new"), [("valkey91", "redis70"), pytest.param("redis70", "redis62", marks=pytest.mark.soak)]
)
def test_data_does_not_travel_to_a_version_that_cannot_read_it(
    require: Callable[[str], str], servers: Start, tmp_path: Path, old: str, new: str
) -> None:
    mixed = _Mixed(servers(require(old), 3), servers(require(new), 1))
    life = Life(Nodes(mixed, 4, tmp_path), Data(300))  # type: ignore[arg-type]
    life.form(life.primaries(0, 1, 2))
    file = life.file(life.primaries(0, 1, 2, 3))
    life.nodes.up(file)
    life.refuses(file, "versions-cannot-move")


class _Mixed:
    """Servers of two kinds as one."""

    def __init__(self, *parts: Servers) -> None:
        self._places = [(part, index) for part in parts for index in range(len(part))]
        self.kind = parts[0].kind

    @property
    def ports(self) -> list[int]:
        return [part.ports[index] for part, index in self._places]

    @property
    def addresses(self) -> list[str]:
        return [part.addresses[index] for part, index in self._places]

    def call(self, number: int, *command: object) -> Any:
        part, index = self._places[number]
        return part.call(index, *command)

    def changing(self, number: int) -> list[list[str]]:
        part, index = self._places[number]
        return part.changing(index)
