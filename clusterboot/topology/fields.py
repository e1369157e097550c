"""The kinds of values in a topology file, such as names, hosts, ports, paths and slots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from clusterboot.slots import Slots
from clusterboot.topology.address import parse
from clusterboot.topology.hosts import check_host

Kind = Literal["text", "number", "bool", "secret", "other"]


@dataclass(frozen=True, slots=True)
class Says:
    """What a value must be, in the words of an error message; `kind` decides which advice fits."""

    text: str
    kind: Kind = "text"
    choices: tuple[str, ...] = ()


def _line(text: str) -> str:
    if not text or not text.isprintable() or text != text.strip():
        raise ValueError
    return text


def _path(text: str) -> str:
    if text.startswith("~"):
        raise ValueError("'~' is not expanded; write the whole path, or one relative to this file")
    return _line(text)


def _setting(value: str | float | bool) -> str | float | bool:
    if isinstance(value, str) and not (value.isprintable() or not value):
        raise ValueError
    return value


def _password(text: str) -> str:
    text.encode("utf-8")  # half of a surrogate pair; UnicodeEncodeError is a ValueError
    return text


def _short(text: str) -> str:
    parse(text)
    return text


def _slots(text: str) -> str:
    if text != "none" and not Slots.parse(text):
        raise ValueError
    return text


def _slot(number: int) -> int:
    Slots.parse(str(number))
    return number


def is_a(kind: type) -> Discriminator:
    """Return a discriminator between values of `kind` ("+") and all others ("-")."""
    return Discriminator(lambda value: "+" if isinstance(value, kind) else "-")


_NAME = r"^[A-Za-z0-9_\[][A-Za-z0-9_.:\[\]-]*$"
NAME_SAYS = "1 to 128 letters, digits or any of . _ - : [ ]"
Name = Annotated[str, Field(pattern=_NAME, max_length=128)]
Host = Annotated[str, AfterValidator(check_host), Field(max_length=1000)]
Port = Annotated[int, Field(ge=1, le=65535)]
Text = Annotated[str, AfterValidator(_line), Field(min_length=1, max_length=1000)]
Path = Annotated[str, AfterValidator(_path), Field(min_length=1, max_length=4096)]
Password = Annotated[str, AfterValidator(_password), Field(min_length=1)]
ShortForm = Annotated[str, AfterValidator(_short)]
OneSlots = Annotated[str, AfterValidator(_slots)] | Annotated[int, AfterValidator(_slot)]
SlotsForm = Annotated[
    Annotated[OneSlots, Tag("-")] | Annotated[list[OneSlots], Field(min_length=1), Tag("+")], is_a(list)
]
Setting = Annotated[str | int | Annotated[float, Field(allow_inf_nan=False)] | bool, AfterValidator(_setting)]
