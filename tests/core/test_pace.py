"""The pace of a move by copy."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from clusterboot.core.pace import Pace, first_window
from tests.core.world import examples


@given(
    st.lists(st.integers(0, 16383), min_size=1, max_size=600, unique=True),
    st.dictionaries(st.integers(0, 16383), st.integers(1, 5000), max_size=100),
)
@examples(200)
def test_windows_are_cut_from_the_front_within_the_bounds(slots: list[int], keys: dict[int, int]) -> None:
    pace, left, windows = Pace(), list(slots), []
    while left:
        taken = pace.cut(left, keys, 16384)
        windows.append(list(taken))
        assert 1 <= len(taken) <= pace.slots
        assert len(taken) == 1 or sum(keys.get(slot, 0) for slot in taken) <= pace.window_keys
        left = left[len(taken) :]
    assert [slot for taken in windows for slot in taken] == slots


def test_the_first_slot_of_a_target_is_an_empty_one_if_there_is_one() -> None:
    assert first_window([9, 8, 7], {9: 1, 7: 3}) == [8]
    assert first_window([9, 8, 7], {9: 3, 8: 2, 7: 1}) == [7]
    assert first_window([9, 8, 7], {}) == [9]


def test_long_pipelines_become_shorter_and_short_ones_longer_within_bounds() -> None:
    pace = Pace()
    for _ in range(100):
        pace.learn(pace.keys, 0.03)
    assert (pace.keys, pace.calls) == (1, 1)
    for _ in range(1000):
        pace.learn(pace.keys, 0.0)
    fastest = pace.keys, pace.calls
    for _ in range(10):
        pace.learn(pace.keys, 0.0)
    assert (pace.keys, pace.calls) == fastest


def test_single_slow_pipelines_are_the_hosts_doing() -> None:
    pace = Pace()
    before = pace.keys
    for _ in range(20):
        for seconds in (0.03, 0.03, 0.003, 0.03):
            pace.learn(pace.keys, seconds)
    assert (pace.keys, pace.calls) == (before, 2)


def test_large_keys_make_the_next_call_small_at_once() -> None:
    pace = Pace()
    pace.learn(16, 0.4)
    assert (pace.keys, pace.calls) == (1, 1)


def test_replicas_that_lag_make_windows_smaller_until_they_do_not() -> None:
    pace = Pace()
    first = pace.window_keys
    pace.lagged(1.0)
    assert pace.window_keys == first // 2
    for _ in range(100):
        pace.lagged(2.0)
    assert pace.window_keys == 1
    pace.lagged(0.0)
    assert pace.window_keys == 1
    pace.opened(1, 1, 0.005)
    assert pace.window_keys > 1


@given(st.integers(0, 16384), st.integers(1, 16384))
@examples(100)
def test_a_window_is_a_small_part_of_what_the_target_serves_already(served: int, left: int) -> None:
    pace = Pace()
    for _ in range(20):
        pace.opened(pace.slots, pace.window_keys, 0.001)
    assert len(pace.cut(range(left), {}, served)) <= max(1, served / 20)


def test_clients_meet_moved_before_ask() -> None:
    # Every slot is as likely: how often ASK of a window comes first, if half of the time a window is open.
    served, first, nobody_yet = 0, 0.0, 1.0
    pace = Pace()
    while served < 4096:
        window = len(pace.cut(range(4096 - served), {}, served))
        asks, moved = 0.5 * window, float(served)
        met = 1e-5 * (asks + moved)
        first += nobody_yet * met * asks / (asks + moved)
        nobody_yet *= 1 - met
        served += window
    assert first < 0.03


def test_windows_that_are_open_for_long_become_smaller_down_to_what_any_window_takes() -> None:
    pace = Pace()
    for _ in range(50):
        pace.opened(pace.slots, pace.window_keys, 0.01 + 0.002 * pace.slots)
    assert 6 <= pace.slots <= 24
    # A host on which each window takes long does not make them small for good.
    for _ in range(100):
        pace.opened(pace.slots, pace.window_keys, 0.2 + 0.0001 * pace.slots)
    assert pace.slots == 128
