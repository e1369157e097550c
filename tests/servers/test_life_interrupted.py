"""Ended in the middle by a signal or a deadline: the open window is finished, and the next run goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import ONE_KIND
from tests.harness import shards
from tests.harness.cli import clusterboot, launch
from tests.harness.load import Data
from tests.harness.ready import why_not_ready
from tests.servers.conftest import Take
from tests.servers.life import Life

_EVEN = {0: 1, 1: 1, 2: 1, 3: 1}


def _grows(nodes: Take, keys: int) -> tuple[Life, Path]:
    """Four primaries of which the last has no slots, and the file that wants it to have its share."""
    life = Life(nodes(4), Data(keys))
    life.form(life.primaries(0, 1, 2))
    file = life.file(life.primaries(0, 1, 2, 3))
    life.nodes.up(file)
    return life, file


def _half_way(life: Life) -> bool:
    return shards.counts(life.addresses[0]).get(life.addresses[3], 0) > 100


def _is_whole(life: Life, outcome: object) -> None:
    """Check that nothing is open and no key is lost, with only a part of the slots moved."""
    assert shards.open_slots(life.addresses) == [], outcome
    assert why_not_ready(life.addresses) is None, outcome
    assert life.data.compare(life.addresses[0]) == [], outcome
    assert life.changed_settings() == [], outcome
    assert shards.off_shares(life.addresses[0], {life.addresses[each]: 1 for each in _EVEN}) != []


@pytest.mark.parametrize("signal", [2, pytest.param(15, marks=pytest.mark.soak)])
@ONE_KIND
def test_a_signal_lets_the_open_window_be_finished(nodes: Take, signal: int) -> None:
    life, file = _grows(nodes, 20_000)
    with launch("up", file, "--rebalance", "-o", "json") as process:
        life.nodes.until(lambda: _half_way(life), "some slots are moved")
        process.send_signal(signal)
        told = process.communicate(timeout=30)
    assert process.returncode == 128 + signal, told
    _is_whole(life, told)
    life.change(life.primaries(0, 1, 2, 3), _EVEN)


@pytest.mark.soak
def test_a_deadline_that_was_given_ends_the_whole_run(nodes: Take) -> None:
    life, file = _grows(nodes, 60_000)
    outcome = clusterboot("up", file, "--rebalance", "-o", "json", "--timeout", "0.8")
    assert outcome.exit == 4, outcome
    assert outcome.named()[0][0] == "out-of-time", outcome
    _is_whole(life, outcome)
    assert 0 < outcome.json()["moved"]["slots"] < 4096, outcome
    life.change(life.primaries(0, 1, 2, 3), _EVEN)
