"""Killed with SIGKILL at its k-th changing command and run again: Ready, and nothing is done twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.harness.servers import SERVERS
from tests.servers.conftest import Take
from tests.servers.pool import OLD, Nodes, Pool, dying, freshen


@pytest.mark.parametrize(
    ("moment", "first", "step", "alone"),
    [("answered", 1, 9, True), ("sent", 5, 9, False)],
)
def test_a_killed_run_is_taken_up_where_it_ended(
    any_nodes: Take, moment: str, first: int, step: int, alone: bool
) -> None:
    _every(any_nodes(6), moment, first, step, alone)


@pytest.mark.soak
@pytest.mark.parametrize("moment", ["answered", "sent"])
@pytest.mark.parametrize("kind", SERVERS)
@pytest.mark.parametrize("alone", [False, True], ids=["helped", "alone"])
def test_killed_at_every_single_command(
    pool: Pool, tmp_path: Path, kind: str, moment: str, alone: bool
) -> None:
    _every(pool.take(kind, 6, tmp_path), moment, 1, 1, alone)


def _every(six: Nodes, moment: str, first: int, step: int, alone: bool) -> None:
    file = six.file(replicas=1)
    last = first
    while _killed_at(six, file, last, moment, alone):
        last += step
    # 6 epochs, 3 slot ranges, 5 MEETs, 3 REPLICATEs; settings lowered, timeouts restored, then the rest.
    assert last > 6 + 3 + 5 + 3 + 3 * 6, f"a whole run has only {last - step} changing commands"


def _killed_at(six: Nodes, file: Path, k: int, moment: str, alone: bool) -> bool:
    """Kill a run at its k-th changing command and run again; False when it had fewer than k."""
    freshen(six.addresses)
    six.configure(OLD)
    six.forget()
    died = dying(file, k, moment, alone=alone)
    where = f"killed at changing command {k}, {moment}{', with its helper' if alone else ''}"
    assert died.exit in (0, -9), f"{where}: {died}"
    before = six.changes()
    outcome = six.up(file, "-o", "json")
    assert six.why_not_ready() is None, f"{where}: {six.why_not_ready()}: {outcome!r}"
    assert six.all_timers() == [OLD] * 6, f"{where}: {outcome!r}"
    _nothing_twice(six, before, outcome.json(), where)
    return died.exit != 0


def _nothing_twice(
    six: Nodes, before: dict[int, list[list[str]]], document: Mapping[str, Any], where: str
) -> None:
    meets = [step for step in document["steps"] if step["kind"] == "meet"]
    if any(step["extra"] for step in meets):
        # The three primaries serve already: the rest are newcomers, and a pair may be hurried twice.
        assert "already serves" in document["boost"]["reason"], f"{where}: {document}"
    # A MEET whose handshake was still under way may be sent once more, and again where it was lost.
    planned = Counter((step["node"], step["peer"]) for step in meets if not step["extra"])
    assert sum(count - 1 for count in planned.values()) <= document["repaired"], f"{where}: {planned}"
    for index, commands in six.changes().items():
        done = Counter(command[1] for command in commands if command[0] == "CLUSTER")
        primary = index < 3
        slots = done["ADDSLOTS"] + done["ADDSLOTSRANGE"]
        counts = (done["SET-CONFIG-EPOCH"], slots, done["REPLICATE"])
        assert counts == ((1, 1, 0) if primary else (1, 0, 1)), f"{where}: {index}: {commands}"
        sent = [tuple(command[2:]) for command in commands if command[1] == "MEET"]
        earlier = [tuple(command[2:]) for command in before.get(index, []) if command[1] == "MEET"]
        assert len(set(earlier)) == len(earlier), f"{where}: {earlier}"
        told = [(step["host"], str(step["port"])) for step in meets if step["node"] == six.addresses[index]]
        assert sorted(sent[len(earlier) :]) == sorted(told), f"{where}: {index}"
