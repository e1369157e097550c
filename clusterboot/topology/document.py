"""YAML text to plain values, with the place of every key and value.

Reads the parser's events: `yaml.compose` loses where an alias stands and crashes the interpreter on deep
nesting (the C loader recurses without a limit). Here the depth is limited, and so is the number of values,
with each alias counted in full ("billion laughs").
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from clusterboot.topology.report import Position, Problems
from clusterboot.topology.text import check_characters, explain

MAX_DEPTH = 32
MAX_VALUES = 100_000
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_STANDARD = "tag:yaml.org,2002:"

EMPTY: Final = object()
"""A key or an entry without a value (YAML's null)."""
BROKEN: Final = object()
"""A value whose problem has been reported already."""

# Scalars without quotes are read as in YAML 1.2, but yes/no/on/off as booleans, as in YAML 1.1. Numbers that
# the two read differently (octal, 7_001, 12:30) stay text: no port becomes another one.
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]{1,4})?")
_WORDS: dict[str, object] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), EMPTY),
    **{spelled: True for word in ("true", "yes", "on") for spelled in (word, word.title(), word.upper())},
    **{spelled: False for word in ("false", "no", "off") for spelled in (word, word.title(), word.upper())},
    **{sign + word: float(sign + "inf") for sign in ("", "-", "+") for word in (".inf", ".Inf", ".INF")},
    **{word: float("nan") for word in (".nan", ".NaN", ".NAN")},
}


@dataclass(slots=True)
class Spot(Position):
    """Where a value stands, and how it is written.

    `text` is the raw scalar (None for lists and mappings), `plain` whether it has no quotes. `keys` and
    `items` are the spots of the keys and values of a mapping; `items` also those of a list.
    """

    text: str | None = None
    plain: bool = False
    keys: dict[str, Spot] = field(default_factory=dict)
    items: dict[str | int, Spot] = field(default_factory=dict)

    def at(self, *path: str | int) -> Spot:
        """Return the spot at `path` below this one, or the nearest one above it that exists."""
        spot = self
        for step in path:
            if step not in spot.items:
                break
            spot = spot.items[step]
        return spot


_Value = tuple[Any, Spot]


def compose(text: str, problems: Problems) -> _Value:
    """Return the value of the only document in `text` and its spot.

    A part that cannot be read is BROKEN, with a problem in `problems`. Raises TopologyError for text that
    cannot be read to its end.
    """
    check_characters(text, problems)
    try:
        document = _Reader(text, problems).document()
    except yaml.YAMLError as error:
        message, place, hint = explain(error, text)
        problems.fail("topology-syntax", message, place, hint)
    except ValueError:  # the pure Python scanner, on "\U00110000"
        problems.fail("topology-syntax", "an escape stands for a character that does not exist", None)
    if document is None or document[0] is EMPTY:
        hint = "start with the two lines 'version: 1' and 'nodes:'"
        problems.fail("topology-empty", "the file is empty; it needs 'version' and 'nodes'", None, hint)
    return document


