"""How fast slots move, and how long the rest takes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterboot.core.events import Moved
from clusterboot.render.speed import Speed


def speed(told: Sequence[Moved]) -> Speed:
    found = Speed()
    for event in told:
        found = found.after(event)
    return found


def test_the_rate_is_that_of_the_last_half_minute() -> None:
    """A move that was fast at first tells how fast it is now."""
    fast = [Moved(100 * second, 10_000, 1000 * second, 100_000, float(second)) for second in range(1, 41)]
    slow = [
        Moved(4000 + second, 10_000, 40_000 + 10 * second, 100_000, 40.0 + second) for second in range(1, 61)
    ]
    assert speed(fast).rates() == (100, 1000)
    assert speed([*fast, *slow]).rates() == (1, 10)
    assert len(speed([*fast, *slow]).told) == 31


def test_the_time_left_is_that_of_what_takes_longer() -> None:
    assert speed([Moved(500, 1000, 100, 1000, 10.0)]).seconds_left() == 90
    assert speed([Moved(100, 1000, 500, 1000, 10.0)]).seconds_left() == 90
    assert speed([Moved(500, 1000, 0, 0, 10.0)]).seconds_left() == 10


@pytest.mark.parametrize(
    "told", [[], [Moved(0, 10, 0, 5, 0.0)], [Moved(1, 10, 1, 5, 0.1)], [Moved(0, 10, 0, 5, 9.0)]]
)
def test_no_time_is_told_before_there_is_a_rate(told: list[Moved]) -> None:
    found = speed(told)
    assert found.seconds_left() is None
    assert not any("left" in part or "/s" in part for part in found.parts())


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.2, "1 s"), (5, "5 s"), (119, "119 s"), (150, "2 min"), (3600, "1 h 0 min"), (90_000, "25 h 0 min")],
)
def test_an_estimate_is_rounded(seconds: float, shown: str) -> None:
    found = speed([Moved(1000, 1000 + round(1000 * seconds), 0, 0, 1.0)])
    assert list(found.parts())[-1] == f"about {shown} left"


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 900), st.floats(0, 40)), max_size=40))
def test_what_is_told_is_never_negative_and_the_past_is_not_kept(ticks: list[tuple[int, int, float]]) -> None:
    slots = keys = 0
    seconds = 0.0
    found = Speed()
    for more_slots, more_keys, more_seconds in ticks:
        slots, keys, seconds = slots + more_slots, keys + more_keys, seconds + more_seconds
        found = found.after(Moved(slots, 2000, keys, 1000, seconds))
        assert min(found.rates()) >= 0
        assert (found.seconds_left() or 0) >= 0
        assert not any("-" in part for part in found.parts())
        assert sum(each.seconds < seconds - 30 for each in found.told) <= 1
