"""Values of the file to checked forms; every value of a wrong shape becomes a problem in plain words.

What is wrong is taken out and the rest is tried again, so that later checks can still find the other
problems of the file.
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from clusterboot.topology.document import BROKEN, EMPTY, Spot
from clusterboot.topology.model import MAX_NODES
from clusterboot.topology.report import LIMIT, Problems, but, cut, listed, may_hold_secret, nearest, shown
from clusterboot.topology.schema import ENTRIES, SECTIONS, SETTING_SAYS, Form, Says, TopologyForm

_Path = tuple[str | int, ...]
_ROUNDS = 4
_OLD_WORDS = {"master": "primary", "slave": "replica"}


def shape(values: Any, spot: Spot, problems: Problems) -> TopologyForm | None:
    """Return the form of `values`, without the parts that `problems` now tells about.

    `values` and `spot` are pruned in place. None when nothing useful is left.
    """
    if not isinstance(values, dict):
        message = "a topology file is a mapping with the keys 'version' and 'nodes'" + _but(values, spot)
        problems.add("topology-invalid-value", message, spot)
        return None
    nodes = values.get("nodes")
    if isinstance(nodes, list) and len(nodes) > MAX_NODES:
        message = f"'nodes' has {len(nodes):,} entries; a topology has at most {MAX_NODES:,} nodes"
        problems.add("topology-too-many-nodes", message, spot.at("nodes"))
        return None
    if isinstance(nodes, list):
        _tell_spaces(nodes, spot.at("nodes"), problems)
    for attempt in range(_ROUNDS):
        try:
            return TopologyForm.model_validate(values)
        except ValidationError as error:
            found = error.errors(include_url=False, include_input=False)
        # Of what the members of a union say about one value, a rule that it breaks says the most.
        found.sort(key=lambda entry: entry["type"] != "value_error")
        pruned: set[_Path] = set()
        for entry in found:
            path = _path(entry["loc"], spot)
            missing = entry["type"] == "missing"
            if path in pruned and not missing:
                continue
            # Later rounds only complain about what the earlier ones took out.
            if attempt == 0:
                _tell(entry, path, values, spot, problems)
            pruned.add(path)
            if problems.full and len(found) > 10 * LIMIT:
                problems.more = True
                return None  # nonsense: looking for more in the rest would only take time
        if not _prune(pruned, values, spot):
            return None
    return None


def _path(location: _Path, spot: Spot) -> _Path:
    """Return `location` without pydantic's own steps (the tags of union members)."""
    path: list[str | int] = []
    for index, step in enumerate(location):
        if step in spot.items:
            path.append(step)
            spot = spot.items[step]
        elif index == len(location) - 1 and isinstance(step, str) and step in _section(tuple(path)):
            path.append(step)  # a key that is missing
    return tuple(path)


def _words(path: _Path) -> tuple[str, ...]:
    return tuple(step for step in path if isinstance(step, str))


def _section(path: _Path) -> dict[str, Any]:
    form: type[Form] | None = SECTIONS.get(_words(path))
    return dict(form.model_fields) if form else {}


def _says(path: _Path) -> Says:
    """Return what the value at `path` must be."""
    words = _words(path)
    if isinstance(path[-1], int):
        return ENTRIES[words[-1]]
    field = _section(path[:-1]).get(words[-1])
    if field is None:
        return SETTING_SAYS
    return next(part for part in field.metadata if isinstance(part, Says))


def _required(path: _Path) -> bool:
    field = _section(path[:-1]).get(str(path[-1]))
    return field is not None and bool(field.is_required())


def _tell(entry: Any, path: _Path, values: Any, spot: Spot, problems: Problems) -> None:
    """Note the problem that pydantic found at `path`."""
    if entry["type"] == "missing":
        _tell_missing(path, spot, problems)
        return
    if entry["type"] == "extra_forbidden":
        _tell_unknown(path, spot, problems)
        return
    value = values
    for step in path:
        value = value[step]
    if value is BROKEN:
        return
    place, says = spot.at(*path), _says(path)
    name = f"'{path[-1]}'" if isinstance(path[-1], str) else f"an entry of '{path[-2]}'"
    if value is EMPTY:
        message = f"{name} has no value; it must be {says.text}"
        hint = "give it a value" if _required(path) else "give it a value, or leave it out"
        problems.add("topology-no-value", message, place, hint=hint)
        return
    if path == ("version",) and type(value) is int:
        message = f"version {shown(str(value))[1:-1]} is not known; this clusterboot reads version 1"
        problems.add("topology-version", message, place, hint="write version: 1, or use a newer clusterboot")
        return
    own = str(entry.get("ctx", {}).get("error", "")) if entry["type"] == "value_error" else ""
    code = "topology-invalid-value"
    # Of what a secret must be only the rule for paths has words of its own, and they repeat nothing.
    if own and (says.kind != "secret" or path[-1] == "password_file"):
        if path[-1] in ("host", "server_name") or (path[0] == "nodes" and len(path) == 2):
            code = "topology-invalid-address"
        problems.add(code, cut(own), place)
        return
    secret = "auth" in path and path[-1] != "username"
    message = f"{name} must be {says.text}{'' if secret else _but(value, place)}"
    meant = _OLD_WORDS.get(str(value).lower()) or nearest(str(value)[:40], says.choices)
    if meant and isinstance(value, str):
        message += f"; did you mean '{meant}'?"
    problems.add(code, message, place, hint=_advice(value, place, says, path))


