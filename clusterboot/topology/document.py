"""YAML text to plain values, with the place of every key and value.

Works on parser events with its own stack: nesting cannot exhaust Python's or C's, and an alias is
counted at its full size before anything walks the values it stands for ("billion laughs").
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml

from clusterboot.topology.report import Problems
from clusterboot.topology.scalars import BROKEN, EMPTY, Marker, plain_value
from clusterboot.topology.syntax import explain
from clusterboot.topology.text import check_characters

MAX_DEPTH = 32
MAX_VALUES = 100_000
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_STANDARD = "tag:yaml.org,2002:"


@dataclass(slots=True)
class Spot:
    """Where one value stands, and how it is written.

    `text` is the raw scalar (None for lists and mappings), `plain` whether it stands without quotes.
    `keys` has the spots of a mapping's keys, `items` those of the values of a mapping or a list.
    `doubtful` are the keys of a mapping that stand there twice, and "" where a key could not be read.
    """

    line: int
    column: int
    text: str | None = None
    plain: bool = False
    keys: dict[str, Spot] = field(default_factory=dict)
    items: dict[str | int, Spot] = field(default_factory=dict)
    doubtful: set[str] = field(default_factory=set)

    def at(self, *path: str | int) -> Spot:
        """Return the spot at `path` below this one; the nearest that exists where part is missing."""
        spot = self
        for step in path:
            if step not in spot.items:
                break
            spot = spot.items[step]
        return spot


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end has not come yet."""

    value: Any
    spot: Spot
    anchor: str | None
    size: int = 1
    key: str | Marker | None = None
    key_spot: Spot | None = None
    merged: list[tuple[dict[str, Any], Spot]] = field(default_factory=list)


_MERGE = Marker("MERGE")


class _UnreadableError(Exception):
    """Reading on makes no sense."""


def compose(text: str, problems: Problems) -> tuple[Any, Spot] | None:
    """Return the values of the only document in `text` and their spots.

    None when the text cannot be read to its end; then, and wherever a value is BROKEN, `problems`
    says why.
    """
    check_characters(text, problems)
    if problems:
        return None
    composer = _Composer(problems)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            composer.take(event)
    except _UnreadableError:
        return None
    except yaml.YAMLError as error:
        message, place, hint = explain(error, text)
        problems.add("topology-syntax", message, place, hint=hint)
        return None
    except ValueError:  # the pure Python scanner, on "\U00110000"
        problems.add("topology-syntax", "an escape stands for a character that does not exist", None)
        return None
    if composer.root is None or composer.root[0] is EMPTY:
        hint = "start with the two lines 'version: 1' and 'nodes:'"
        problems.add("topology-empty", "the file is empty; it needs 'version' and 'nodes'", None, hint=hint)
        return None
    return composer.root


