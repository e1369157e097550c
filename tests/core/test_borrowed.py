"""What is held on a node that serves, how the node keeps its own values, and what gives them back."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from clusterboot.core import timers
from clusterboot.core.borrowed import (
    kept,
    left_lowered,
    lowered_found,
    mark,
    marked_again,
    own_to_hold,
    restored,
    set_by_users,
    to_hold,
    waits_for_sync,
)
from clusterboot.core.timers import BARRIER, DELAY, LOAD, MIGRATION, NO_FAILOVER, TIMEOUT
from tests.core.test_lowered import CHOSEN, MINE, OWN, low, node

ONOFF = st.sampled_from(["yes", "no"])
CONFIG = st.fixed_dictionaries(
    {
        TIMEOUT: st.integers(0, 999_999).map(str),
        DELAY: st.integers(0, 31).map(str),
        LOAD: st.sampled_from(["disabled", "swapdb"]),
        NO_FAILOVER: ONOFF,
        BARRIER: st.integers(0, 999_999).map(str),
    },
    optional={MIGRATION: ONOFF},
)
HERE = {**MINE, MIGRATION: "yes"}


def held(now: Mapping[str, str], *, elections: bool = True, migration: bool = True) -> dict[str, str]:
    """A node after its elections, its migration, or both are held."""
    own = own_to_hold(now, elections=elections, migration=migration)
    wanted = to_hold(own, now) if own else {}
    assert wanted is not None
    return {**now, **wanted}


@given(CONFIG, st.booleans(), st.booleans())
def test_what_is_held_comes_back_and_nothing_else_is_touched(
    now: dict[str, str], elections: bool, migration: bool
) -> None:
    then = held(now, elections=elections, migration=migration)
    changed = {key for key in now if then[key] != now[key]}
    borrows = (elections and now[NO_FAILOVER] == "no") or (migration and now.get(MIGRATION) == "yes")
    assert changed <= {BARRIER, NO_FAILOVER, MIGRATION}
    assert bool(changed) == borrows
    assert (kept(then) is not None) == borrows
    assert then | restored(then) == now
    assert kept(then | restored(then)) is None
    assert timers.timeout_to_restore(then) == {}, "timers are not touched"
    if elections:
        assert then[NO_FAILOVER] == "yes"
    if migration and MIGRATION in now:
        assert then[MIGRATION] == "no"


@given(CONFIG)
def test_one_is_held_after_the_other_and_both_come_back(now: dict[str, str]) -> None:
    both = held(held(now, elections=False), migration=False)
    assert both == held(now)
    assert held(held(now, migration=False), elections=False) == both
    assert both | restored(both) == now


@given(OWN)
def test_lowered_timers_come_back_in_the_step_that_holds(own: dict[str, str]) -> None:
    before = {**CHOSEN, **own, MIGRATION: "yes"}
    then = held({**low(own), MIGRATION: "yes"})
    assert then | restored(then) == before
    assert then[TIMEOUT] == own[TIMEOUT]


def test_the_mark_goes_first_and_comes_back_last() -> None:
    there, back = [*(to_hold(HERE, HERE) or ())], [*restored(held(HERE))]
    assert there == [BARRIER, MIGRATION, NO_FAILOVER]
    assert back == [NO_FAILOVER, MIGRATION, BARRIER]


@given(st.integers(0, 2**31 - 1).map(str), ONOFF, ONOFF)
def test_a_barrier_of_the_users_is_no_mark(barrier: str, no_failover: str, migration: str) -> None:
    """Three numbers for each barrier that a mark can keep, and only with a value that it says is borrowed."""
    now = {**HERE, BARRIER: barrier, NO_FAILOVER: no_failover, MIGRATION: migration, TIMEOUT: "15000"}
    number = int(barrier)
    assume(number < 1_100_000_000)
    bits = number % 4 if 60_000_000 <= number < 64_000_000 else 0
    borrowed = (bits & 1 and no_failover == "yes") or (bits & 2 and migration == "no")
    assert (kept(now) is not None) == bool(borrowed)


@pytest.mark.parametrize(
    "now",
    [
        pytest.param(HERE, id="nothing held"),
        pytest.param({**HERE, NO_FAILOVER: "yes", MIGRATION: "no"}, id="both off by choice"),
        pytest.param({**HERE, BARRIER: held(HERE)[BARRIER]}, id="a mark alone"),
        pytest.param({**held(HERE), BARRIER: "1"}, id="all but the mark"),
        pytest.param({**held(HERE), BARRIER: "60000000"}, id="a round number"),
        pytest.param({**held(HERE), BARRIER: "59999999"}, id="below the lowest mark"),
        pytest.param({**held(HERE), BARRIER: "64000001"}, id="above the highest mark"),
        pytest.param({**held(HERE, migration=False), NO_FAILOVER: "no", MIGRATION: "no"}, id="another one"),
        pytest.param({**HERE, BARRIER: held(HERE)[BARRIER], TIMEOUT: "537"}, id="a timeout like the boost's"),
        pytest.param({}, id="CONFIG refused"),
    ],
)
def test_one_value_alone_is_never_ours(now: Mapping[str, str]) -> None:
    assert kept(now) is None
    assert restored(now) == {}
    assert not waits_for_sync(now)
    assert not [*lowered_found({"a": node(now)})]


BY_HAND = st.fixed_dictionaries(
    {},
    optional={
        TIMEOUT: st.sampled_from(["8000", "8037"]),
        DELAY: st.just("0"),
        LOAD: st.just("on-empty-db"),
        NO_FAILOVER: st.just("no"),
        MIGRATION: st.just("yes"),
        BARRIER: st.integers(0, 9).map(str),
    },
)


@given(CONFIG, BY_HAND, st.booleans(), st.booleans())
def test_values_that_a_user_sets_meanwhile_stay_and_the_rest_comes_back(
    now: dict[str, str], by_hand: dict[str, str], elections: bool, migration: bool
) -> None:
    own = own_to_hold(now, elections=elections, migration=migration)
    then = {**held(now, elections=elections, migration=migration), **by_hand}
    if own:
        then |= marked_again(own, then)
    then |= restored(then)
    assert then == {**now, **by_hand}
    assert not own or marked_again(own, then) == {}


def test_what_the_server_does_not_have_or_the_user_has_off_is_not_held() -> None:
    without = {key: value for key, value in MINE.items() if key != NO_FAILOVER}
    assert own_to_hold(without, elections=True, migration=True) == {}
    off = {**HERE, NO_FAILOVER: "yes", MIGRATION: "no"}
    assert own_to_hold(off, elections=True, migration=True) == {}
    assert own_to_hold(HERE, elections=False, migration=False) == {}
    assert own_to_hold({NO_FAILOVER: "no"}, elections=True, migration=False) == {}, "no barrier, no mark"
    assert own_to_hold({}, elections=True, migration=True) == {}


@pytest.mark.parametrize("barrier", ["1000000", "1200000000", "", "-1"])
def test_a_barrier_that_does_not_fit_is_left(barrier: str) -> None:
    assert to_hold({**HERE, BARRIER: barrier}, HERE) is None
    assert mark({**HERE, BARRIER: barrier}) is None


def test_elections_wait_for_a_sync_only_where_they_are_held() -> None:
    assert waits_for_sync(held(HERE, migration=False))
    assert waits_for_sync(held(HERE))
    assert not waits_for_sync(held(HERE, elections=False))
    assert not waits_for_sync(low(MINE)), "the boost waits for calm"


def test_status_tells_both_kinds_apart() -> None:
    views = {"a": node(low(MINE)), "b": node(held(HERE)), "c": node(HERE)}
    assert left_lowered(views) == ["a", "b"]
    lowered, holds = lowered_found(views)
    assert lowered.message.startswith("1 node has lowered settings, with elections off, set by a run ")
    assert holds.message.startswith("1 node has elections or replica migration off, set by a run ")
    assert (lowered.code, holds.code, holds.node) == ("lowered-timers-found", "lowered-timers-found", "b")
    assert not [*set_by_users(views)]
    (alone,) = set_by_users({"a": node({**HERE, BARRIER: held(HERE)[BARRIER]})})
    assert alone.code == "migration-off"
    assert not [*set_by_users({"a": node({**HERE, BARRIER: "60000000"})})]
