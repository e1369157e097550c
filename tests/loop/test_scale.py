"""A hundred simulated nodes: what clusterboot sends and reads, counted, and how it takes their faults."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.cli import Outcome, clusterboot
from tests.harness.fleet import SimulatedFleet
from tests.harness.ready import why_not_ready

COUNT = 100


@pytest.fixture(scope="module")
def started() -> Iterator[SimulatedFleet]:
    with SimulatedFleet(COUNT) as found:
        yield found


@pytest.fixture
def fleet(started: SimulatedFleet) -> SimulatedFleet:
    """A hundred fresh nodes without faults."""
    started.tell("RESET")
    return started


def up(fleet: SimulatedFleet, folder: Path, *flags: str, **keys: object) -> Outcome:
    return clusterboot("-o", "json", "up", fleet.topology(folder / "fleet.yaml", **keys), *flags)


def steps(outcome: Outcome, **wanted: object) -> list[dict[str, Any]]:
    return [step for step in outcome.json()["steps"] if wanted.items() <= step.items()]


def test_a_hundred_nodes_cost_no_more_commands_and_bytes_than_they_must(
    fleet: SimulatedFleet, tmp_path: Path
) -> None:
    outcome = up(fleet, tmp_path, replicas=1)
    assert outcome.exit == 0, outcome
    stats = fleet.stats()
    assert why_not_ready(fleet.addresses) is None
    sent = stats["commands"]
    assert stats["connections"] == COUNT, "one kept connection each"
    # Each of these once, beside one probe for permission on every node that is to get it.
    assert len(steps(outcome, kind="meet")) == COUNT - 1
    assert sent["CLUSTER MEET"] == COUNT - 1 + 1
    assert sent["CLUSTER ADDSLOTSRANGE"] == 2 * (COUNT // 2)
    assert sent["CLUSTER SET-CONFIG-EPOCH"] == 2 * COUNT
    # A REPLICATE may come too early a few times, never in every round.
    assert COUNT // 2 < sent["CLUSTER REPLICATE"] <= 40 * (COUNT // 2)
    # Three settings each, lowered and put back, and two for every nudge.
    assert sent["CONFIG SET"] <= 60 * COUNT
    # Whole views: the first look, a growing sample, the last snapshot; not all of them in every round.
    # How many rounds that takes depends on the machine; reading all in every round would be hundreds.
    assert sent["CLUSTER NODES"] <= 60 * COUNT
    assert stats["sent"] <= 60 * stats["snapshot"]
    assert fleet.config("cluster-node-timeout") == {"15000"}
    assert fleet.config("cluster-replica-no-failover") == {"no"}


def test_a_ready_cluster_of_a_hundred_is_read_once_and_changed_by_nothing(
    fleet: SimulatedFleet, tmp_path: Path
) -> None:
    assert up(fleet, tmp_path, replicas=1).exit == 0
    before = fleet.stats()
    outcome = up(fleet, tmp_path, replicas=1)
    after = fleet.stats()
    assert outcome.exit == 0, outcome
    assert outcome.json()["steps"] == []
    more = {name: count - before["commands"].get(name, 0) for name, count in after["commands"].items()}
    changing = {"CLUSTER MEET", "CLUSTER REPLICATE", "CLUSTER ADDSLOTSRANGE", "CONFIG SET"}
    assert {name for name in changing if more[name]} == set()
    assert more["CLUSTER NODES"] <= 2 * COUNT


def test_lost_meets_are_sent_again_and_only_those(fleet: SimulatedFleet, tmp_path: Path) -> None:
    for peer in (7, 42):
        fleet.tell("LOSE", 0, peer)
    # Few seconds, so that a handshake is over soon: the timeout the nodes have is lower than a boost's.
    for address in fleet.addresses:
        fleet.order(address, "CONFIG", "SET", "cluster-node-timeout", "1000")
    outcome = up(fleet, tmp_path, replicas=1)
    assert outcome.exit == 0, outcome
    again = [(step["node"], step["peer"]) for step in steps(outcome, kind="meet") if step["again"]]
    assert sorted(again) == sorted((fleet.addresses[0], fleet.addresses[peer]) for peer in (7, 42))


def test_an_error_reply_ends_the_run_with_node_and_reply_and_timers_put_back(
    fleet: SimulatedFleet, tmp_path: Path
) -> None:
    fleet.tell("REJECT", 99, "CLUSTER REPLICATE", "ERR the disk is made of cheese")
    outcome = up(fleet, tmp_path, replicas=1)
    assert outcome.exit == 5, outcome
    (error,) = outcome.json()["errors"]
    assert error["node"] == fleet.addresses[99]
    assert "the disk is made of cheese" in error["message"]
    assert fleet.config("cluster-node-timeout") == {"15000"}
    assert fleet.config("cluster-replica-no-failover") == {"no"}


def test_a_node_that_answers_late_is_waited_for(fleet: SimulatedFleet, tmp_path: Path) -> None:
    fleet.tell("DELAY", 50, "0.3")
    outcome = up(fleet, tmp_path, replicas=1)
    assert outcome.exit == 0, outcome
    assert why_not_ready(fleet.addresses) is None


@pytest.mark.parametrize("last", ["primary", "replica"])
def test_one_that_joins_ninety_nine_makes_itself_known_with_few_meets_beyond_the_plan(
    fleet: SimulatedFleet, tmp_path: Path, last: str
) -> None:
    first = fleet.topology(tmp_path / "first.yaml", count=COUNT - 1)
    assert clusterboot("up", first).exit == 0
    before = fleet.stats()["commands"]
    grown = tmp_path / "grown.yaml"
    new = {"host": "127.0.0.1", "port": fleet.ports[-1]}
    new |= {"role": "primary", "slots": "none"} if last == "primary" else {"replica_of": fleet.addresses[0]}
    grown.write_text(f"{first.read_text()}  - {json.dumps(new)}\n")
    outcome = clusterboot("-o", "json", "up", grown)
    assert outcome.exit == 0, outcome
    assert why_not_ready(fleet.addresses) is None
    meets = steps(outcome, kind="meet")
    assert [step["extra"] for step in meets].count(False) == 1
    assert not meets[0]["extra"]
    # Once to be known, once more where its role was stale, and now and then a pair a second time.
    assert len(meets) <= 1 + 3 * COUNT
    assert fleet.stats()["commands"].get("CONFIG SET", 0) == before.get("CONFIG SET", 0)
