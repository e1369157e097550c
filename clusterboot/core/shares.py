"""Which slots move so that they lie as the file says, and the least of them. Pure.

A primary wants the very slots that the file gives it, or a share of all others by its weight; one that leaves
wants nothing. Within 2 % of its share a primary is left alone, unless others cannot reach theirs without it.

Givers and takers meet in their order, like the north-west corner of a transport table, and a giver parts with
its highest slots first, in the order of its takers. So whatever part of a plan was carried out, in whatever
order, a new plan moves the rest to the same takers (but where tolerance leaves a choice), and no slot twice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from fractions import Fraction

from clusterboot.core.steps import MoveSlots
from clusterboot.errors import Problem, warning
from clusterboot.slots import COUNT, Slots, union
from clusterboot.topology import Node
from clusterboot.wording import count, shortened

TOLERANCE = 2
"""Percent of its share by which a primary may have too many or too few slots."""

Wanted = Mapping[str, Slots | float]
"""What each primary that stays wants, by name in the order of the file: these slots, or a share by weight."""


def wanted(primaries: Iterable[Node]) -> dict[str, Slots | float]:
    """Return what the file gives to `primaries`."""
    return {node.name: node.weight if node.slots is None else node.slots for node in primaries}


def shares(wants: Wanted) -> dict[str, int]:
    """Return how many slots each primary is to have, in the order of `wants`.

    Slots that nobody wants explicitly are shared by weight: the largest remainders are rounded up, of equal
    ones the first in the file. Raises ValueError if there are such slots and nobody has a weight.
    """
    left = COUNT - len(_explicit(wants))
    weights = {name: Fraction(want) for name, want in wants.items() if not isinstance(want, Slots)}
    if left and not weights:
        raise ValueError(f"nobody wants {left} of the slots")
    total = sum(weights.values())
    exact = {name: left * weight / total for name, weight in weights.items()}
    found = {name: int(quota) for name, quota in exact.items()}
    by_remainder = sorted(exact, key=lambda name: found[name] - exact[name])  # stable
    for name in by_remainder[: left - sum(found.values())]:
        found[name] += 1
    return {name: len(want) if isinstance(want, Slots) else found[name] for name, want in wants.items()}


def moves(owned: Mapping[str, Slots], wants: Wanted, tolerance: int = TOLERANCE) -> tuple[MoveSlots, ...]:
    """Return the moves to where the slots are wanted: at most one step for two primaries.

    `owned` has the slots of every primary, also of those that leave or have none, in the order of the file,
    which the steps follow by giver, then by taker. `tolerance` is in percent, and at least one slot unless it
    is 0: that is how far the slots of fresh nodes may be from their shares.

    Raises ValueError unless every slot has one owner and `owned` has everybody of `wants`, and as `shares`.
    """
    owner = {slot: name for name, slots in owned.items() for slot in slots}
    if len(owner) != COUNT or sum(map(len, owned.values())) != COUNT:
        raise ValueError("every slot must have one owner")
    if unknown := wants.keys() - owned.keys():
        raise ValueError(f"it is not known what {sorted(unknown)} own")
    home = {slot: name for name, want in wants.items() if isinstance(want, Slots) for slot in want}
    steps: dict[tuple[str, str], list[int]] = defaultdict(list)
    pool: dict[str, list[int]] = {name: [] for name in owned}
    for slot in range(COUNT):
        name = owner[slot]
        if slot not in home:
            pool[name].append(slot)
        elif home[slot] != name:
            steps[name, home[slot]].append(slot)
    goal = {name: 0 if isinstance(wants.get(name), Slots) else share for name, share in shares(wants).items()}
    gives, takes = _amounts({name: len(slots) for name, slots in pool.items()}, goal, tolerance)
    takers = iter(takes.items())
    taker, room = "", 0
    for giver, number in gives.items():
        while number:
            if not room:
                taker, room = next(takers)
            some = min(number, room)
            steps[giver, taker] += pool[giver][-some:]
            del pool[giver][-some:]
            number, room = number - some, room - some
    rank = {name: index for index, name in enumerate(owned)}
    order = sorted(steps, key=lambda pair: (rank[pair[0]], rank[pair[1]]))
    return tuple(MoveSlots(*pair, Slots.of((slot, slot) for slot in steps[pair])) for pair in order)


def differences(owned: Mapping[str, Slots], wants: Wanted) -> tuple[Problem, ...]:
    """Return a warning if slots would have to move: they stay without --rebalance. Takes what `moves` takes.

    Members that leave are not named: they are another warning.
    """
    steps, goal = moves(owned, wants), shares(wants)
    concerned = {name for step in steps for name in (step.node, step.peer)}
    differing = [name for name in wants if name in concerned]
    if not differing:
        return ()
    texts = []
    for name in differing:
        if len(owned[name]) == goal[name]:
            foreign = sum(len(step.slots) for step in steps if step.node == name)
            texts.append(f"{name} has {count(foreign, 'slot')} of others")
        else:
            texts.append(f"{name} has {count(len(owned[name]), 'slot')} instead of {goal[name]}")
    return (
        warning(
            "shares-differ",
            f"the slots do not lie as the topology says: {shortened(texts)}. They are kept.",
            differing[0],
            hint="run 'clusterboot up' with --rebalance to move them",
        ),
    )


def _amounts(
    have: Mapping[str, int], goal: Mapping[str, int], tolerance: int
) -> tuple[dict[str, int], dict[str, int]]:
    """Return how many slots each giver gives and each taker takes, in the order of `have`; equal in sum.

    Who is not within the tolerance reaches its goal exactly. Of the others, those furthest from their goals
    help out, and never beyond them.
    """
    lack = {name: goal.get(name, 0) - number for name, number in have.items()}
    fixed = {name: 0 if _tolerated(have[name], goal.get(name, 0), tolerance) else lack[name] for name in have}
    open_ = sum(fixed.values())  # above 0: givers are missing, below: takers
    for name in sorted(have, key=lambda name: -abs(lack[name])):  # stable
        if not fixed[name] and lack[name] * open_ < 0:
            fixed[name] = max(lack[name], -open_) if open_ > 0 else min(lack[name], -open_)
            open_ += fixed[name]
    gives = {name: -number for name, number in fixed.items() if number < 0}
    return gives, {name: number for name, number in fixed.items() if number > 0}


def _tolerated(have: int, share: int, tolerance: int) -> bool:
    """Whether a primary may keep what it has. Who leaves keeps nothing, and who has nothing gets some."""
    near = max(1, share * tolerance // 100) if tolerance else 0
    return bool(have and share) and abs(have - share) <= near


def _explicit(wants: Wanted) -> Slots:
    return union(want for want in wants.values() if isinstance(want, Slots))
