"""Words for counts, durations, names, slots, steps and the state of a node; the same in all output. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from clusterboot.core.steps import Step
from clusterboot.core.verdict import NodeHealth
from clusterboot.render.safe import clean
from clusterboot.slots import ALL, Slots
from clusterboot.wording import count as count
from clusterboot.wording import duration as duration

_MAX_RANGES = 3
_ID = re.compile("[0-9a-f]{40}")
# By kind, in the order in which they are sent.
STEPS = {
    "epoch": "config epoch",
    "slots": "slot range",
    "meet": "MEET",
    "replicate": "REPLICATE",
    "failover": "FAILOVER",
    "slots-move": "slot move",
    "forget": "FORGET",
    "reset": "RESET",
}


def large(number: int, one: str) -> str:
    """Return a number that may be large with its noun: "4,096 slots"."""
    return f"{number:,} {one if number == 1 else one + 's'}"


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
    """Return a node's name; of a node id, which stands for a node without a name, the first 8 digits."""
    return f"{found[:8]}…" if _ID.fullmatch(found) else found


def server(found: str | None) -> str | None:
    """Return a server and its version as nodes report it: "redis 7.0.15" for "Redis 7.0.15"."""
    kind, space, version = (found or "").partition(" ")
    return f"{kind.lower()} {version}" if space and kind in ("Redis", "Valkey") else found


def slots(found: Slots) -> str:
    """Return slots: all ranges where they are few, else the first ones and how many slots there are."""
    if len(found.ranges) <= _MAX_RANGES:
        return str(found)
    first = Slots(found.ranges[: _MAX_RANGES - 1])
    return f"{first},… ({len(found)} in {len(found.ranges)} ranges)"


def percent(number: int) -> str:
    """Return how much of all slots a number of slots is, in per cent: "25.0"."""
    return f"{100 * number / len(ALL):.1f}"


def steps(found: Iterable[Step]) -> str:
    """Return how many steps of each kind there are: "3 config epochs, 3 slot ranges, 5 MEETs"."""
    number = Counter(step.kind for step in found)
    return ", ".join(count(number[kind], name) for kind, name in STEPS.items() if number[kind])


def all_steps(planned: Sequence[Step], again: int, extra: int) -> list[str]:
    """Return the steps that were done: the planned ones, repeated MEETs, MEETs beyond the plan."""
    repeated = f"{count(again, 'MEET')} sent again" if again else ""
    return [part for part in (steps(planned), repeated, count(extra, "extra MEET") if extra else "") if part]


def state(health: NodeHealth | None) -> str:
    """Return what a node lacks first, or "ready"; "away" when it did not answer."""
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
