"""What a boost would lower, for how many nodes, and where there is none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clusterboot.boost import DEFAULTS, DELAY, NO_FAILOVER, TIMEOUT, lowered, nudged, ours, refusal
from clusterboot.placement import place
from clusterboot.plan import plan
from tests.core.world import fresh, topology

SIZES = (2, 6, 16, 17, 30, 60, 80, 81, 100, 150, 300, 559, 560, 1000, 2000)


@pytest.mark.parametrize("count", SIZES)
def test_elections_are_off_before_and_for_as_long_as_the_timeout_is_low(count: int) -> None:
    settings = lowered(count)
    assert list(settings) == [NO_FAILOVER, DELAY, TIMEOUT], "sent in this order"
    assert settings[NO_FAILOVER] == "yes"
    assert settings[DELAY] == "0"
    assert int(settings[TIMEOUT]) < int(DEFAULTS[TIMEOUT])


@pytest.mark.parametrize("count", SIZES)
def test_every_lowered_timeout_is_known_as_ours(count: int) -> None:
    values = {lowered(count)[TIMEOUT], nudged(count)} - {None}
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