class _Composer:
    def __init__(self, problems: Problems) -> None:
        self.problems = problems
        self.root: tuple[Any, Spot] | None = None
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[Any, Spot, int]] = {}
        self._total = 0
        self._documents = 0

    def take(self, event: Any) -> None:
        kind = type(event)
        if kind is yaml.ScalarEvent:
            spot = _spot(event)
            spot.text, spot.plain = event.value, event.implicit[0]
            value = self._resolve(event, spot)
            if event.anchor:
                self._anchors[event.anchor] = (value, spot, 1)
            self._put(value, spot, 1)
        elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
            self._start(event, {} if kind is yaml.MappingStartEvent else [])
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            self._end()
        elif kind is yaml.AliasEvent:
            self._alias(event)
        elif kind is yaml.DocumentStartEvent:
            self._documents += 1
            if self._documents > 1:
                message = "a second document starts here; a topology file is one document"
                self.problems.add("topology-documents", message, _spot(event), hint="one file per cluster")
                raise _UnreadableError

    def _resolve(self, event: Any, spot: Spot) -> Any:
        text: str = event.value
        tag = event.tag
        if tag not in (None, "!"):
            if tag == _STANDARD + "str":
                spot.plain = False
                return text
            self._tagged(spot)
            return BROKEN
        if not spot.plain:
            return text
        return plain_value(text)

    def _tagged(self, spot: Spot) -> None:
        # What follows the ! is not repeated: it may be a password that starts with one.
        message = "a '!' starts a YAML tag, which a topology file does not use"
        self.problems.add("topology-tag", message, spot, hint="put the value in quotes if the '!' is meant")

    def _start(self, event: Any, value: Any) -> None:
        spot = _spot(event)
        if len(self._open) >= MAX_DEPTH:
            message = f"this is nested deeper than {MAX_DEPTH} levels; a topology file needs 4"
            self.problems.add("topology-nesting", message, spot)
            raise _UnreadableError
        if event.tag not in (None, "!", _STANDARD + "map", _STANDARD + "seq"):
            self._tagged(spot)
        if event.anchor:
            self._anchors[event.anchor] = (BROKEN, spot, 0)  # until its end: it cannot hold itself
        self._open.append(_Open(value, spot, event.anchor))

    def _end(self) -> None:
        done = self._open.pop()
        for source, source_spot in done.merged:
            self._count(len(source), done.spot)
            done.spot.doubtful |= source_spot.doubtful
            for key in source:
                if key not in done.value:
                    done.value[key] = source[key]
                    done.spot.keys[key] = source_spot.keys[key]
                    done.spot.items[key] = source_spot.items[key]
        if done.anchor:
            self._anchors[done.anchor] = (done.value, done.spot, done.size)
        self._put(done.value, done.spot, done.size)

    def _alias(self, event: Any) -> None:
        spot = _spot(event)
        value, anchored, size = self._anchors.get(event.anchor, (BROKEN, spot, -1))
        if value is BROKEN and size < 1:
            # The name is not repeated: it may be a password that starts with a *.
            message = (
                "this alias stands for a value that holds the alias itself"
                if size == 0
                else "a '*' starts a YAML alias, and no anchor '&' of that name comes before it"
            )
            hint = "put the value in quotes if the '*' is meant"
            self.problems.add("topology-alias", message, spot, hint=hint)
            anchored = spot  # nothing below it: it would hold itself
        self._count(max(size, 0), spot)
        self._put(value, anchored, max(size, 0))

    def _count(self, size: int, spot: Spot) -> None:
        self._total += size
        if self._total > MAX_VALUES:
            message = f"the file has more than {MAX_VALUES:,} values, each alias counted in full"
            self.problems.add("topology-too-many-values", message, spot)
            raise _UnreadableError

    def _put(self, value: Any, spot: Spot, size: int) -> None:
        self._count(1, spot)
        if not self._open:
            self.root = (value, spot)
            return
        parent = self._open[-1]
        parent.size += size
        if isinstance(parent.value, list):
            parent.spot.items[len(parent.value)] = spot
            parent.value.append(value)
        elif parent.key is None:
            self._key(parent, spot)
        else:
            self._pair(parent, value, spot)
            parent.key = None

    def _key(self, parent: _Open, spot: Spot) -> None:
        parent.key_spot = spot
        if spot.text is None:
            parent.key = BROKEN
            parent.spot.doubtful.add("")
            message = "a key must be a word, not a list or a mapping"
            hint = "put a value that starts with '{' or '[' in quotes"
            self.problems.add("topology-key", message, spot, hint=hint)
        elif spot.text == "<<" and spot.plain:
            parent.key = _MERGE
        elif spot.text in parent.spot.keys:
            parent.key = BROKEN
            parent.spot.doubtful.add(spot.text)
            first = parent.spot.keys[spot.text].line
            # The key is not repeated: under auth it may be a password, as in {hunter2, hunter2}.
            message = f"this key is given twice, first on line {first}"
            self.problems.add("topology-duplicate-key", message, spot, hint="keep one of the two")
        else:
            parent.key = spot.text

    def _pair(self, parent: _Open, value: Any, spot: Spot) -> None:
        key, key_spot = parent.key, parent.key_spot
        if isinstance(key, str) and key_spot is not None:
            parent.value[key] = value
            parent.spot.keys[key] = key_spot
            parent.spot.items[key] = spot
        elif key is _MERGE:
            if isinstance(value, dict):
                parent.merged.append((value, spot))
            elif isinstance(value, list) and all(isinstance(part, dict) for part in value):
                parent.merged += [(part, spot.items[index]) for index, part in enumerate(value)]
            else:
                parent.spot.doubtful.add("")
                if value is BROKEN:
                    return
                message = "'<<' takes a mapping, or a list of mappings, to copy keys from"
                self.problems.add("topology-merge", message, spot)


def _spot(event: Any) -> Spot:
    return Spot(event.start_mark.line + 1, event.start_mark.column + 1)
