"""Values of the file to checked forms; every value of a wrong shape becomes a problem in plain words.

What is wrong is taken out and the rest is tried again, so that later checks can still find the other
problems of the file.
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from clusterboot.topology.document import Spot
from clusterboot.topology.lost import Lost, Path
from clusterboot.topology.messages import instead, section, tell, tell_spaces
from clusterboot.topology.model import MAX_NODES
from clusterboot.topology.report import LIMIT, Problems
from clusterboot.topology.schema import TopologyForm

_ROUNDS = 4
# Stands where no entry of 'nodes' is left, so that the rest of the file can be checked.
_NODES = ("localhost:1",)


def shape(values: Any, spot: Spot, problems: Problems) -> tuple[TopologyForm, Lost] | None:
    """Return the form of `values`, without the parts that `problems` now tells about, and what these were.

    `values` and `spot` are pruned in place. None when nothing useful is left.
    """
    if not isinstance(values, dict):
        message = "a topology file is a mapping with the keys 'version' and 'nodes'" + instead(values, spot)
        problems.add("topology-invalid-value", message, spot)
        return None
    lost = Lost()
    lost.doubt(spot)
    nodes = values.get("nodes")
    if isinstance(nodes, list) and len(nodes) > MAX_NODES:
        message = f"'nodes' has {len(nodes):,} entries; a topology has at most {MAX_NODES:,} nodes"
        problems.add("topology-too-many-nodes", message, spot.at("nodes"))
        _no_nodes(values, spot, lost)
    elif isinstance(nodes, list):
        tell_spaces(nodes, spot.at("nodes"), problems)
    for attempt in range(_ROUNDS):
        try:
            return TopologyForm.model_validate(values), lost
        except ValidationError as error:
            found = error.errors(include_url=False, include_input=False)
        # Of what the members of a union say about one value, a rule that it breaks says the most.
        found.sort(key=lambda entry: entry["type"] != "value_error")
        pruned: set[Path] = set()
        for entry in found:
            path = _path(entry["loc"], spot)
            missing = entry["type"] == "missing"
            if path in pruned and not missing:
                continue
            # Later rounds only complain about what the earlier ones took out.
            if attempt == 0:
                tell(entry, path, values, spot, problems)
            pruned.add(path)
            if problems.full and len(found) > 10 * LIMIT:
                problems.more = True
                return None  # nonsense: looking for more in the rest would only take time
        if not _prune(pruned, values, spot, lost):
            return None
    return None


def _path(location: Path, spot: Spot) -> Path:
    """Return `location` without pydantic's own steps (the tags of union members)."""
    path: list[str | int] = []
    for index, step in enumerate(location):
        if step in spot.items:
            path.append(step)
            spot = spot.items[step]
        elif index == len(location) - 1 and isinstance(step, str) and step in section(tuple(path)):
            path.append(step)  # a key that is missing
    return tuple(path)


def _no_nodes(values: dict[str, Any], spot: Spot, lost: Lost) -> None:
    values["nodes"] = list(_NODES)
    spot.items.pop("nodes", None)
    lost.all_nodes = True


def _prune(paths: set[Path], values: dict[str, Any], spot: Spot, lost: Lost) -> bool:
    """Take out the values at `paths`; a missing key takes out the mapping that lacks it.

    Return False when nothing useful is left.
    """
    gone: dict[Path, set[int]] = {}
    for path in paths:
        if not path:
            return False
        if path == ("version",):
            values["version"] = 1
            continue
        if path == ("nodes",):
            _no_nodes(values, spot, lost)
            continue
        if not _exists(path, values):
            path = path[:-1]
        if not path:
            return False
        owner, key = path[:-1], path[-1]
        lost.take(path, spot.at(*path))
        if isinstance(key, int):
            gone.setdefault(owner, set()).add(key)
        elif _exists(path, values):
            parent = values
            for step in owner:
                parent = parent[step]  # type: ignore[index]
            parent.pop(key)
            spot.at(*owner).items.pop(key, None)
    # Entries last, and the deepest lists first: indexes in the other paths must still fit.
    for owner in sorted(gone, key=len, reverse=True):
        entries: Any = values
        for step in owner:
            entries = entries[step]
        spots = spot.at(*owner).items
        kept = [index for index in range(len(entries)) if index not in gone[owner]]
        renumbered: dict[str | int, Spot] = {new: spots[old] for new, old in enumerate(kept)}
        entries[:] = [entries[index] for index in kept]
        spots.clear()
        spots.update(renumbered)
    return True


def _exists(path: Path, values: Any) -> bool:
    for step in path:
        if isinstance(values, list) and isinstance(step, int) and step < len(values):
            values = values[step]
            continue
        if not isinstance(values, dict) or step not in values:
            return False
        values = values[step]
    return True