class _Reader:
    def __init__(self, text: str, problems: Problems) -> None:
        self._events: Any = yaml.parse(text, Loader=_LOADER)
        self._problems = problems
        # By name: the value, and how many values it holds (0: still being read).
        self._anchors: dict[str, tuple[_Value, int]] = {}
        self._count = 0

    def document(self) -> _Value | None:
        document = None
        for event in self._events:
            if isinstance(event, yaml.NodeEvent):
                document = self._value(event, 0)
            elif isinstance(event, yaml.DocumentStartEvent) and document is not None:
                message = "a second document starts here; a topology file is one document"
                self._problems.fail("topology-documents", message, _spot(event), "one file per cluster")
        return document

    def _value(self, event: Any, depth: int) -> _Value:
        spot, before = _spot(event), self._count
        value: Any = BROKEN
        if isinstance(event, yaml.AliasEvent):
            value, spot = self._alias(event.anchor or "", spot)
            self._add_to_count(1, spot)
            return value, spot
        if event.anchor:
            self._anchors[event.anchor] = ((BROKEN, spot), 0)
        if isinstance(event, yaml.ScalarEvent):
            spot.text, spot.plain = event.value, event.implicit[0]
            if event.tag in (None, "!", _STANDARD + "str"):
                value = _plain_value(event.value) if spot.plain else event.value
            else:
                self._tag(spot)
        elif depth >= MAX_DEPTH:
            message = f"this is nested deeper than {MAX_DEPTH} levels; a topology file needs 4"
            self._problems.fail("topology-nesting", message, spot)
        else:
            if event.tag not in (None, "!", _STANDARD + "map", _STANDARD + "seq"):
                self._tag(spot)
            sequence = isinstance(event, yaml.SequenceStartEvent)
            value = self._list(spot, depth + 1) if sequence else self._mapping(spot, depth + 1)
        self._add_to_count(1, spot)
        if event.anchor:
            self._anchors[event.anchor] = ((value, spot), self._count - before)
        return value, spot

    def _list(self, spot: Spot, depth: int) -> list[Any]:
        values: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            value, spot.items[len(values)] = self._value(event, depth)
            values.append(value)
        return values

    def _mapping(self, spot: Spot, depth: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        merged: list[_Value] = []
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            _, key_spot = self._value(event, depth)
            key = key_spot.text
            value, value_spot = self._value(next(self._events), depth)
            if key is None:
                message = "a key must be a word, not a list or a mapping"
                hint = "put a value that starts with '{' or '[' in quotes"
                self._problems.add("topology-key", message, key_spot, hint=hint)
            elif key == "<<" and key_spot.plain:
                merged += self._merged(value, value_spot)
            elif key in values:
                # The key is not repeated: under auth it may be a password, as in {hunter2, hunter2}.
                message = f"this key is given twice, first on line {spot.keys[key].line}"
                self._problems.add("topology-duplicate-key", message, key_spot, hint="keep one of the two")
            else:
                values[key], spot.keys[key], spot.items[key] = value, key_spot, value_spot
        for source, source_spot in merged:
            self._add_to_count(len(source), spot)
            for key, value in source.items():
                if key not in values:
                    values[key] = value
                    spot.keys[key], spot.items[key] = source_spot.keys[key], source_spot.items[key]
        return values

    def _merged(self, value: Any, spot: Spot) -> list[_Value]:
        """Return the mappings that '<<' copies keys from."""
        if isinstance(value, dict):
            return [(value, spot)]
        if isinstance(value, list) and all(isinstance(part, dict) for part in value):
            return [(part, spot.items[index]) for index, part in enumerate(value)]
        if value is not BROKEN:
            message = "'<<' takes a mapping, or a list of mappings, to copy keys from"
            self._problems.add("topology-merge", message, spot)
        return []

    def _alias(self, name: str, spot: Spot) -> _Value:
        anchored, size = self._anchors.get(name, ((BROKEN, spot), 0))
        if size:
            self._add_to_count(size, spot)
            return anchored
        # The name is not repeated: it may be a password that starts with a *.
        message = "a '*' starts a YAML alias, and no anchor '&' of that name comes before it"
        if name in self._anchors:
            message = "this alias stands for a value that holds the alias itself"
        self._problems.add(
            "topology-alias", message, spot, hint="put the value in quotes if the '*' is meant"
        )
        return BROKEN, spot

    def _tag(self, spot: Spot) -> None:
        # What follows the ! is not repeated: it may be a password that starts with one.
        message = "a '!' starts a YAML tag, which a topology file does not use"
        self._problems.add("topology-tag", message, spot, hint="put the value in quotes if the '!' is meant")

    def _add_to_count(self, size: int, spot: Spot) -> None:
        self._count += size
        if self._count > MAX_VALUES:
            message = f"the file has more than {MAX_VALUES:,} values, each alias counted in full"
            self._problems.fail("topology-too-many-values", message, spot)


def _spot(event: Any) -> Spot:
    return Spot(event.start_mark.line + 1, event.start_mark.column + 1)


def _plain_value(text: str) -> object:
    """Return the value of a scalar without quotes: a boolean, a number, text, or EMPTY for null."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text
