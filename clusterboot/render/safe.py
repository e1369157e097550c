"""Text from files and from the network made safe to show; every line that is printed goes through here.

Terminals obey escape sequences, and invisible or right-to-left text misleads readers (Boucher and Anderson,
"Trojan Source", 2021): every character that is not plain and printable is escaped, such as ESC as \\x1b.
"""

from __future__ import annotations

import unicodedata

MAX_MESSAGE = 4000
MAX_NAME = 256
MAX_HINT = 2000 * MAX_NAME  # the names of all nodes that a topology may have
_MAX_MARKS = 2


def clean(text: str, limit: int = MAX_NAME) -> str:
    """Return `text` on one line of at most `limit` characters, with invisible and active ones escaped.

    These are control and format characters (bidi overrides, zero-width characters), surrogates, private and
    unassigned code points, every space but the plain one, and combining marks that pile up. An ellipsis
    replaces the middle of a text that is too long.
    """
    if len(text) > 2 * limit:
        text = f"{text[:limit]}{text[-limit:]}"
    text = spell(text)
    if len(text) <= limit:
        return text
    head = (limit - 1) // 2
    return f"{text[:head]}…{text[len(text) - (limit - 1 - head) :]}"


def spell(text: str) -> str:
    """Return `text` with invisible and active characters escaped as in Python."""
    if text.isascii() and text.isprintable():
        return text
    shown: list[str] = []
    marks = 0
    for char in text:
        marks = marks + 1 if unicodedata.category(char) in ("Mn", "Me") else 0
        if char.isprintable() and marks <= _MAX_MARKS:
            shown.append(char)
        else:
            shown.append(char.encode("unicode_escape", "surrogatepass").decode("ascii"))
    return "".join(shown)
