"""Slots as sets of ranges: against plain sets of numbers."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterboot.slots import ALL, COUNT, NONE, Slots, split, union
from tests.core.world import examples

RANGES = st.lists(st.tuples(st.integers(0, COUNT - 1), st.integers(0, 40)), max_size=8).map(
    lambda found: [(low, min(low + more, COUNT - 1)) for low, more in found]
)


def plain(ranges: list[tuple[int, int]]) -> set[int]:
    return {slot for low, high in ranges for slot in range(low, high + 1)}


@examples(200)
@given(RANGES, RANGES)
def test_they_behave_as_sets(left: list[tuple[int, int]], right: list[tuple[int, int]]) -> None:
    one, other = Slots.of(left), Slots.of(right)
    assert list(one) == sorted(plain(left))
    assert len(one) == len(plain(left))
    assert bool(one) == bool(plain(left))
    assert set(one | other) == plain(left) | plain(right)
    assert set(one & other) == plain(left) & plain(right)
    assert set(one - other) == plain(left) - plain(right)
    assert (one == other) == (plain(left) == plain(right)), "one set has one form"
    assert one.complement() == ALL - one
    assert union([one, other]) == one | other
    assert Slots.parse(str(one)) == one


@examples(100)
@given(RANGES, st.integers(-1, 400))
def test_take_gives_the_lowest_and_leaves_the_rest(ranges: list[tuple[int, int]], count: int) -> None:
    whole = Slots.of(ranges)
    taken, rest = whole.take(count)
    assert list(taken) == list(whole)[: max(0, count)]
    assert taken | rest == whole
    assert not taken & rest


@examples(200)
@given(RANGES, st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=20))
def test_a_split_gives_everything_out_near_to_the_weights(
    ranges: list[tuple[int, int]], weights: list[float]
) -> None:
    whole = Slots.of(ranges)
    parts = split(whole, weights)
    assert union(parts) == whole
    assert sum(map(len, parts)) == len(whole)
    for part, weight in zip(parts, weights, strict=True):
        assert abs(len(part) - len(whole) * weight / sum(weights)) <= 1 + 1e-6


@pytest.mark.parametrize("count", [1, 2, 3, 7, 1000, 1999, 16384, 20000])
def test_an_even_split_is_even(count: int) -> None:
    sizes = {len(part) for part in split(ALL, [1.0] * count)}
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", NONE),
        ("0-16383", ALL),
        ("5", Slots(((5, 5),))),
        (" 7 , 0-2,3-5 ,", Slots(((0, 5), (7, 7)))),
    ],
)
def test_parsing(text: str, expected: Slots) -> None:
    assert Slots.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x", "'x' is not a slot or a range of slots such as 0-5460"),
        ("1-", "'1-' is not a slot or a range of slots such as 0-5460"),
        ("-1", "'-1' is not a slot or a range of slots such as 0-5460"),
        ("1-2-3", "'1-2-3' is not a slot or a range of slots such as 0-5460"),
        ("٣", "'٣' is not a slot or a range of slots such as 0-5460"),
        ("123456", "'123456' is not a slot or a range of slots such as 0-5460"),
        ("16384", "slot 16384 does not exist; slots go from 0 to 16383"),
        ("0-99999", "slot 99999 does not exist; slots go from 0 to 16383"),
        ("9-3", "the range 9-3 runs backwards"),
        ("0-5,5", "'0-5,5' names a slot twice"),
    ],
)
def test_what_is_no_slot_is_told_in_a_sentence(text: str, expected: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        Slots.parse(text)
