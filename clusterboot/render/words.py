"""Small words that every screen shares: counts, durations, slots, one node's state. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from clusterboot.core.plan import AddSlots, Meet, Replicate, SetEpoch, Step
from clusterboot.render.safe import clean
from clusterboot.slots import Slots
from clusterboot.wording import count as count

if TYPE_CHECKING:
    from clusterboot.core.verdict import NodeHealth

_SHOWN_RANGES = 3
_ID = re.compile("[0-9a-f]{40}")
_STEPS = (
    (SetEpoch, "config epoch", "config epochs"),
    (AddSlots, "slot range", "slot ranges"),
    (Meet, "MEET", "MEETs"),
    (Replicate, "REPLICATE", "REPLICATEs"),
)


def seconds(value: float) -> str:
    """Return a duration with one decimal: "0.8 s", from two minutes on "2 min 5.0 s"."""
    value = max(0.0, value)
    if round(value, 1) < 120:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value, 1), 60)
    return f"{minutes:.0f} min {rest:.1f} s"


def names(found: Sequence[str], most: int) -> str:
    """Return up to `most` names, and how many more there are."""
    shown = ", ".join(clean(name) for name in found[:most])
    return f"{shown} and {len(found) - most} more" if len(found) > most else shown


def node(found: str) -> str:
    """Return a node's name; of the 40 digits of an id, which stand for a node without one, the first 8."""
    return f"{found[:8]}…" if _ID.fullmatch(found) else found


def server(found: str | None) -> str | None:
    """Return a server and its version as a node tells it, "redis 7.0.15", where the binary says "Redis"."""
    kind, space, version = (found or "").partition(" ")
    return f"{kind.lower()} {version}" if space and kind in ("Redis", "Valkey") else found


def slots(found: Slots) -> str:
    """Return slots for people: all ranges of a few, the first ones and the size of many."""
    if len(found.ranges) <= _SHOWN_RANGES:
        return str(found)
    first = Slots(found.ranges[: _SHOWN_RANGES - 1])
    return f"{first},… ({len(found)} in {len(found.ranges)} ranges)"


def steps(found: Iterable[Step]) -> str:
    """Return how many steps of each kind there are: "3 config epochs, 3 slot ranges, 5 MEETs"."""
    listed = list(found)
    parts = []
    for kind, one, many in _STEPS:
        number = sum(isinstance(step, kind) for step in listed)
        if number:
            parts.append(count(number, one, many))
    return ", ".join(parts)


def state(health: NodeHealth | None) -> str:
    """Return in a few words what a node lacks most; "away" when it did not answer, "ready" when nothing."""
    if health is None:
        return "away"
    if health.unseen:
        return "joining"
    if health.strangers:
        return "sees strangers"
    if health.stale:
        return "learning roles"
    if not health.in_sync:
        return "syncing"
    return "ready" if health.state_ok else "not serving yet"
