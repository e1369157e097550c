"""What to do with slots that are half moved: opened by a run that was killed, or by redis-cli. Pure.

A primary's own line shows its open slots: MIGRATING at the source, IMPORTING at the target. Where a source or
target failed over, Redis loses its marks: what counts is which primary serves the slot, and which other one
has keys of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from clusterboot.core.steps import MoveSlots
from clusterboot.core.views import View, Views
from clusterboot.errors import Problem, refusal
from clusterboot.slots import NONE, Slots, union
from clusterboot.wording import agree, listed

Keys = Mapping[str, Mapping[int, int]]
"""The number of keys by node and slot, of open slots with any."""


@dataclass(frozen=True, slots=True)
class Tell:
    """Let `node` know that `owner` serves `slots`: it still lists another owner, or has an old mark."""

    node: str
    owner: str
    slots: Slots


@dataclass(frozen=True, slots=True)
class Clear:
    """Take the marks of `slots` away from `node`: nothing has moved, or everything has."""

    node: str
    slots: Slots


@dataclass(frozen=True, slots=True)
class Settlement:
    """What finishes all open slots, in this order; where there are `problems`, nothing may be changed.

    `moves` are slots whose keys are to follow those that the target has already.
    """

    tells: tuple[Tell, ...] = ()
    clears: tuple[Clear, ...] = ()
    moves: tuple[MoveSlots, ...] = ()
    problems: tuple[Problem, ...] = ()


def open_slots(views: Views) -> Slots:
    """Return the slots with a mark at any primary."""
    marks = (mark for view in _primaries(views) for mark in (*view.me.migrating, *view.me.importing))
    return Slots.of((slot, slot) for slot, _ in marks)


def disputed_slots(views: Views) -> Slots:
    """Return the slots of which a primary says that another one serves them than the one that does."""
    owned = _owned(views)
    # Equal lines share one object, so N² lines are about N comparisons.
    lines = {id(peer): peer for view in _primaries(views) for peer in view.peers if not peer.replica}
    return union(
        (peer.slots - owned.get(peer.id, NONE)) | (owned.get(peer.id, NONE) - peer.slots)
        for peer in lines.values()
    )


def marks(views: Views) -> tuple[object, ...]:
    """Return all that changes while somebody moves slots, for comparing two looks."""
    return (
        *((view.name, view.me.migrating, view.me.importing) for view in _primaries(views)),
        *sorted((owner, str(slots)) for owner, slots in _owned(views).items()),
    )


def opened(before: Views, after: Views) -> bool:
    """Whether a slot was opened between two looks; that one was closed may be news that spreads."""

    def found(views: Views) -> set[tuple[str, int, str, bool]]:
        return {
            (view.name, slot, other, sends)
            for view in _primaries(views)
            for found, sends in ((view.me.migrating, True), (view.me.importing, False))
            for slot, other in found
        }

    return bool(found(after) - found(before))


def settle(views: Views, keys: Keys) -> Settlement:
    """Return what finishes all open and disputed slots; `keys` of these slots, at all primaries."""
    return _Settling(views, keys).settlement()


def _primaries(views: Views) -> Iterable[View]:
    return [view for view in views.values() if not view.me.replica]


def _owned(views: Views) -> dict[str, Slots]:
    """Return the slots that each primary serves, by id: of two that claim one, the higher epoch serves it."""
    taken = Slots()
    owned: dict[str, Slots] = {}
    for view in sorted(_primaries(views), key=lambda view: -view.me.epoch):
        owned[view.id] = view.me.slots - taken
        taken |= view.me.slots
    return owned


_Found = Callable[[Slots, str, Sequence[str]], Problem]


class _Settling:
    """Decides slot by slot and collects what is to be done by node."""

    def __init__(self, views: Views, keys: Keys) -> None:
        self._views = views
        self._keys = keys
        self._names = {view.id: view.name for view in views.values()}
        self._owners = {
            slot: self._names[node_id] for node_id, slots in _owned(views).items() for slot in slots
        }
        # Both by node and slot: the id of the other end.
        self._migrating = {view.name: dict(view.me.migrating) for view in _primaries(views)}
        self._importing = {view.name: dict(view.me.importing) for view in _primaries(views)}
        self._tells: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        self._clears: defaultdict[str, list[int]] = defaultdict(list)
        self._moves: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        self._problems: defaultdict[tuple[_Found, str, tuple[str, ...]], list[int]] = defaultdict(list)

    def settlement(self) -> Settlement:
        """Decide on every slot that is open or disputed."""
        opened = frozenset(open_slots(self._views))
        for slot in open_slots(self._views) | disputed_slots(self._views):
            owner = self._owners.get(slot)
            if owner is not None:
                self._inform(slot, owner)
            if slot not in opened:
                continue
            if owner is not None:
                self._decide(slot, owner)
            else:
                self._problems[_unowned, "", ()].append(slot)
        return Settlement(
            tuple(Tell(node, owner, _slots(found)) for (node, owner), found in self._tells.items()),
            tuple(Clear(node, _slots(found)) for node, found in self._clears.items()),
            tuple(MoveSlots(source, to, _slots(found)) for (source, to), found in self._moves.items()),
            tuple(
                found(_slots(slots), owner, others)
                for (found, owner, others), slots in self._problems.items()
            ),
        )

    def _decide(self, slot: int, owner: str) -> None:
        """Decide on an open slot: its keys go to the one other primary that has some of them already."""
        holders = [name for name in self._importing if name != owner and self._has_keys(name, slot)]
        importers = [name for name, found in self._importing.items() if slot in found and name != owner]
        marked = self._migrating[owner].get(slot)
        other = self._serving(marked) if marked else None
        # Where the target is unknown by now, its replica has taken its place: one that has the keys.
        targets = holders if marked and other is None else [*importers, other]
        strange = [
            name
            for name in holders
            # What a source has left after its slot was given away is not what a target has got.
            if name not in targets or slot in self._migrating[name] or self._lists(name, slot, name)
        ]
        if len(holders) > 1 or strange:
            self._problems[_unclear, owner, tuple(strange or holders)].append(slot)
            return
        target = holders[0] if holders else None
        if target is None and marked is not None:
            if other is None:
                self._problems[_unreachable, owner, (marked,)].append(slot)
                return
            # No key has moved, but where both ends are marked somebody wanted it.
            target = other if other in importers else None
        for name in importers:
            if name != target:
                self._clears[name].append(slot)
        if slot in self._importing[owner] or (marked is not None and target is None):
            self._clears[owner].append(slot)
        if target is not None:
            self._moves[owner, target].append(slot)

    def _inform(self, slot: int, owner: str) -> None:
        """Tell who serves a slot where another owner is listed, or where it has an old mark as a source."""
        for name in self._importing:
            stale = slot in self._migrating[name] or not self._lists(name, slot, owner)
            if name != owner and stale:
                self._tells[name, self._views[owner].id].append(slot)

    def _has_keys(self, name: str, slot: int) -> bool:
        return self._keys.get(name, {}).get(slot, 0) > 0

    def _serving(self, node_id: str) -> str | None:
        """Return the primary that a node is, or replicates by now; None where it is not known."""
        name = self._names.get(node_id)
        if name is None:
            return None
        me = self._views[name].me
        return self._names.get(me.primary or "") if me.replica else name

    def _lists(self, name: str, slot: int, owner: str) -> bool:
        """Return whether node `name` lists the node `owner` as the one that serves the slot."""
        line = self._views[name].knows(self._views[owner].id)
        return line is not None and bool(line.slots & Slots(((slot, slot),)))


def _slots(found: Iterable[int]) -> Slots:
    return Slots.of((slot, slot) for slot in found)


def _unowned(slots: Slots, owner: str, others: Sequence[str]) -> Problem:
    return refusal(
        "open-slot-unclear",
        f"{_named(slots)} half moved, and no node serves {'it' if len(slots) == 1 else 'them'}.",
        hint="start the nodes that are down again",
    )


def _unclear(slots: Slots, owner: str, others: Sequence[str]) -> Problem:
    return refusal(
        "open-slot-unclear",
        f"{_named(slots)} half moved from {owner}, and which keys count is not clear: {listed(others)} "
        f"{agree('holds', others)} some too.",
        owner,
        others[0],
        f"compare 'CLUSTER GETKEYSINSLOT {slots.ranges[0][0]} 10' on each, and delete the keys that must not "
        "stay",
    )


def _unreachable(slots: Slots, owner: str, others: Sequence[str]) -> Problem:
    return refusal(
        "open-slot-lost",
        f"{_named(slots)} half moved from {owner} to the node {others[0]}, which is not there any more: keys "
        "that it has got are nowhere else.",
        owner,
        others[0],
        f"start that node again; if it is gone for good, send {owner} 'CLUSTER SETSLOT n STABLE' for each of "
        "these slots, which gives up the keys",
    )


def _named(slots: Slots) -> str:
    return f"{'Slot' if len(slots) == 1 else 'Slots'} {slots} {agree('is', slots)}"
