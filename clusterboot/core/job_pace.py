"""How large an atomic job of Valkey is: adapted to how long writers have to wait for it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf


class JobPace:
    """How many slots and keys a job may have, so that a writer does not wait longer than 100 ms for it.

    A job pauses all writes of its source until the target has saved that the slots are its own, and then the
    source deletes the keys: measured 2 to 60 ms for 1 to 1,365 slots, and about 5 ms per 1,000 keys. The
    first part does not depend on the job, and a busy disk makes it longer: so only what comes on top of it
    makes jobs smaller, and not below a size that helps.
    """

    _AIM, _TOO_LONG = 0.04, 0.08
    _LEAST_SLOTS, _LEAST_KEYS = 50, 500
    _MOST_SLOTS, _MOST_KEYS = 400, 50_000

    def __init__(self) -> None:
        self.slots = 100
        self.keys = 6_000
        self._most_slots = self._MOST_SLOTS
        self._least_pause = inf

    def cut(self, left: Sequence[int], keys: Mapping[int, int]) -> Sequence[int]:
        """Return the first of the slots `left`, as many as one job may have, at least one."""
        total = 0
        for place, slot in enumerate(left[: self.slots]):
            total += keys.get(slot, 0)
            if place and total > self.keys:
                return left[:place]
        return left[: self.slots]

    def learn(self, slots: int, keys: int, pause: float) -> None:
        """Take into account that a job with `slots` and `keys` paused writes for at most `pause` seconds."""
        if pause:  # else it was too short to be seen
            self._least_pause = min(self._least_pause, pause)
        more = max(0.0, pause - self._least_pause)
        full, many = slots >= self.slots, keys >= self.keys // 2
        if pause > self._TOO_LONG and more > self._AIM:
            factor = max(0.5, self._AIM / more)
            if full and self.slots > self._LEAST_SLOTS:
                self.slots = max(self._LEAST_SLOTS, int(self.slots * factor))
            if many:
                self.keys = max(self._LEAST_KEYS, int(self.keys * factor))
        elif more < self._AIM / 2:
            if full:
                self.slots = min(self._most_slots, self.slots * 5 // 4 + 1)
            if many:
                self.keys = min(self._MOST_KEYS, self.keys * 5 // 4 + 1)

    def starved(self, slots: int) -> None:
        """Take into account that a job with `slots` found no moment in which nothing was written to them."""
        self._most_slots = max(1, slots // 2)
        self.slots = min(self.slots, self._most_slots)
