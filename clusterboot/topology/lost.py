"""What had to be taken out of a file because it is wrong, and what therefore nobody can tell about the rest.

A check goes on with the valid part of a file unless something that is gone could have changed its
result: a node that seems not to be there may be the one whose entry has a problem of its own.
"""

from __future__ import annotations

from clusterboot.topology.document import Spot

Path = tuple[str | int, ...]
"""Where a value is: keys, and positions in lists."""

# Keys of a node that neither make it a primary or a replica nor say which slots it has.
_HARMLESS = frozenset({"name", "bus_port", "zone", "weight", "announce", "auth"})
_EMPTY = frozenset({"", "~", "null", "Null", "NULL"})


class Lost:
    """What is gone from one file; `all_nodes` when nothing of the list of nodes is left."""

    def __init__(self) -> None:
        self.all_nodes = False
        self._keys: set[tuple[str, ...]] = set()
        self._texts: set[str] = set()
        self._entries = False
        self._illegible = False

    def take(self, path: Path, spot: Spot) -> None:
        """Note that the value at `path` is gone; `spot` is where it stands."""
        keys = tuple(step for step in path if isinstance(step, str))
        self._keys.add(keys)
        if keys[:1] != ("nodes",):
            return
        self._read(spot)
        if len(path) < 3:
            self._entries = True
        elif keys[1:] == ("name",):
            self._illegible |= spot.text in _EMPTY
        elif spot.text in _EMPTY:
            self._texts.add(keys[-1])  # {a, host: h} has a name without its key

    def doubt(self, spot: Spot) -> None:
        """Note keys of the file, and of its nodes, of which only one of several values was read."""
        self._keys |= {(key,) for key in spot.doubtful}
        if not spot.doubtful <= spot.keys.keys() or "nodes" in spot.doubtful:
            self._keys.add(("nodes",))
            self._entries = self._illegible = True
        for entry in spot.at("nodes").items.values() if "nodes" in spot.items else ():
            self._keys |= {("nodes", key) for key in entry.doubtful}
            self._entries |= bool(entry.doubtful - _HARMLESS)
            self._illegible |= not entry.doubtful <= entry.keys.keys() - {"name"}

    @property
    def roles(self) -> bool:
        """Whether the number of nodes, primaries or replicas may be another than it seems."""
        return ("replicas",) in self._keys or any(
            keys[0] == "nodes" and not (len(keys) > 1 and keys[1] in _HARMLESS) for keys in self._keys if keys
        )

    @property
    def shares(self) -> bool:
        """Whether slots or weights may be others than they seem."""
        return ("slots",) in self._keys or ("nodes", "weight") in self._keys

    def may_be(self, text: str) -> bool:
        """Return whether the node called `text` may be one that is gone, or has lost its name."""
        return self._illegible or text in self._texts or (self._entries and ":" in text)

    def _read(self, spot: Spot) -> None:
        """Keep every word of what is gone: one of them may be the name of a node."""
        self._illegible |= spot.text is None and not spot.keys and not spot.items
        self._texts |= spot.keys.keys()
        if spot.text is not None:
            self._texts.add(spot.text)
        for part in spot.items.values():
            self._read(part)
