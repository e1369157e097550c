"""Bytes of a topology file to text: size, encoding, and characters that YAML does not allow."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

from clusterboot.topology.report import Problems

MAX_BYTES = 1024 * 1024
# The printable set of YAML 1.1 and 1.2 (c-printable), turned around.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the text; both counted from 1, the column in characters."""

    line: int
    column: int


def decode(data: bytes, file: str) -> str:
    """Return the text; what goes in and what is refused is told at `clusterboot.topology.decode`."""
    problems = Problems(file)
    if len(data) > MAX_BYTES:
        problems.add("topology-too-large", "a topology file is at most 1 MiB, this one is larger", None)
    elif data.startswith(_WIDE):
        message = "this file is UTF-16 or UTF-32, a topology file is UTF-8"
        problems.add("topology-encoding", message, None, hint="save it again with the encoding UTF-8")
    problems.finish()
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        good = data[: error.start].decode("utf-8").removeprefix("\ufeff")
        message = f"the byte 0x{data[error.start]:02x} is not UTF-8, a topology file is UTF-8"
        hint = "save the file again with the encoding UTF-8"
        problems.add("topology-encoding", message, position(good, len(good)), hint=hint)
    problems.finish()
    text = text.removeprefix("\ufeff")
    check_characters(text, problems)
    problems.finish()
    return text


def check_characters(text: str, problems: Problems) -> None:
    """Note the first character that no YAML text may hold, such as NUL or an escape."""
    found = _FORBIDDEN.search(text)
    if found:
        message = f"the control character U+{ord(found[0]):04X} is not allowed in a topology file"
        hint = "delete it; inside double quotes an escape such as \\x1b stands for it"
        problems.add("topology-control-character", message, position(text, found.start()), hint=hint)


def position(text: str, index: int) -> Position:
    """Return the line and column of the character at `index`."""
    return Position(text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index))
