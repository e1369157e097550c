"""The types of the values in a topology file: names, hosts, ports, paths, slots and so on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, PlainValidator, Tag, WithJsonSchema

from clusterboot.slots import Slots
from clusterboot.topology.address import Pattern, check_host, parse
from clusterboot.topology.report import may_hold_secret, quoted


@dataclass(frozen=True, slots=True)
class Says:
    """What a value must be, for error messages; `kind` decides which hints fit."""

    text: str
    kind: Literal["text", "number", "bool", "secret", "other"] = "text"
    choices: tuple[str, ...] = ()


def _line(text: str) -> str:
    if not text.isprintable() or text != text.strip():
        raise ValueError
    return text


def _path(text: str) -> str:
    if text.startswith("~"):
        raise ValueError("'~' is not expanded; write the whole path, or one relative to this file")
    return _line(text)


def _setting(value: str | float | bool) -> str | float | bool:
    if isinstance(value, str) and not value.isprintable():
        raise ValueError
    return value


def _password(text: str) -> str:
    text.encode("utf-8")  # half of a surrogate pair; UnicodeEncodeError is a ValueError
    return text


def _pattern(value: Any) -> Pattern:
    if not isinstance(value, str):
        raise ValueError
    return parse(value)


def _retired(value: Any) -> Pattern | str:
    """An address, or a node id; nodes write their ids in lower case."""
    if not isinstance(value, str):
        raise ValueError
    if _ID.fullmatch(value):
        return value.lower()
    if _HEX.fullmatch(value):
        raise ValueError(f"a node id has 40 hex digits, and {quoted(value)} has {len(value)}")
    if ":" not in value and not may_hold_secret(value):
        raise ValueError(
            f"{quoted(value)} is neither an address, which has a port, nor a node id of 40 hex digits"
        )
    return parse(value)


def parse_slots(given: str | int | list[str | int]) -> Slots:
    """Return the slots of a node, the empty set for `none`; raises ValueError, often with a message."""
    parts = given if isinstance(given, list) else [given]
    if "none" not in parts:
        slots = Slots.parse(",".join(map(str, parts)))
        if not slots:
            raise ValueError
        return slots
    if len(parts) > 1:
        raise ValueError("'none' stands alone; the list has other slots too")
    return Slots()


def _slots(given: str | int | list[str | int]) -> str | int | list[str | int]:
    parse_slots(given)
    return given


def is_a(kind: type) -> Discriminator:
    """Return a discriminator between values of `kind` and all others; no key can equal its tags."""
    return Discriminator(lambda value: "<kind>" if isinstance(value, kind) else "<other>")


_ID = re.compile(r"[0-9a-fA-F]{40}")
_HEX = re.compile(r"[0-9a-fA-F]{20,}")
_NAME = r"^[A-Za-z0-9_\[][A-Za-z0-9_.:\[\]-]*$"
Name = Annotated[str, Field(pattern=_NAME, max_length=128)]
Host = Annotated[str, AfterValidator(check_host), Field(max_length=1000)]
Port = Annotated[int, Field(ge=1, le=65535)]
Text = Annotated[str, AfterValidator(_line), Field(min_length=1, max_length=1000)]
Path = Annotated[str, AfterValidator(_path), Field(min_length=1, max_length=4096)]
Password = Annotated[str, AfterValidator(_password), Field(min_length=1)]
ShortForm = Annotated[Pattern, PlainValidator(_pattern), WithJsonSchema({"type": "string"})]
Id = Annotated[str, Field(pattern=r"^[0-9a-fA-F]{40}$"), AfterValidator(str.lower)]
RetireText = Annotated[Pattern | str, PlainValidator(_retired), WithJsonSchema({"type": "string"})]
OneSlots = Annotated[str | int, AfterValidator(_slots)]
SlotsForm = Annotated[
    Annotated[OneSlots, Tag("<other>")]
    | Annotated[list[OneSlots], Field(min_length=1), AfterValidator(_slots), Tag("<kind>")],
    is_a(list),
]
Setting = Annotated[str | int | Annotated[float, Field(allow_inf_nan=False)] | bool, AfterValidator(_setting)]
