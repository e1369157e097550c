"""Which versions of Redis and Valkey can replicate which. Pure.

A full sync sends an RDB file. Its format has a number (RDB_VERSION in rdb.h), and a server refuses newer
formats than its own: "Can't handle RDB format version". After 11, Valkey and Redis differ: Valkey refuses 12
to 79 as foreign, and writes 80 since Valkey 9.0.
"""

from __future__ import annotations

from collections.abc import Mapping

from clusterboot.core.views import View

# The number of the format that a server writes; None where its version is not known.
Format = int | None
# The format of each node by its name. Empty where all nodes have the same one.
Formats = Mapping[str, Format]

# The first version that writes each format, newest first. Preview releases count as the next version: they
# have an odd minor version, or 9 (7.0-rc1 calls itself 6.9.240).
_REDIS = {(7, 3): 12, (7, 1): 11, (6, 9): 10, (4, 9): 9, (3, 9): 8, (3, 1): 7, (3, 0): 6}
_VALKEY = {(9, 0): 80, (7, 2): 11}
_COMMON = 11  # the last format of both
# Valkey 9 sends this one to servers that do not know its own, until a hash field has a time to live.
_FALLBACK = 11


def format_of(view: View) -> Format:
    """Return the number of the RDB format that a server writes; None where its version is not known."""
    first = _VALKEY if view.kind == "valkey" else _REDIS
    return next((number for since, number in first.items() if view.version[:2] >= since), None)


def reads(sent: Format, reader: Format) -> bool:
    """Return whether a server that writes `reader` can read `sent`; True where one is unknown."""
    if sent is None or reader is None or sent == reader:
        return True
    return sent < reader and sent <= _COMMON


def can_replicate(primary: View, replica: View) -> bool:
    """Return whether the version of `replica` can replicate that of `primary`, whatever data it has."""
    return reads(format_of(primary), format_of(replica))


def for_a_while(primary: View, replica: View) -> bool:
    """Return whether a replica that cannot replicate does so until a hash field has a time to live."""
    sent, reader = format_of(primary), format_of(replica)
    return sent is not None and sent > _COMMON and primary.kind == "valkey" and (reader or 0) >= _FALLBACK


def formats(views: Mapping[str, View]) -> dict[str, Format]:
    """Return the format of each node by its name; empty where all are the same."""
    found = {name: format_of(view) for name, view in views.items()}
    return found if len(set(found.values()) - {None}) > 1 else {}
