"""Words for values of a wrong shape: what is there, what is allowed, what was probably meant."""

from __future__ import annotations

from typing import Any

from clusterboot.topology.document import Spot
from clusterboot.topology.fields import Says
from clusterboot.topology.lost import Path
from clusterboot.topology.report import Problems, but, cut, listed, may_hold_secret, nearest, shown
from clusterboot.topology.scalars import BROKEN, EMPTY
from clusterboot.topology.schema import ENTRIES, SECTIONS, SETTING_SAYS, Form

_OLD_WORDS = {"master": "primary", "slave": "replica"}


def tell(entry: Any, path: Path, values: Any, spot: Spot, problems: Problems) -> None:
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
    # The names of settings are free, so they are as little to be trusted as values.
    name = f"an entry of '{path[-2]}'" if isinstance(path[-1], int) else shown(path[-1])
    name = "this key" if may_hold_secret(name) else name
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
    message = f"{name} must be {says.text}{'' if secret else instead(value, place)}"
    meant = _OLD_WORDS.get(str(value).lower()) or nearest(str(value)[:40], says.choices)
    if meant and isinstance(value, str):
        message += f"; did you mean '{meant}'?"
    problems.add(code, message, place, hint=_advice(value, place, says, path))


def _tell_missing(path: Path, spot: Spot, problems: Problems) -> None:
    owner = "the file"
    if len(path) > 1:
        owner = "this node" if isinstance(path[-2], int) else f"'{path[-2]}'"
    message = f"{owner} has no '{path[-1]}', which must be {_says(path).text}"
    hint = "write version: 1" if path == ("version",) else None
    problems.add("topology-missing-key", message, spot.at(*path[:-1]), hint=hint)


def tell_spaces(nodes: list[Any], spot: Spot, problems: Problems) -> None:
    """Note addresses that YAML read as a mapping because of a space, as in `- 10.0.0.1: 6379`."""
    known = list(section(("nodes", 0)))
    for index, entry in enumerate(nodes):
        if isinstance(entry, dict) and len(entry) == 1 and not nearest(next(iter(entry)), known):
            message = "this node is a mapping without 'host' and 'port'"
            hint = "an address is host:port without a space, as in 10.0.0.1:6379"
            problems.add("topology-missing-key", message, spot.at(index), hint=hint)
            nodes[index] = BROKEN
            spot.items[index] = Spot(spot.at(index).line, spot.at(index).column, keys=spot.at(index).keys)


def _tell_unknown(path: Path, spot: Spot, problems: Problems) -> None:
    owner, word = spot.at(*path[:-1]), str(path[-1])
    known = list(section(path[:-1]))
    place = owner.keys.get(word, owner)
    meant = nearest(word, known)
    here = f" in '{_words(path)[-2]}'" if len(_words(path)) > 1 else ""
    allowed = f"allowed{here} are {listed(known)}"
    # Under auth a key may be a password, as in {hunter2}.
    hide = may_hold_secret(word) or "auth" in path[:-1]
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


def instead(value: Any, spot: Spot) -> str:
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


def _advice(value: Any, spot: Spot, says: Says, path: Path) -> str | None:
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


def _says(path: Path) -> Says:
    """Return what the value at `path` must be."""
    words = _words(path)
    if isinstance(path[-1], int):
        return ENTRIES[words[-1]]
    field = section(path[:-1]).get(words[-1])
    if field is None:
        return SETTING_SAYS
    return next(part for part in field.metadata if isinstance(part, Says))


def _required(path: Path) -> bool:
    field = section(path[:-1]).get(str(path[-1]))
    return field is not None and bool(field.is_required())


def section(path: Path) -> dict[str, Any]:
    """Return the fields of the mapping at `path`; none where it is no section of the format."""
    form: type[Form] | None = SECTIONS.get(_words(path))
    return dict(form.model_fields) if form else {}


def _words(path: Path) -> tuple[str, ...]:
    return tuple(step for step in path if isinstance(step, str))
