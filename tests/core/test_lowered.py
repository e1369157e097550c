"""What a boost would lower, how the node keeps its own values meanwhile, and where there is no boost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterboot.core.borrowed import lowered_found, set_by_users
from clusterboot.core.timers import (
    BARRIER,
    DELAY,
    LOAD,
    NO_FAILOVER,
    TIMEOUT,
    eased,
    kept,
    lowered,
    marked_again,
    nudged,
    own_values,
    restored,
    timeout_to_restore,
    to_lower,
    too_large,
    why_no_boost,
)
from clusterboot.core.views import View, parse_nodes
from clusterboot.errors import Exit
from clusterboot.slots import Slots
from tests.core.world import topology

SIZES = (2, 6, 16, 17, 30, 60, 80, 81, 100, 150, 300, 559, 560, 1000, 2000)
(PEER,) = parse_nodes(f"{'a' * 40} 10.0.0.1:6379@16379 myself,master - 0 0 1 connected\n")


@pytest.mark.parametrize("count", SIZES)
def test_elections_are_off_before_and_for_as_long_as_the_timeout_is_low(count: int) -> None:
    settings = lowered(count)
    assert list(settings) == [NO_FAILOVER, DELAY, LOAD, TIMEOUT], "sent in this order"
    assert settings[NO_FAILOVER] == "yes"
    assert settings[DELAY] == "0"
    assert int(settings[TIMEOUT]) < 15_000, "the servers' default"


def test_more_nodes_never_get_a_lower_timeout_than_fewer() -> None:
    first = [int(lowered(count)[TIMEOUT]) for count in SIZES]
    assert first == sorted(first)


def test_how_far_timeouts_go_down_by_size_and_up_when_nothing_moves() -> None:
    counts = (1, 16, 17, 80, 81, 2000)
    assert [lowered(count)[TIMEOUT] for count in counts] == ["537", "537", "937", "937", "14037", "14037"]
    assert {lowered(count)[LOAD] for count in counts} == {"on-empty-db"}
    assert [nudged(81), eased(537), eased(2037), eased(8037), eased(14037)] == [
        2037,
        2037,
        8037,
        32037,
        56037,
    ]


def test_only_large_clusters_are_nudged() -> None:
    assert [count for count in SIZES if nudged(count) is not None] == [c for c in SIZES if c > 80]


MINE = {TIMEOUT: "12000", DELAY: "3", LOAD: "disabled", NO_FAILOVER: "no", BARRIER: "2"}
TIMEOUTS = st.integers(0, 999_999).map(str)
OWN = st.fixed_dictionaries(
    {TIMEOUT: TIMEOUTS, DELAY: st.integers(0, 31).map(str), BARRIER: st.integers(0, 7).map(str)},
    optional={NO_FAILOVER: st.just("no"), LOAD: st.just("disabled")},
)
# Values that are not lowered, because the user has chosen them.
CHOSEN = {NO_FAILOVER: "yes", LOAD: "swapdb"}


def node(config: Mapping[str, str], server: str = "valkey", **fields: Any) -> View:
    info = {"redis_version": "7.2.4", f"{server}_version": "9.1.0"}
    me = replace(PEER, flags=fields.pop("flags", PEER.flags), slots=fields.pop("slots", PEER.slots))
    return View("a", "10.0.0.1", (me,), info, {}, config, **fields)


def low(own: Mapping[str, str], timeout: int = 537) -> dict[str, str]:
    """A node with `own` values after it was lowered."""
    wanted = to_lower(own, timeout)
    assert wanted is not None
    return {**CHOSEN, **own, **wanted}


@given(OWN, st.sampled_from([537, 937, 2037, 14037, 2137]))
def test_the_mark_keeps_all_own_values_within_the_limit_of_the_setting(
    own: Mapping[str, str], timeout: int
) -> None:
    now = low(own, timeout)
    assert int(now[BARRIER]) < 2**31
    assert kept(now) == own
    assert now[NO_FAILOVER] == "yes"
    assert int(now[TIMEOUT]) <= int(own[TIMEOUT]), "a lower timeout of the user's is kept"


@given(OWN)
def test_what_is_restored_are_the_own_values_and_elections_come_last(own: Mapping[str, str]) -> None:
    now = low(own)
    first = timeout_to_restore(now)
    assert set(first) <= {TIMEOUT}
    between = now | first
    assert between[TIMEOUT] == own[TIMEOUT]
    assert kept(between) == own, "another run still sees that elections are off"
    assert timeout_to_restore(between) == {}
    assert between | restored(between) == {**CHOSEN, **own}
    assert kept(between | restored(between)) is None


def test_one_by_one_mark_and_flag_are_set_before_the_timeout_and_restored_after_it() -> None:
    there = list(to_lower(MINE, 537) or ())
    back = list(restored(low(MINE)))
    assert [there[:2], there[-1]] == [[BARRIER, NO_FAILOVER], TIMEOUT]
    assert [back[0], back[-2:]] == [TIMEOUT, [NO_FAILOVER, BARRIER]]


@given(OWN)
def test_another_run_that_lowers_in_between_leaves_no_low_timeout_behind(own: Mapping[str, str]) -> None:
    between = low(own) | timeout_to_restore(low(own))
    assert (low(own) | restored(between)) == {**CHOSEN, **own}


@pytest.mark.parametrize(
    "now",
    [
        pytest.param(MINE, id="nothing lowered"),
        pytest.param({**MINE, NO_FAILOVER: "yes"}, id="elections off by choice"),
        pytest.param({**MINE, TIMEOUT: "2037"}, id="a timeout like ours"),
        pytest.param({**MINE, TIMEOUT: "15037", NO_FAILOVER: "yes"}, id="both, without a mark"),
        pytest.param({**MINE, BARRIER: low(MINE)[BARRIER]}, id="a mark alone"),
        pytest.param({**low(MINE), BARRIER: "1"}, id="all but the mark"),
        pytest.param({**low(MINE), BARRIER: "1099999999"}, id="below the lowest mark"),
        pytest.param({**low(MINE), BARRIER: "2124000000"}, id="above the highest mark"),
        pytest.param({**MINE, DELAY: "0", BARRIER: "0"}, id="zeros by choice"),
        pytest.param({}, id="CONFIG refused"),
    ],
)
def test_one_value_alone_is_never_ours(now: Mapping[str, str]) -> None:
    assert kept(now) is None
    assert restored(now) == timeout_to_restore(now) == {}
    assert not [*lowered_found({"a": node(now)})]


@pytest.mark.parametrize(
    ("by_hand", "back"),
    [
        ({TIMEOUT: "8000"}, {DELAY: "3", LOAD: "disabled", NO_FAILOVER: "no", BARRIER: "2"}),
        ({DELAY: "1"}, {TIMEOUT: "12000", LOAD: "disabled", NO_FAILOVER: "no", BARRIER: "2"}),
        ({LOAD: "swapdb"}, {TIMEOUT: "12000", DELAY: "3", NO_FAILOVER: "no", BARRIER: "2"}),
        ({NO_FAILOVER: "no"}, {TIMEOUT: "12000", DELAY: "3", LOAD: "disabled", BARRIER: "2"}),
    ],
)
def test_a_value_that_a_user_set_meanwhile_stays(by_hand: Mapping[str, str], back: Mapping[str, str]) -> None:
    now = {**low(MINE), **by_hand}
    assert restored(now) == back
    assert timeout_to_restore(now).items() <= back.items()


def test_before_redis_5_the_timeout_tells_the_mark_and_all_is_restored_in_one_step() -> None:
    own = {key: MINE[key] for key in (TIMEOUT, DELAY, BARRIER)}
    now = {**own, **(to_lower(own, 537) or {})}
    assert NO_FAILOVER not in now
    assert kept(now) == own
    assert timeout_to_restore(now) == restored(now) == own


@pytest.mark.parametrize(
    ("key", "value"),
    [(TIMEOUT, "1000000"), (DELAY, "32"), (BARRIER, "8"), (BARRIER, "1200000000"), (DELAY, "")],
)
def test_what_does_not_fit_into_a_mark_is_not_lowered(key: str, value: str) -> None:
    own = {**MINE, key: value}
    assert too_large(own) == key
    assert to_lower(own, 537) is None
    reason = why_no_boost(topology("a"), {"a": node(own)}, wanted=True, replicas=False)
    assert reason == f"a has {key} {value}, which a mark cannot keep"


def test_own_values_leave_out_what_the_user_has_chosen() -> None:
    assert own_values(node(MINE), MINE) == MINE
    chosen = {**MINE, **CHOSEN}
    assert own_values(node(chosen), chosen) == {key: MINE[key] for key in (TIMEOUT, DELAY, BARRIER)}
    assert LOAD not in own_values(node(MINE, server="redis"), MINE), "only Valkey gains by it"


def test_fresh_nodes_may_be_boosted_and_only_when_that_is_wanted() -> None:
    top = topology("a")
    views = {"a": node(MINE)}
    assert why_no_boost(top, views, wanted=True, replicas=True) is None
    assert why_no_boost(top, {"a": node(low(MINE))}, wanted=True, replicas=True) is None
    assert why_no_boost(top, views, wanted=False, replicas=True) == "switched off"
    assert why_no_boost(replace(top, boost=False), views, wanted=True, replicas=True) == "switched off"


def test_there_is_no_boost_next_to_a_node_that_serves_or_has_keys_and_a_primary_is_named() -> None:
    top = topology("a", "b", "c")
    ok = {"cluster_state": "ok"}
    serving = {
        "a": replace(node(MINE), cluster=ok),
        "b": replace(node(MINE, slots=Slots.parse("0-5")), cluster=ok),
        "c": node(MINE),
    }
    assert why_no_boost(top, serving, wanted=True, replicas=True) == "b already serves"
    assert why_no_boost(
        top, {"a": node(MINE), "c": node(MINE, databases={0: 1})}, wanted=True, replicas=True
    ) == ("c already serves")


@pytest.mark.parametrize("hidden", [TIMEOUT, BARRIER])
def test_a_node_that_refuses_config_get_is_named_as_the_reason(hidden: str) -> None:
    config = {key: value for key, value in MINE.items() if key != hidden}
    views = {"a": node(MINE), "b": node(config)}
    assert (
        why_no_boost(topology("a", "b"), views, wanted=True, replicas=False) == "CONFIG GET is refused by b"
    )


def test_without_the_flag_there_is_no_boost_where_replicas_are_wanted() -> None:
    views = {"a": node({key: MINE[key] for key in (TIMEOUT, DELAY, BARRIER)})}
    reason = why_no_boost(topology("a"), views, wanted=True, replicas=True)
    assert reason is not None
    assert reason.startswith("a cannot switch elections off")
    assert why_no_boost(topology("a"), views, wanted=True, replicas=False) is None


def test_a_mark_that_stands_alone_is_named_and_left() -> None:
    (warning,) = set_by_users({"a": node({**MINE, BARRIER: low(MINE)[BARRIER]}), "b": node(MINE)})
    assert (warning.code, warning.node, warning.exit) == ("migration-off", "a", Exit.DONE)
    assert warning.hint is not None
    assert f"CONFIG SET {BARRIER} 1 " in warning.hint
    assert not [*set_by_users({"a": node(low(MINE)), "b": node(MINE), "c": node({})})]
    assert warning.message.startswith(f"a has {BARRIER} ")
    assert not [*set_by_users({"a": node({**MINE, BARRIER: "1099999999"})})]
    assert [*set_by_users({"a": node({**MINE, BARRIER: "1100000000"})})]
    (both,) = set_by_users({name: node({**MINE, BARRIER: "1200000000"}) for name in "ab"})
    assert both.message.startswith(f"a and b have {BARRIER} 1200000000, ")


def test_elections_that_are_off_without_a_mark_are_warned_of_with_the_command_that_ends_it() -> None:
    views = {
        "by choice": node({**MINE, NO_FAILOVER: "yes"}),
        "seen in its line": node({}, flags=PEER.flags | {"nofailover"}),
        "lowered": node(low(MINE), flags=PEER.flags | {"nofailover"}),
        "fine": node(MINE),
    }
    (warning,) = set_by_users(views)
    assert warning.code == "elections-off"
    assert warning.message.startswith(
        f"by choice and seen in its line have {NO_FAILOVER} yes: they do not take over when "
    )
    assert warning.hint is not None
    assert f"CONFIG SET {NO_FAILOVER} no on by choice and seen in its line, " in warning.hint
    (other,) = lowered_found(views)
    assert (other.code, other.node, other.exit) == ("lowered-timers-found", "lowered", Exit.DONE)
    assert other.message.startswith("1 node has lowered settings, ")
    (both,) = lowered_found({"a": node(low(MINE)), "b": node(low(MINE))})
    assert both.message.startswith("2 nodes have lowered settings, ")
    assert warning.exit is Exit.DONE
    (one,) = set_by_users({"a": node({**MINE, NO_FAILOVER: "yes"})})
    assert one.message == (f"a has {NO_FAILOVER} yes: it does not take over when its primary fails.")
    assert not [*set_by_users({"fine": node(MINE)})]


BY_HAND = st.fixed_dictionaries(
    {},
    optional={
        TIMEOUT: st.just("8000"),
        DELAY: st.just("1"),
        NO_FAILOVER: st.just("no"),
        BARRIER: st.integers(0, 9).map(str),
    },
)


@given(OWN, BY_HAND)
def test_a_run_that_goes_on_restores_its_own_also_where_a_user_has_set_the_mark(
    own: dict[str, str], by_hand: dict[str, str]
) -> None:
    now = {**low(own), **by_hand}
    now |= marked_again(own, now)
    now |= timeout_to_restore(now)
    now |= restored(now)
    assert now == {**CHOSEN, **own, **by_hand}
    assert marked_again(own, now) == {}


def test_what_tells_a_mark_needs_none_again() -> None:
    assert marked_again(MINE, low(MINE)) == {}
    assert marked_again(MINE, {**low(MINE), BARRIER: "1"}) == {BARRIER: low({**MINE, BARRIER: "1"})[BARRIER]}