def _tell_missing(path: _Path, spot: Spot, problems: Problems) -> None:
    owner = "the file"
    if len(path) > 1:
        owner = "this node" if isinstance(path[-2], int) else f"'{path[-2]}'"
    message = f"{owner} has no '{path[-1]}', which must be {_says(path).text}"
    hint = "write version: 1" if path == ("version",) else None
    problems.add("topology-missing-key", message, spot.at(*path[:-1]), hint=hint)


def _tell_spaces(nodes: list[Any], spot: Spot, problems: Problems) -> None:
    """Note addresses that YAML read as a mapping because of a space, as in `- 10.0.0.1: 6379`."""
    known = list(_section(("nodes", 0)))
    for index, entry in enumerate(nodes):
        if isinstance(entry, dict) and len(entry) == 1 and not nearest(next(iter(entry)), known):
            message = "this node is a mapping without 'host' and 'port'"
            hint = "an address is host:port without a space, as in 10.0.0.1:6379"
            problems.add("topology-missing-key", message, spot.at(index), hint=hint)
            nodes[index] = BROKEN
            spot.items[index] = Spot(spot.at(index).line, spot.at(index).column)


def _tell_unknown(path: _Path, spot: Spot, problems: Problems) -> None:
    owner, word = spot.at(*path[:-1]), str(path[-1])
    known = list(_section(path[:-1]))
    place = owner.keys.get(word, owner)
    meant = nearest(word, known)
    here = f" in '{_words(path)[-2]}'" if len(_words(path)) > 1 else ""
    allowed = f"allowed{here} are {listed(known)}"
    # Under auth a key that is nowhere near a known one may be a password.
    hide = may_hold_secret(word) or ("auth" in path[:-1] and not meant)
    message = "unknown key" if hide else f"unknown key {shown(word)}"
    hint: str | None = allowed
    if meant:
        message += f", did you mean '{meant}'?"
    else:
        hint = next(
            (f"'{word}' goes under '{keys[-1]}'" for keys, form in SECTIONS.items()
             if keys and word in form.model_fields and keys != _words(path[:-1])),
            None,
        )  # fmt: skip
        if hint is None or hide:
            hint = allowed
        message += f"; {hint}"
    problems.add("topology-unknown-key", message, place, hint=hint if meant else None)


def _but(value: Any, spot: Spot) -> str:
    """Return what the value is instead, as the end of a sentence."""
    if isinstance(value, dict):
        return ", not a mapping" if value else ", not an empty mapping"
    if isinstance(value, list):
        return ", not a list" if value else ", not an empty list"
    text = spot.text or ""
    if isinstance(value, bool):
        meaning = "true" if value else "false"
        return f", not {meaning}" + (
            "" if text.lower() == meaning else f" (what YAML makes of {shown(text)})"
        )
    if isinstance(value, int | float):
        return f", not the number {shown(text)[1:-1]}"
    return but(text) if text else ", not the empty text"


def _advice(value: Any, spot: Spot, says: Says, path: _Path) -> str | None:
    """Return the next step where YAML read something else than was meant."""
    text = spot.text
    if text is None:
        if path[-1] == "host" and isinstance(value, list):
            return 'put an IPv6 address in quotes: "::1"'
        return None
    if path == ("nodes",):
        return "put '- ' in front of each node"
    if says.kind == "secret":
        return None if isinstance(value, str) else "put it in quotes"
    if says.choices and text not in says.choices:
        return None
    if says.kind == "text" and not isinstance(value, str) and not may_hold_secret(text):
        return f'put it in quotes: "{text}"' if len(text) <= 40 else "put it in quotes"
    if says.kind == "number" and isinstance(value, str):
        digits = text.replace("_", "").lstrip("0")
        if digits.isdecimal() and digits.isascii() and len(digits) < 10:
            return f"write it without {'leading zeros or underscores' if spot.plain else 'quotes'}: {digits}"
        if path[-1] == "port" and set(text) <= set("0123456789-:"):
            return "a range of ports needs the short form, as in 10.0.0.1:7001-7006"
        return "write it in decimal, as in 6379" if text[:2].lower() in ("0x", "0o", "0b") else None
    if says.kind == "bool" and isinstance(value, str) and text.lower() in ("true", "false", "yes", "no"):
        return f"write it without quotes: {text.lower()}"
    return None


def _prune(paths: set[_Path], values: dict[str, Any], spot: Spot) -> bool:
    """Take out the values at `paths`; a missing key takes out the mapping that lacks it.

    Return False when nothing useful is left.
    """
    gone: dict[_Path, set[int]] = {}
    for path in paths:
        if not path:
            return False
        if path == ("version",):
            values["version"] = 1
            continue
        if not _exists(path, values):
            path = path[:-1]
        if not path:
            return False
        owner, key = path[:-1], path[-1]
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


def _exists(path: _Path, values: Any) -> bool:
    for step in path:
        if isinstance(values, list) and isinstance(step, int) and step < len(values):
            values = values[step]
            continue
        if not isinstance(values, dict) or step not in values:
            return False
        values = values[step]
    return True
