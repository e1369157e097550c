"""Values of a file to its checked form, or every problem of shape: wrong keys, types and single values."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from clusterboot.topology.document import BROKEN, EMPTY, Spot
from clusterboot.topology.fields import Says
from clusterboot.topology.model import MAX_NODES
from clusterboot.topology.report import Problems, but_not, cut, may_hold_secret, nearest, quoted
from clusterboot.topology.schema import ENTRIES, SECTIONS, SETTING_SAYS, TopologyForm
from clusterboot.wording import listed

Path = tuple[str | int, ...]
"""Where a value is: keys, and positions in lists."""

_OLD_WORDS = {"master": "primary", "slave": "replica"}


def validate(values: Any, spot: Spot, problems: Problems) -> TopologyForm:
    """Return the form of `values`, which stand at `spot`.

    Raises TopologyError with every problem of shape and those already in `problems`.
    """
    if not isinstance(values, dict):
        message = "a topology file is a mapping with the keys 'version' and 'nodes'" + _instead(values, spot)
        problems.fail("topology-invalid-value", message, spot)
    for key in ("nodes", "retire"):
        nodes = values.get(key)
        if isinstance(nodes, list) and len(nodes) > MAX_NODES:
            there = "nodes" if key == "nodes" else "members under 'retire'"
            message = f"'{key}' has {len(nodes):,} entries; a topology has at most {MAX_NODES:,} {there}"
            problems.add("topology-too-many-nodes", message, spot.at(key))
            values[key] = BROKEN
        elif isinstance(nodes, list):
            _check_spaces(key, nodes, spot.at(key), problems)
    try:
        form = TopologyForm.model_validate(values)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
    else:
        problems.finish()
        return form
    # One problem for each value: of the errors of a union's members, that of a broken rule says most.
    errors.sort(key=lambda entry: entry["type"] != "value_error")
    paths: set[Path] = set()
    for entry in errors:
        path = _path(entry["loc"], spot)
        if path in paths:
            continue
        if problems.full():
            break  # finding the words takes time
        paths.add(path)
        _add_problem(entry, path, values, spot, problems)
    problems.finish()
    raise AssertionError("a wrong shape without a problem")


def _check_spaces(key: str, nodes: list[Any], spot: Spot, problems: Problems) -> None:
    """Find addresses that YAML reads as a mapping because of a space, as in `- 10.0.0.1: 6379`."""
    known = _section((key, 0))
    for index, entry in enumerate(nodes):
        if isinstance(entry, dict) and len(entry) == 1 and not nearest(next(iter(entry)), known):
            message = "this node is a mapping without 'host' and 'port'"
            hint = "an address is host:port without a space, as in 10.0.0.1:6379"
            problems.add("topology-missing-key", message, spot.at(index), hint=hint)
            nodes[index] = BROKEN


def _path(location: Path, spot: Spot) -> Path:
    """Return `location` without the steps that pydantic adds (the tags of union members)."""
    path: list[str | int] = []
    for index, step in enumerate(location):
        if step in spot.items:
            path.append(step)
            spot = spot.items[step]
        elif index == len(location) - 1 and isinstance(step, str) and step in _section(tuple(path)):
            path.append(step)  # a key that is missing
    return tuple(path)


def _add_problem(entry: Any, path: Path, values: Any, spot: Spot, problems: Problems) -> None:
    if entry["type"] == "missing":
        _add_missing(path, spot, problems)
        return
    if entry["type"] == "extra_forbidden":
        _add_unknown(path, spot, problems)
        return
    value = values
    for step in path:
        value = value[step]
    if value is BROKEN:
        return
    place, says = spot.at(*path), _says(path)
    # The names of settings are free text, so they are quoted like values.
    name = f"an entry of '{path[-2]}'" if isinstance(path[-1], int) else quoted(path[-1])
    name = "this key" if may_hold_secret(name) else name
    code, hint = "topology-invalid-value", None
    rule = str(entry.get("ctx", {}).get("error", "")) if entry["type"] == "value_error" else ""
    if value is EMPTY:
        code, message = "topology-no-value", f"{name} has no value; it must be {says.text}"
        field = _field(path)
        hint = "give it a value" if field and field.is_required() else "give it a value, or leave it out"
    elif path == ("version",) and type(value) is int:
        code, hint = "topology-version", "write version: 1, or use a newer clusterboot"
        message = f"version {value} is not known; this clusterboot reads version 1"
    elif rule and (says.kind != "secret" or path[-1] == "password_file"):
        # Other texts about secrets may repeat the value (UnicodeEncodeError does).
        if path[-1] in ("host", "server_name") or (path[0] in ("nodes", "retire") and len(path) == 2):
            code = "topology-invalid-address"
        message = cut(rule)
    else:
        secret = "auth" in path and path[-1] != "username"
        message = f"{name} must be {says.text}{'' if secret else _instead(value, place)}"
        meant = _OLD_WORDS.get(str(value).lower()) or nearest(str(value)[:40], says.choices)
        if meant and isinstance(value, str):
            message += f"; did you mean '{meant}'?"
        hint = _hint(value, place, says, path)
    problems.add(code, message, place, hint=hint)


def _add_missing(path: Path, spot: Spot, problems: Problems) -> None:
    owner = "the file"
    if len(path) > 1:
        owner = "this node" if isinstance(path[-2], int) else f"'{path[-2]}'"
    message = f"{owner} has no '{path[-1]}', which must be {_says(path).text}"
    hint = "write version: 1" if path == ("version",) else None
    problems.add("topology-missing-key", message, spot.at(*path[:-1]), hint=hint)


def _add_unknown(path: Path, spot: Spot, problems: Problems) -> None:
    owner, word, section_keys = spot.at(*path[:-1]), str(path[-1]), _keys(path[:-1])
    known = list(_section(path[:-1]))
    meant = nearest(word, known)
    here = f" in '{section_keys[-1]}'" if section_keys else ""
    allowed = f"allowed{here} are {listed(known)}"
    # Under auth a key may be a password, as in {hunter2}.
    hide = may_hold_secret(word) or "auth" in path[:-1]
    message = "unknown key" if hide else f"unknown key {quoted(word)}"
    if meant:
        message += f", did you mean '{meant}'?"
    elif section_keys == ("retire",) and word in SECTIONS["nodes",].model_fields:
        # Whoever retires a node moves its line.
        message = f"{quoted(word)} means nothing for a member that leaves; {allowed}"
    else:
        elsewhere = [keys[-1] for keys, form in SECTIONS.items() if keys and word in form.model_fields]
        message += f"; '{word}' goes under '{elsewhere[0]}'" if elsewhere and not hide else f"; {allowed}"
    place = owner.keys.get(word, owner)
    problems.add("topology-unknown-key", message, place, hint=allowed if meant else None)


def _instead(value: Any, spot: Spot) -> str:
    """Return what the value is instead, as the end of a sentence."""
    if isinstance(value, dict | list):
        kind = "mapping" if isinstance(value, dict) else "list"
        return f", not a {kind}" if value else f", not an empty {kind}"
    text = spot.text or ""
    if isinstance(value, bool):
        meaning = "true" if value else "false"
        made = "" if text.lower() == meaning else f" (what YAML makes of {quoted(text)})"
        return f", not {meaning}{made}"
    if isinstance(value, int | float):
        return f", not the number {cut(text, 40)}"
    return but_not(text) if text else ", not the empty text"


def _hint(value: Any, spot: Spot, says: Says, path: Path) -> str | None:
    """Return the next step where YAML did not read what was meant."""
    text = spot.text
    if text is None:
        ipv6 = path[-1] == "host" and isinstance(value, list)
        return 'put an IPv6 address in quotes: "::1"' if ipv6 else None
    if path in (("nodes",), ("retire",)):
        return "put '- ' in front of each node"
    if path[0] == "retire" and len(path) == 2 and len(text) == 40 and not isinstance(value, str):
        return f'put it in quotes: "{text}"'  # an id without any letter but e
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


def _says(path: Path) -> Says:
    if isinstance(path[-1], int):
        return ENTRIES[_keys(path)[-1]]
    field = _field(path)
    return next(part for part in field.metadata if isinstance(part, Says)) if field else SETTING_SAYS


def _field(path: Path) -> FieldInfo | None:
    return _section(path[:-1]).get(str(path[-1]))


def _section(path: Path) -> dict[str, FieldInfo]:
    """Return the fields of the mapping at `path`; none for a mapping of free keys."""
    form = SECTIONS.get(_keys(path))
    return dict(form.model_fields) if form else {}


def _keys(path: Path) -> tuple[str, ...]:
    return tuple(step for step in path if isinstance(step, str))
