"""Values of a file to its checked form, or every problem of shape: wrong keys, types and single values."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from clusterboot.topology.document import BROKEN, Spot
from clusterboot.topology.messages import Path, add_problem, instead, section
from clusterboot.topology.model import MAX_NODES
from clusterboot.topology.report import Problems, nearest
from clusterboot.topology.schema import TopologyForm


def validate(values: Any, spot: Spot, problems: Problems) -> TopologyForm:
    """Return the form of `values`, which stand at `spot`.

    Raises TopologyError with every problem of shape, together with those that `problems` has already.
    """
    if not isinstance(values, dict):
        message = "a topology file is a mapping with the keys 'version' and 'nodes'" + instead(values, spot)
        problems.fail("topology-invalid-value", message, spot)
    nodes = values.get("nodes")
    if isinstance(nodes, list) and len(nodes) > MAX_NODES:
        message = f"'nodes' has {len(nodes):,} entries; a topology has at most {MAX_NODES:,} nodes"
        problems.add("topology-too-many-nodes", message, spot.at("nodes"))
        values["nodes"] = BROKEN
    elif isinstance(nodes, list):
        _check_spaces(nodes, spot.at("nodes"), problems)
    try:
        form = TopologyForm.model_validate(values)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
    else:
        problems.finish()
        return form
    # One problem for a value; of what the members of a union say about it, a rule that it breaks says most.
    errors.sort(key=lambda entry: entry["type"] != "value_error")
    paths: set[Path] = set()
    for entry in errors:
        path = _path(entry["loc"], spot)
        if path in paths:
            continue
        if problems.full():
            break  # finding the words takes time
        paths.add(path)
        add_problem(entry, path, values, spot, problems)
    problems.finish()
    raise AssertionError("a wrong shape without a problem")


def _check_spaces(nodes: list[Any], spot: Spot, problems: Problems) -> None:
    """Find addresses that YAML reads as a mapping because of a space, as in `- 10.0.0.1: 6379`."""
    known = section(("nodes", 0))
    for index, entry in enumerate(nodes):
        if isinstance(entry, dict) and len(entry) == 1 and not nearest(next(iter(entry)), known):
            message = "this node is a mapping without 'host' and 'port'"
            hint = "an address is host:port without a space, as in 10.0.0.1:6379"
            problems.add("topology-missing-key", message, spot.at(index), hint=hint)
            nodes[index] = BROKEN


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
