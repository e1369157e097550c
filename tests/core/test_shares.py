"""Which slots move: to the shares of the file, the least of them, and the rest whatever was done already."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterboot.core.placement import place
from clusterboot.core.shares import TOLERANCE, Wanted, differences, moves, shares, wanted
from clusterboot.core.steps import MoveSlots
from clusterboot.slots import ALL, COUNT, NONE, Slots, split, union
from tests.core.world import examples, node, slots, topology

Owned = dict[str, Slots]


@st.composite
def clusters(draw: st.DrawFn) -> tuple[Owned, Wanted]:
    """Owners of all slots, some of which leave, and what those that stay want; some of them have nothing."""
    names = [f"n{number}" for number in range(draw(st.integers(2, 7)))]
    order = draw(st.permutations(names))
    owned = dict.fromkeys(order, NONE)
    if draw(st.booleans()):
        # As fresh nodes start, or a little off.
        weights = [draw(st.sampled_from([0, 1, 1, 1.01, 1.03, 2])) for _ in names]
        weights[0] = weights[0] or 1
        owned |= dict(zip(order, split(ALL, weights), strict=True))
    else:
        cuts = sorted(draw(st.lists(st.integers(1, COUNT - 1), max_size=12, unique=True)))
        for low, high in zip([0, *cuts], [*cuts, COUNT], strict=True):
            name = draw(st.sampled_from(names))
            owned[name] |= Slots(((low, high - 1),))
    staying = [name for name in order if draw(st.integers(0, 3))] or [names[0]]
    wants: dict[str, Slots | float] = {}
    free = ALL
    for name in staying:
        if name != staying[-1] and not draw(st.integers(0, 4)):
            low = draw(st.integers(0, COUNT - 1))
            given = Slots(((low, min(COUNT - 1, low + draw(st.integers(0, 3000)))),)) & free
            wants[name] = given
            free -= given
        else:
            wants[name] = draw(st.sampled_from([1, 1.0, 1.01, 0.5, 2, 3.7, 100]))
    return owned, wants


def after(owned: Mapping[str, Slots], steps: Sequence[MoveSlots]) -> Owned:
    """Who owns what after these moves; each must start at its owner."""
    found = dict(owned)
    for step in steps:
        assert step.slots
        assert step.slots - found[step.node] == NONE
        found[step.node] -= step.slots
        found[step.peer] |= step.slots
    return found


def explicit(wants: Wanted) -> Slots:
    return union(want for want in wants.values() if isinstance(want, Slots))


def deltas(steps: Sequence[MoveSlots]) -> dict[int, tuple[str, str]]:
    """From where to where each slot moves."""
    found = {slot: (step.node, step.peer) for step in steps for slot in step.slots}
    assert len(found) == sum(len(step.slots) for step in steps), "a slot moves once"
    return found


def near(have: int, share: int) -> bool:
    return bool(have) and abs(have - share) <= max(1, share * TOLERANCE / 100)


def part(data: st.DataObject, steps: Sequence[MoveSlots]) -> list[MoveSlots]:
    """Any slots of any of the steps: sources work side by side, and a run may be killed at any time."""
    done = []
    for step in steps:
        low = data.draw(st.integers(0, len(step.slots)))
        high = data.draw(st.integers(low, len(step.slots)))
        some = step.slots.take(high)[0] - step.slots.take(low)[0]
        if some:
            done.append(MoveSlots(step.node, step.peer, some))
    return done


@examples(60)
@given(clusters())
def test_everything_ends_where_it_is_wanted(case: tuple[Owned, Wanted]) -> None:
    owned, wants = case
    steps, share = moves(owned, wants), shares(wants)
    end = after(owned, steps)
    assert union(end.values()) == ALL
    assert list(share) == list(wants)
    assert sum(share.values()) == COUNT
    for name in owned:
        want = wants.get(name, NONE)
        if isinstance(want, Slots):
            assert end[name] == want
        elif not near(len(owned[name] - explicit(wants)), share[name]):
            assert len(end[name]) == share[name]
        else:
            assert near(len(end[name]), share[name])
    exact = after(owned, moves(owned, wants, tolerance=0))
    assert {name: len(exact[name]) for name in wants} == share


@examples(60)
@given(clusters(), st.sampled_from([0, TOLERANCE]))
def test_no_smaller_set_of_slots_would_do(case: tuple[Owned, Wanted], tolerance: int) -> None:
    """Who ends with more must take, and a slot that is given to a node explicitly must get there."""
    owned, wants = case
    steps = moves(owned, wants, tolerance)
    end = after(owned, steps)
    pool = explicit(wants).complement()
    least = sum(max(0, len(owned[name] & pool) - len(end[name] & pool)) for name in owned)
    least += sum(len(want - owned[name]) for name, want in wants.items() if isinstance(want, Slots))
    assert sum(len(step.slots) for step in steps) == least
    if tolerance:
        assert least <= sum(len(step.slots) for step in moves(owned, wants, 0))


@examples(60)
@given(clusters(), st.data())
def test_without_tolerance_a_new_plan_is_exactly_the_rest(
    case: tuple[Owned, Wanted], data: st.DataObject
) -> None:
    owned, wants = case
    steps = moves(owned, wants, tolerance=0)
    done = part(data, steps)
    again = moves(after(owned, done), wants, tolerance=0)
    gone = deltas(done)
    assert deltas(again) == {slot: way for slot, way in deltas(steps).items() if slot not in gone}


@examples(60)
@given(clusters(), st.data())
def test_a_new_plan_moves_no_slot_again_and_asks_for_no_more(
    case: tuple[Owned, Wanted], data: st.DataObject
) -> None:
    """Within the tolerance a run may end sooner. Nobody who took gives, and nobody who gave takes."""
    owned, wants = case
    moved: dict[int, tuple[str, str]] = {}
    for _ in range(data.draw(st.integers(1, 3))):
        done = part(data, moves(owned, wants))
        assert not moved.keys() & deltas(done).keys()
        moved |= deltas(done)
        owned = after(owned, done)
    again = deltas(moves(owned, wants))
    assert not moved.keys() & again.keys()
    given = set(explicit(wants))
    ways = {way for slot, way in (moved | again).items() if slot not in given}
    assert not {giver for giver, _ in ways} & {taker for _, taker in ways}


@examples(60)
@given(st.integers(2, 7), st.integers(1, 3), st.data())
def test_growing_and_shrinking_go_on_with_the_rest(staying: int, others: int, data: st.DataObject) -> None:
    """From even shares: each still gives and takes at most what was left of its part."""
    names = [f"n{number}" for number in range(staying + others)]
    start, end = names[:staying], names
    if data.draw(st.booleans()):
        left = data.draw(st.sets(st.sampled_from(names), min_size=staying))
        start, end = names, [name for name in names if name in left]
    parts = split(ALL, [1.0] * len(start))
    owned = dict.fromkeys(names, NONE) | dict(zip(start, parts, strict=True))
    wants = dict.fromkeys(end, 1.0)
    steps = moves(owned, wants)
    done = part(data, steps)
    again = moves(after(owned, done), wants)
    for side in ("node", "peer"):
        rest: Counter[str] = Counter()
        for sign, those in ((1, steps), (-1, done), (-1, again)):
            for step in those:
                rest[getattr(step, side)] += sign * len(step.slots)
        assert min(rest.values(), default=0) >= 0, side
    final = after(after(owned, done), again)
    share = shares(wants)
    assert all(near(len(final[name]), share[name]) for name in end)
    assert not any(final[name] for name in names if name not in end)


@examples(60)
@given(clusters())
def test_a_plan_is_in_order_and_takes_the_highest_slots(case: tuple[Owned, Wanted]) -> None:
    owned, wants = case
    steps = moves(owned, wants)
    assert steps == moves(dict(owned), dict(wants)), "deterministic"
    rank = list(owned)
    pairs = [(rank.index(step.node), rank.index(step.peer)) for step in steps]
    assert pairs == sorted(set(pairs))
    pool = explicit(wants).complement()
    for name in owned:
        mine = list(owned[name] & pool)
        given = [list(step.slots) for step in steps if step.node == name and step.slots & pool]
        # One piece off the end, cut in the order of the takers from the top.
        assert [slot for piece in reversed(given) for slot in piece] == mine[
            len(mine) - sum(map(len, given)) :
        ]


@examples(60)
@given(clusters())
def test_after_a_plan_nothing_is_left_to_do(case: tuple[Owned, Wanted]) -> None:
    owned, wants = case
    assert moves(after(owned, moves(owned, wants)), wants) == ()


@pytest.mark.parametrize("count", [1, 3, 7, 100, 333, 1000, 1999])
@pytest.mark.parametrize("weights", [[1.0], [1.0, 2.0], [0.5, 1.25, 3.0]])
def test_the_slots_of_fresh_nodes_stay(count: int, weights: list[float]) -> None:
    """They are cut where the running sum is rounded, so they may differ by one from the share."""
    file = topology(*(node(f"n{number}", weight=weights[number % len(weights)]) for number in range(count)))
    owned = {name: spot.slots for name, spot in place(file).spots.items()}
    assert moves(owned, wanted(file.nodes)) == ()
    assert differences(owned, wanted(file.nodes)) == ()


@examples(60)
@given(st.lists(st.floats(0.001, 1000), min_size=1, max_size=50))
def test_shares_are_rounded_by_the_largest_remainder(weights: list[float]) -> None:
    wants = {f"n{number}": weight for number, weight in enumerate(weights)}
    found, total = shares(wants), sum(map(Fraction, weights))
    off = [found[name] - COUNT * Fraction(weight) / total for name, weight in wants.items()]
    assert sum(found.values()) == COUNT
    assert max(off) - min(off) <= 1
    assert all(-1 < each < 1 for each in off)


def test_equal_remainders_go_to_the_first_in_the_file() -> None:
    assert shares({"b": 1, "a": 1.0, "c": 1}) == {"b": 5462, "a": 5461, "c": 5461}
    wants: Wanted = {"a": slots("0-8191"), "b": 1, "c": 3, "d": NONE}
    assert shares(wants) == {"a": 8192, "b": 2048, "c": 6144, "d": 0}


def three(**more: Slots) -> Owned:
    return {"a": slots("0-5460"), "b": slots("5461-10922"), "c": slots("10923-16383"), **more}


def told(steps: Sequence[MoveSlots]) -> list[str]:
    return [f"{step.node} {step.peer} {step.slots}" for step in steps]


def test_a_cluster_that_grows() -> None:
    assert told(moves(three(d=NONE), dict.fromkeys("abcd", 1.0))) == [
        "a d 4096-5460",
        "b d 9557-10922",
        "c d 15019-16383",
    ]
    assert told(moves(three(d=NONE, e=NONE), dict.fromkeys("abcde", 1.0))) == [
        "a d 3277-5460",
        "b d 9830-10922",
        "b e 8738-9829",
        "c e 14200-16383",
    ]


def test_a_cluster_that_shrinks() -> None:
    assert told(moves(three(), dict.fromkeys("ab", 1.0))) == ["c a 13653-16383", "c b 10923-13652"]


def test_slots_that_the_file_gives_to_a_node() -> None:
    wants: Wanted = {"a": slots("0-99,16000-16383"), "b": 1, "c": 1}
    assert told(moves(three(), wants)) == ["a b 2973-5460", "a c 100-2972", "c a 16000-16383"]
    assert told(moves(three(), {"a": NONE, "b": 1.0, "c": 1.0})) == ["a b 2731-5460", "a c 0-2730"]


def test_two_percent_are_left_alone() -> None:
    """Of 4,096 that is 81. Who is further off is helped by those above their share, the furthest first."""
    sizes = {"a": 4096 + 81, "b": 4096 - 81, "c": 4096 + 30, "d": 4096 - 30}
    owned = dict(zip(sizes, split(ALL, list(sizes.values())), strict=True))
    wants = dict.fromkeys("abcd", 1.0)
    assert moves(owned, wants) == ()
    sizes |= {"b": 4096 - 82, "d": 4096 - 29}
    owned = dict(zip(sizes, split(ALL, list(sizes.values())), strict=True))
    assert [(step.node, step.peer, len(step.slots)) for step in moves(owned, wants)] == [
        ("a", "b", 81),
        ("c", "b", 1),
    ]


def test_who_has_nothing_gets_even_a_single_slot() -> None:
    wants = {"a": 1000.0, "b": 0.06}
    assert shares(wants) == {"a": 16383, "b": 1}
    assert told(moves({"a": ALL, "b": NONE}, wants)) == ["a b 16383"]
    assert moves({"a": slots("0-16381"), "b": slots("16382-16383")}, wants) == ()


def test_what_cannot_be_planned_is_not_planned() -> None:
    with pytest.raises(ValueError, match="one owner"):
        moves({"a": slots("0-5")}, {"a": 1})
    with pytest.raises(ValueError, match="one owner"):
        moves({"a": ALL, "b": slots("7")}, {"a": 1})
    with pytest.raises(ValueError, match="nobody wants 16284 of the slots"):
        moves({"a": ALL}, {"a": slots("0-99")})
    with pytest.raises(ValueError, match=r"\['c'\]"):
        moves({"a": ALL}, {"a": 1, "c": 1})


def test_the_warning_names_what_differs_and_the_flag() -> None:
    assert differences(three(), dict.fromkeys("abc", 1.0)) == ()
    (problem,) = differences(three(d=NONE), dict.fromkeys("abcd", 1.0))
    assert (problem.code, problem.node) == ("shares-differ", "a")
    assert problem.message == (
        "the slots do not lie as the topology says: a has 5461 slots instead of 4096, b has 5462 slots "
        "instead of 4096, c has 5461 slots instead of 4096 and d has 0 slots instead of 4096. They are kept."
    )
    assert "--rebalance" in (problem.hint or "")
    swapped = {"a": slots("0-8191"), "b": slots("8192-16383")}
    (problem,) = differences(swapped, {"a": slots("8192-16383"), "b": slots("0-8191")})
    assert "a has 8192 slots of others and b has 8192 slots of others." in problem.message


def test_the_share_of_a_node_in_the_file() -> None:
    file = topology(node("a", slots=slots("0-5")), node("b", weight=2.5), node("c", slots=NONE))
    assert wanted(file.nodes) == {"a": slots("0-5"), "b": 2.5, "c": NONE}


def test_a_thousand_primaries_are_planned_at_once() -> None:
    """However scattered their slots are: nothing is quadratic in slots or primaries."""
    names = [f"n{number}" for number in range(1000)]
    owned = {
        name: Slots.of((slot, slot) for slot in range(index, COUNT, 500))
        for index, name in enumerate(names[:500])
    }
    owned |= dict.fromkeys(names[500:], NONE)
    start = process_time()
    steps = moves(owned, dict.fromkeys(names, 1.0))
    assert process_time() - start < 1
    assert len(steps) < 1000
