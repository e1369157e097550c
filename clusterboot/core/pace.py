"""How large the windows and the commands of a move by copy are: adapted to what the source bears. Pure.

MIGRATE blocks its source until the target has answered, and a server runs a pipeline in one go: what matters
to clients is how long one pipeline of MIGRATEs takes, and for how long a slot is open. While it is, commands
with several keys of it are answered with TRYAGAIN, and clients give up after some tries: valkey-py and
redis-py sleep about three times for 50 ms before that. Larger windows save round trips, and the writing of
nodes.conf that a window costs on every primary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf


class Pace:
    """The pace of one source.

    `keys` and `calls` are at most in one pipeline of MIGRATEs, `slots` and `window_keys` in one window.
    """

    # Seconds that a pipeline should block the source, and those after which it is made shorter at once.
    AIM, TOO_LONG = 0.002, 0.04
    MAX_CALLS = 3
    # On a busy host any pipeline can be slow: only if all of some were, their length is the reason.
    _SOME = 4
    _FIRST_KEYS, _MAX_KEYS = 16, 400
    _FIRST_WINDOW, _MAX_WINDOW = 400, 400
    _FIRST_SLOTS, _MAX_SLOTS = 1, 128
    # Seconds that a window may be open beyond what any window takes on this host, and for which it may grow.
    _OPEN, _SHORT = 0.03, 0.02
    # Seconds that the target's replicas may need after a window.
    _LAG = 0.25
    # A client that meets ASK before its first MOVED to a node without slots may not know that node (redis-py
    # and valkey-py fail then): so a window has at most this share of the slots that the target serves.
    _SHARE = 20

    def __init__(self) -> None:
        self.keys = self._FIRST_KEYS
        self.calls = 2
        self.slots = self._FIRST_SLOTS
        self.window_keys = self._FIRST_WINDOW
        self._least_open = inf
        self._last: list[float] = []

    def cut(self, left: Sequence[int], keys: Mapping[int, int], served: int) -> Sequence[int]:
        """Return the first of the slots `left`, as many as one window may have, at least one.

        `keys` is the number of keys by slot, where there are any; `served` how many slots the target has.
        """
        most, held = max(1, min(self.slots, served // self._SHARE)), 0
        for place, slot in enumerate(left[:most]):
            held += keys.get(slot, 0)
            if place and held > self.window_keys:
                return left[:place]
        return left[:most]

    def opened(self, slots: int, keys: int, seconds: float) -> None:
        """Take into account that a window with `slots` and `keys` was open for `seconds`.

        Part of it does not depend on the window, and a busy host makes that longer: smaller windows help
        against the rest only. A window with one slot tells anew what that part is.
        """
        self._least_open = min(self._least_open, seconds) if slots > 1 else seconds
        more = seconds - self._least_open
        full, many = slots >= self.slots, keys >= self.window_keys // 2
        if more > self._OPEN:
            factor = max(0.5, self._SHORT / more)
            self.slots = max(1, int(min(slots, self.slots) * factor))
            self.window_keys = max(1, int(min(keys, self.window_keys) * factor))
        elif more < self._SHORT:
            if full:
                self.slots = min(self._MAX_SLOTS, self.slots * 5 // 4 + 1)
            if many:
                self.window_keys = min(self._MAX_WINDOW, self.window_keys * 5 // 4 + 1)

    def learn(self, keys: int, seconds: float) -> None:
        """Take into account that a pipeline with `keys` took `seconds`."""
        if seconds > self.TOO_LONG:
            # Large keys: their number is what can be changed.
            self.keys, self.calls = max(1, int(min(keys, self.keys) * self.AIM / seconds)), 1
            self._last.clear()
            return
        self._last.append(seconds)
        if len(self._last) < self._SOME:
            return
        fastest = min(self._last)
        self._last.clear()
        # A call costs as much as about ten keys, so there are fewer calls before there are fewer keys in one.
        if fastest > 2 * self.AIM and self.calls > 1:
            self.calls -= 1
        elif fastest > 2 * self.AIM:
            self.keys = max(1, min(self.keys, keys) // 2)
        elif fastest < self.AIM:
            self.keys = min(self._MAX_KEYS, self.keys + max(1, self.keys // 2))
            self.calls = min(self.MAX_CALLS, self.calls + 1)

    def lagged(self, seconds: float) -> None:
        """Take into account that the target's replicas had all of a window `seconds` after its end."""
        if seconds > self._LAG:
            self.window_keys = max(1, self.window_keys // 2)


def first_window(slots: Sequence[int], keys: Mapping[int, int]) -> Sequence[int]:
    """Return one of `slots`, with the fewest keys: the first slot of a target that has none.

    Only a replica of a primary with slots is promoted if the primary dies.
    """
    return [min(slots, key=lambda slot: keys.get(slot, 0))]
