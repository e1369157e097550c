"""What a YAML scalar without quotes means.

Scalars are read as in YAML 1.2, and yes/no/on/off as booleans, as YAML 1.1 readers do. Numbers that
the two versions read differently (octal, 7_001, 12:30) stay text, so that no port silently becomes
another one.
"""

from __future__ import annotations

import re
from typing import Final

_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]{1,4})?")


class Marker:
    """Stands where there is no value that could be used."""


EMPTY: Final = Marker()
"""A key or an entry without a value (YAML's null)."""
BROKEN: Final = Marker()
"""A value whose problem has been reported already."""

_WORDS: dict[str, object] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), EMPTY),
    **{spelled: True for word in ("true", "yes", "on") for spelled in (word, word.title(), word.upper())},
    **{spelled: False for word in ("false", "no", "off") for spelled in (word, word.title(), word.upper())},
    **{sign + word: float(sign + "inf") for sign in ("", "-", "+") for word in (".inf", ".Inf", ".INF")},
    **{word: float("nan") for word in (".nan", ".NaN", ".NAN")},
}


def plain_value(text: str) -> object:
    """Return the value of a scalar without quotes: a boolean, a number, text, or EMPTY for null."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text
