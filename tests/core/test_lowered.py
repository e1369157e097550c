"""What a boost would lower, for how many nodes, and where there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from clusterboot.nodes import View
from clusterboot.placement import place
from clusterboot.plan import plan
from clusterboot.timers import (
    DEFAULTS,
    DELAY,
    LOAD,
    NO_FAILOVER,
    RUN_ID,
    TIMEOUT,
    eased,
    left_behind,
    loan,
    lowered,
    nudged,
    ours,
    refusal,
)
from tests.core.world import fresh, topology

SIZES = (2, 6, 16, 17, 30, 60, 80, 81, 100, 150, 300, 559, 560, 1000, 2000)


@pytest.mark.parametrize("count", SIZES)
def test_elections_are_off_before_and_for_as_long_as_the_timeout_is_low(count: int) -> None:
    settings = lowered(count)
    assert list(settings) == [NO_FAILOVER, DELAY, LOAD, TIMEOUT], "sent in this order"
    assert settings[NO_FAILOVER] == "yes"
    assert settings[DELAY] == "0"
    assert int(settings[TIMEOUT]) < int(DEFAULTS[TIMEOUT])


@pytest.mark.parametrize("count", SIZES)
def test_every_lowered_timeout_is_known_as_ours(count: int) -> None:
    values = {lowered(count)[TIMEOUT], nudged(count), str(eased(int(lowered(count)[TIMEOUT])))} - {None}
    assert all(ours({TIMEOUT: value}) for value in values)


@pytest.mark.parametrize("value", ["15000", "500", "1000", "0", "", "30000", "12345"])
def test_no_timeout_of_a_user_is_taken_for_ours(value: str) -> None:
    assert not ours({TIMEOUT: value})


def test_a_node_that_does_not_tell_its_timeout_has_none_of_ours() -> None:
    assert not ours({})


def test_more_nodes_never_get_a_lower_timeout_than_fewer() -> None:
    first = [int(lowered(count)[TIMEOUT]) for count in SIZES]
    assert first == sorted(first)


def test_only_large_clusters_are_nudged() -> None:
    assert [count for count in SIZES if nudged(count) is not None] == [c for c in SIZES if c > 80]


def test_fresh_nodes_may_be_boosted_and_only_when_that_is_wanted() -> None:
    top = topology("a", "b", "c")
    views = {name: replace(view, config=DEFAULTS) for name, view in fresh(top).views().items()}
    assert refusal(top, views, wanted=True) is None
    assert refusal(top, views, wanted=False) == "switched off"
    assert refusal(replace(top, boost=False), views, wanted=True) == "switched off"


def test_nobody_is_boosted_next_to_a_node_that_serves_or_has_keys() -> None:
    top = topology("a", "b", "c", "d")
    world = fresh(top)
    trio = topology("a", "b", "c")
    world.do(*plan(trio, place(trio)).steps)
    views = {name: replace(view, config=DEFAULTS) for name, view in world.views().items()}
    reason = refusal(top, views, wanted=True)
    assert reason is not None
    assert reason.endswith("already serves")
    views = {name: replace(view, config=DEFAULTS) for name, view in fresh(top).views().items()}
    views["d"] = replace(views["d"], keys=1)
    assert refusal(top, views, wanted=True) == "d already serves"


def test_a_node_that_refuses_config_get_is_named_as_the_reason() -> None:
    top = topology("a", "b")
    views = {name: replace(view, config=DEFAULTS) for name, view in fresh(top).views().items()}
    views["b"] = replace(views["b"], config={})
    reason = refusal(top, views, wanted=True)
    assert reason is not None
    assert "CONFIG GET" in reason
    assert "b" in reason.split()


MINE = {TIMEOUT: "12000", DELAY: "3", LOAD: "disabled", NO_FAILOVER: "no"}
LOW = lowered(6)


def view(config: Mapping[str, str], run_id: str = "now", server: str = "valkey") -> View:
    info = {"redis_version": "7.2.4", "run_id": run_id, f"{server}_version": "9.1.0"}
    return View("a", "10.0.0.1", (), info, {}, config, 0)


def test_a_loan_holds_the_nodes_own_values() -> None:
    assert loan(view(MINE), MINE) == MINE
    assert list(loan(view(MINE), MINE)) == list(LOW), "lowered in the order of safety"
    some = {TIMEOUT: "12000", NO_FAILOVER: "no"}
    assert loan(view(some), some) == some


@pytest.mark.parametrize("value", ["swapdb", "on-empty-db", "flush-before-load"])
def test_a_way_to_load_that_somebody_chose_is_not_borrowed(value: str) -> None:
    own = {**MINE, LOAD: value}
    assert loan(view(own), own) == {key: MINE[key] for key in MINE if key != LOAD}


def test_the_way_to_load_is_borrowed_of_valkey_alone() -> None:
    assert LOAD not in loan(view(MINE, server="redis"), MINE)


@pytest.mark.parametrize(
    ("now", "record", "marked", "back", "guessed"),
    [
        pytest.param(MINE, {}, False, {}, False, id="nothing was lowered"),
        pytest.param(MINE, {**MINE, RUN_ID: "now"}, True, {}, False, id="all is back"),
        pytest.param(LOW, {**MINE, RUN_ID: "now"}, True, MINE, False, id="all is low, and written down"),
        pytest.param(LOW, {**MINE, RUN_ID: "then"}, True, MINE, False, id="low after a restart: rewritten"),
        pytest.param(LOW, {}, True, DEFAULTS, True, id="all is low, by nobody knows whom"),
        pytest.param(
            {**LOW, LOAD: "swapdb", DELAY: "1"},
            {},
            True,
            {NO_FAILOVER: "no", TIMEOUT: "15000"},
            True,
            id="what is not low is not guessed",
        ),
        pytest.param({**MINE, NO_FAILOVER: "yes"}, MINE, False, MINE, False, id="elections are off yet"),
        pytest.param(
            {**MINE, NO_FAILOVER: "yes"},
            {**MINE, RUN_ID: "then"},
            False,
            {},
            False,
            id="switched off by whoever started the server anew",
        ),
        pytest.param(
            {**MINE, NO_FAILOVER: "yes"},
            {**MINE, NO_FAILOVER: "yes", RUN_ID: "now"},
            False,
            {},
            False,
            id="switched off before we came",
        ),
        pytest.param(
            {**LOW, TIMEOUT: "15000"},
            {},
            True,
            {NO_FAILOVER: "no", DELAY: "5", LOAD: "disabled"},
            True,
            id="cut off before the timeout",
        ),
        pytest.param({**LOW, TIMEOUT: "15000"}, {}, False, {}, False, id="a user's own, as far as known"),
    ],
)
def test_what_an_interrupted_run_left_behind(
    now: Mapping[str, str],
    record: Mapping[str, str],
    marked: bool,
    back: Mapping[str, str],
    guessed: bool,
) -> None:
    assert left_behind(view(now), record, marked=marked) == (back, guessed)
