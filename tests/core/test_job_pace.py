"""How large atomic jobs are: at least one slot, smaller only where that shortens the wait of writers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from clusterboot.core.job_pace import JobPace
from tests.core.world import examples


@given(
    left=st.lists(st.integers(0, 16383), unique=True, max_size=300),
    keys=st.dictionaries(st.integers(0, 16383), st.integers(1, 10**6), max_size=50),
    learned=st.lists(st.tuples(st.integers(1, 500), st.integers(0, 10**6), st.floats(0, 5)), max_size=20),
)
@examples(200)
def test_windows_are_what_comes_first_and_end(
    left: list[int], keys: dict[int, int], learned: list[tuple[int, int, float]]
) -> None:
    pace = JobPace()
    for slots, held, pause in learned:
        pace.learn(slots, held, pause)
    taken = pace.cut(left, keys)
    assert list(taken) == left[: len(taken)]
    assert bool(taken) == bool(left)
    assert len(taken) <= pace.slots
    assert len(taken) <= 1 or sum(keys.get(slot, 0) for slot in taken) <= pace.keys


def test_a_long_pause_with_many_keys_makes_jobs_smaller_and_short_ones_larger() -> None:
    pace = JobPace()
    pace.learn(10, 100, 0.02)
    before = pace.keys
    pace.learn(100, before, 0.2)
    smaller = pace.keys
    assert smaller < before
    for _ in range(20):
        pace.learn(pace.slots, pace.keys, 0.025)
    assert pace.keys > before
    assert pace.slots > 100


def test_a_pause_that_is_as_long_for_every_job_changes_nothing_for_the_worse() -> None:
    pace = JobPace()
    for _ in range(10):
        pace.learn(pace.slots, pace.keys, 0.15)
    assert pace.slots >= 100
    assert pace.keys >= 6000


def test_it_never_gets_so_small_that_only_the_number_of_jobs_grows() -> None:
    pace = JobPace()
    pace.learn(1, 0, 0.001)
    for _ in range(50):
        pace.learn(pace.slots, pace.keys, 3.0)
    assert (pace.slots, pace.keys) == (50, 500)


def test_slots_that_are_written_to_without_a_pause_go_in_smaller_jobs_for_good() -> None:
    pace = JobPace()
    pace.starved(100)
    assert pace.slots == 50
    for _ in range(30):
        pace.learn(pace.slots, pace.keys, 0.01)
    assert pace.slots == 50
    pace.starved(1)
    assert pace.slots == 1
