"""Text that others wrote, made safe to show: the one way into every line that clusterboot prints.

Names, host names, file values and error replies come from files and from the network. A terminal obeys
escape sequences, and a reader can be led astray by text that runs backwards or is not visible at all, so
everything that is not a plain printable character is spelled out: ESC is shown as \\x1b, the
right-to-left override as \\u202e (see Boucher and Anderson, "Trojan Source", 2021).
"""

from __future__ import annotations

import unicodedata

MAX_MESSAGE = 4000
# The names of all nodes that a topology may have, each as long as is shown.
MAX_HINT = 2000 * 256
MAX_NAME = 256
_MAX_MARKS = 2
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def clean(text: str, limit: int = MAX_NAME) -> str:
    """Return `text` on one line of at most `limit` characters, whatever is invisible or active spelled out.

    Spelled out are control and format characters (bidi overrides, zero-width characters), surrogates,
    private and unassigned code points, every space but the plain one, and combining marks that pile up.
    A text that is too long loses its middle, where an ellipsis shows it.
    """
    if len(text) > 2 * limit:
        text = f"{text[:limit]}{text[-limit:]}"
    return cut(spell(text), limit)


def cut(text: str, limit: int) -> str:
    """Return `text` without its middle where it is longer than `limit` characters."""
    if len(text) <= limit:
        return text
    head = (limit - 1) // 2
    tail = limit - 1 - head
    return f"{text[:head]}…{text[len(text) - tail :]}"


def spell(text: str, keep: str = "") -> str:
    """Return `text` with whatever is invisible or active spelled out, but for the characters of `keep`."""
    if text.isascii() and text.isprintable():
        return text
    shown: list[str] = []
    marks = 0
    for char in text:
        marks = marks + 1 if unicodedata.category(char) in ("Mn", "Me") else 0
        if (char.isprintable() and marks <= _MAX_MARKS) or char in keep:
            shown.append(char)
        else:
            shown.append(_SHORT.get(char) or escape(char))
    return "".join(shown)


def escape(char: str) -> str:
    """Return one character as the escape that Python would write."""
    return (
        char.encode("unicode_escape", "surrogatepass").decode("ascii")
        if char > "\x7f"
        else f"\\x{ord(char):02x}"
    )
