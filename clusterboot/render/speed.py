"""How fast slots move, and how long the rest may take. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from clusterboot.core.events import Moved

# Seconds of the past that the rate is taken from: moving adapts to what the nodes bear.
_WINDOW = 30.0
# Below this many seconds, a rate says nothing yet.
_LEAST = 0.5


@dataclass(frozen=True, slots=True)
class Speed:
    """What was told about a move so far: the events of the last `_WINDOW` seconds and the one before them."""

    told: tuple[Moved, ...] = ()

    def after(self, event: Moved) -> Speed:
        """Return the speed with one more event; one that goes back is the start of another move."""
        if self.told and event.seconds < self.told[-1].seconds:
            return Speed((event,))
        since = event.seconds - _WINDOW
        start = max((at for at, each in enumerate(self.told) if each.seconds <= since), default=0)
        return Speed((*self.told[start:], event))

    @property
    def last(self) -> Moved | None:
        """The last event, or None when nothing has moved yet."""
        return self.told[-1] if self.told else None

    def rates(self) -> tuple[float, float]:
        """Return slots and keys per second; zeros where that cannot be told yet."""
        if not self.told:
            return 0.0, 0.0
        last, first = self.told[-1], self.told[0]
        if len(self.told) == 1 or last.seconds - first.seconds < _LEAST:
            first = Moved(0, 0, 0, 0, 0.0)
        took = last.seconds - first.seconds
        if took < _LEAST:
            return 0.0, 0.0
        return (last.slots - first.slots) / took, (last.keys - first.keys) / took

    def seconds_left(self) -> float | None:
        """Return about how many seconds the rest takes, by slots or by keys: the more; None if not known."""
        last = self.last
        if last is None:
            return None
        rates = self.rates()
        left = (last.all_slots - last.slots, last.all_keys - last.keys)
        waits = (rest / rate for rest, rate in zip(left, rates, strict=True) if rest > 0 and rate > 0)
        return max(waits, default=None)

    def parts(self) -> Iterator[str]:
        """Yield what a line says: slots, keys, rate and, until all slots are moved, the time left."""
        last = self.last
        if last is None:
            return
        yield f"{last.slots:,} of {last.all_slots:,} slots"
        yield from self.details()

    def details(self) -> Iterator[str]:
        """Yield what the bar of slots does not show."""
        last = self.last
        if last is None:
            return
        over = last.slots >= last.all_slots
        if last.keys or last.all_keys:
            about = "" if over else f" of about {max(last.keys, last.all_keys):,}"
            yield f"{last.keys:,}{about} keys"
        slots, keys = self.rates()
        if last.all_keys and keys:
            yield f"{keys:,.0f} keys/s"
        elif slots:
            yield f"{slots:,.0f} slots/s"
        left = self.seconds_left()
        if left is not None and not over:
            yield f"about {_rounded(left)} left"


def _rounded(seconds: float) -> str:
    """Return an estimate: "5 s", "12 min", "3 h 5 min"."""
    if seconds < 120:
        return f"{max(1, round(seconds))} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
