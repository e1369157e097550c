"""What a server says before it dies, short enough for one sentence."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

_MAX_LENGTH = 8192
_MAX_LINES = 3
_MAX_CHARACTERS = 300

# "4711:M 21 Nov 2026 01:16:00.123 # " before every line of a log
_PREFIX = re.compile(r"^\d+:\w \d+ \w+ \d{4} [\d:.]+ \S ")
# 6.2: "Could not create server TCP listening socket 127.0.0.1:7001: bind: Address already in use"
# 7.0 and later: the same behind "Warning:"; of the bus port as well
_IN_USE = re.compile(r":(\d+): bind: Address already in use")


def last_words(log: Path, offset: int, secrets: Iterable[str] = ()) -> tuple[str, int | None]:
    """Return the last lines of a log from `offset` on as one line, and the port that was in use, if one was.

    `secrets` are blotted out: a server that refuses a line of its configuration prints it.
    """
    try:
        with log.open("rb") as file:
            file.seek(offset)
            tail = file.read().decode(errors="replace")
    except FileNotFoundError:
        return "", None
    for secret in secrets:
        tail = tail.replace(secret, "*****")
    tail = tail[-_MAX_LENGTH:]
    taken = _IN_USE.search(tail)
    lines = [_PREFIX.sub("", line).strip() for line in tail.splitlines()]
    said = " / ".join([line for line in lines if line][-_MAX_LINES:])
    printable = "".join(letter if letter.isprintable() else "�" for letter in said)
    return printable[-_MAX_CHARACTERS:], int(taken[1]) if taken else None
