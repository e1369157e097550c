"""Settings that are held on nodes that serve: restored whatever ends the run, by whoever looks next."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.conftest import ONE_KIND
from tests.harness.cli import clusterboot
from tests.servers.conftest import Take
from tests.servers.pool import OLD, Nodes, problems
from tests.servers.shards import MIGRATION, drain, form, mine

# The soak has the other kinds.
NORMAL_KINDS = {"valkey91"}

HOLDERS = {3: 0, 4: 1, 5: 2}
# Lowered settings of a cluster that forms are gone by then; these are values unlike any default.
OWN = {**OLD, "repl-diskless-sync-delay": "0"}


def _run(file: Path, k: int, moment: str, *flags: str) -> int:
    """Hold and give back, killed at the k-th changing command; returns the exit status."""
    return clusterboot(str(k), moment, *flags, file, module="tests.servers.holding").exit


def _settings(nodes: Nodes) -> list[dict[str, str]]:
    return [
        {**nodes.timers(i), MIGRATION: nodes.ok(i, "CONFIG", "GET", MIGRATION)[1]} for i in range(nodes.count)
    ]


def _formed(six: Nodes) -> Path:
    file = form(six, HOLDERS)
    six.configure(OWN)
    return file


def _again(six: Nodes) -> None:
    """The replica goes back to its shard, so that the next run has the same to do."""
    six.ok(5, "CLUSTER", "REPLICATE", six.id(2))
    six.until(lambda: mine(six, 5, 5)[3] == six.id(2), "it replicates its old primary")
    six.until(lambda: six.why_not_ready() is None, "the cluster is Ready")


@ONE_KIND
@pytest.mark.parametrize("step", [2, pytest.param(1, marks=pytest.mark.soak)])
def test_killed_with_its_helper_it_is_named_and_restored_from_any_machine(nodes: Take, step: int) -> None:
    six = nodes(6)
    file = _formed(six)
    here = [{**OWN, MIGRATION: "yes"}] * 6
    elsewhere = {"CLUSTERBOOT_STATE": "/dev/null/none", "HOME": "/nonexistent"}
    k, left = 1, 0
    while (exit_ := _run(file, k, "answered", "alone")) != 0:
        assert exit_ == -signal.SIGKILL
        changed = [i for i, settings in enumerate(_settings(six)) if settings != here[0]]
        found = problems(clusterboot("status", file, "-o", "json", env=elsewhere), "warnings")
        codes = [problem["code"] for problem in found if problem["code"] == "lowered-timers-found"]
        assert bool(codes) == bool(changed), f"killed at {k}: {changed}: {found}"
        left += bool(changed)
        clusterboot("up", file, env=elsewhere)
        assert _settings(six) == here, f"killed at {k}"
        _again(six)
        k += step
    assert left >= 2
    assert _settings(six) == here


def test_the_helper_restores_what_a_killed_run_holds(nodes: Take) -> None:
    six = nodes(6)
    file = _formed(six)
    here = [{**OWN, MIGRATION: "yes"}] * 6
    for k, moment in ((1, "sent"), (2, "answered"), (3, "answered"), (4, "sent")):
        assert _run(file, k, moment) == -signal.SIGKILL
        six.until(lambda: _settings(six) == here, "all settings are restored")
        _again(six)
    assert _run(file, 99, "answered") == 0
    assert _settings(six) == here


def test_a_users_own_values_are_never_touched(nodes: Take) -> None:
    six = nodes(6)
    file = _formed(six)
    for index in (2, 5):
        six.ok(index, "CONFIG", "SET", MIGRATION, "no")
    six.ok(5, "CONFIG", "SET", "cluster-replica-no-failover", "yes")
    before = _settings(six)
    six.forget()
    assert _run(file, 99, "answered") == 0
    assert _settings(six) == before
    assert six.sent("CONFIG", "SET") == []


def test_without_it_an_emptied_primary_and_its_replica_go_to_the_taker(nodes: Take) -> None:
    """The fact that the setting is held for."""
    six = nodes(6)
    form(six, HOLDERS)
    # Redis 6.2 turns a primary into a replica only when it hears of it from the taker.
    drain(six, 2, 0, told=False)
    six.until(lambda: mine(six, 2, 2)[3] == six.id(0), "the emptied primary is a replica")
    six.until(lambda: mine(six, 5, 5)[3] == six.id(0), "and so is its replica")
