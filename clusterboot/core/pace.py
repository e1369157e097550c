"""How large the windows and the commands of a move by copy are: adapted to what the source bears. Pure.

MIGRATE blocks its source until the target has answered, and a server runs a pipeline in one go: what matters
to clients is how long one pipeline of MIGRATEs takes. Many slots in one window cost them nothing by
themselves, and save the round trips and the writing of nodes.conf that a window costs on every primary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


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
    # Seconds that the target's replicas may need after a window.
    _LAG = 0.25

    def __init__(self) -> None:
        self.keys = self._FIRST_KEYS
        self.calls = 2
        self.slots = 128
        self.window_keys = self._FIRST_WINDOW
        self._last: list[float] = []

    def cut(self, left: Sequence[int], keys: Mapping[int, int]) -> Sequence[int]:
        """Return the first of the slots `left`, as many as one window may have, at least one.

        `keys` is the number of keys by slot, where there are any.
        """
        held = 0
        for place, slot in enumerate(left[: self.slots]):
            held += keys.get(slot, 0)
            if place and held > self.window_keys:
                return left[:place]
        return left[: self.slots]

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
        else:
            self.window_keys = min(self._MAX_WINDOW, self.window_keys * 5 // 4 + 1)


def first_window(slots: Sequence[int], keys: Mapping[int, int]) -> Sequence[int]:
    """Return one of `slots`, with the fewest keys: the first slot of a target that has none.

    Only a replica of a primary with slots is promoted if the primary dies.
    """
    return [min(slots, key=lambda slot: keys.get(slot, 0))]
