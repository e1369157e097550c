"""Which versions of Redis and Valkey can replicate which, and what is wrong where they cannot. Pure.

A full sync sends an RDB file. Its format has a number (RDB_VERSION in rdb.h), and a server refuses newer
formats than its own: "Can't handle RDB format version". After 11, Valkey and Redis differ: Valkey refuses 12
to 79 as foreign, and writes 80 since Valkey 9.0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from clusterboot.core.views import View, Views
from clusterboot.errors import Problem, refusal, warning
from clusterboot.wording import listed, shortened

# The number of the format that a server writes; None where its version is unknown.
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

_Pair = tuple[str, str]

_PLACED = (
    "let the older node be the primary (role and replica_of in the topology), upgrade it, or give it a "
    "cluster of its own"
)
_RUNNING = (
    "upgrade {}; where the nodes hold no data yet, run 'clusterboot down TOPOLOGY --reset --yes' and then "
    "'up', which makes primaries of the older ones"
)


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
    """Return whether an incompatible replica can replicate until a hash field has a time to live."""
    sent, reader = format_of(primary), format_of(replica)
    return sent is not None and sent > _COMMON and primary.kind == "valkey" and (reader or 0) >= _FALLBACK


def formats(views: Mapping[str, View]) -> dict[str, Format]:
    """Return the format of each node by its name; empty where all are the same."""
    found = {name: format_of(view) for name, view in views.items()}
    return found if len(set(found.values()) - {None}) > 1 else {}


def cannot_follow(primary_of: Mapping[str, str], views: Views) -> Iterator[Problem]:
    """Yield the problems of replicas whose versions cannot read what their primaries will send.

    A replica whose link to its primary is or was up goes on: only a new full sync would fail.
    """
    planned: list[_Pair] = []
    running: list[_Pair] = []
    for name, primary in primary_of.items():
        replica = views[name]
        if can_replicate(views[primary], replica):
            continue
        if replica.me.primary != views[primary].id:
            planned.append((name, primary))
        elif not replica.in_sync and replica.info.get("master_link_down_since_seconds") == "-1":
            running.append((name, primary))
    for pairs, hint in ((planned, _PLACED), (running, _RUNNING)):
        for some in _by_versions(pairs, views):
            name, primary = some[0]
            what = f"{name} cannot replicate {primary}"
            if len(some) > 1:
                what = f"{len(some)} nodes cannot replicate their primaries"
            yield refusal(
                "versions-cannot-replicate",
                f"{what}: {_why(views[primary], views[name])}{_if_many(some)}.",
                name,
                primary,
                hint.format(listed([replica for replica, _ in some])),
            )


def not_followed(primary_of: Mapping[str, str], views: Views) -> Iterator[Problem]:
    """Yield a warning for primaries that could not replicate their replica after a failover."""
    pairs = [
        (name, primary)
        for name, primary in primary_of.items()
        if can_replicate(views[primary], views[name]) and not can_replicate(views[name], views[primary])
    ]
    for some in _by_versions(pairs, views):
        name, primary = some[0]
        what = f"{primary} cannot replicate {name}"
        if len(some) > 1:
            what = f"{len(some)} primaries cannot replicate their replicas"
        swapped = [(primary, name) for name, primary in some]
        yield warning(
            "failover-not-followed",
            f"after a failover {what}: {_why(views[name], views[primary])}{_if_many(swapped)}.",
            primary,
            name,
            "finish the upgrade soon: CLUSTER FAILOVER on the newer node, then upgrade the older one",
        )


def out_of_sync(reason: Problem, views: Views) -> Problem | None:
    """Return `reason`, that a replica is not in sync, as a problem of versions; None where they allow it."""
    replica, primary = views.get(reason.node or ""), views.get(reason.peer or "")
    if replica is None or primary is None or can_replicate(primary, replica):
        return None
    if for_a_while(primary, replica) and replica.info.get("master_sync_in_progress") == "1":
        return None
    return replace(
        reason,
        code="versions-cannot-replicate",
        message=f"{reason.node} is not in sync with {reason.peer}: {_why(primary, replica)}.",
        hint=_RUNNING.format(reason.node),
    )


def _by_versions(pairs: Iterable[_Pair], views: Views) -> Iterable[list[_Pair]]:
    found: dict[tuple[str, str], list[_Pair]] = {}
    for name, primary in pairs:
        found.setdefault((_version(views[name]), _version(views[primary])), []).append((name, primary))
    return found.values()


def _why(sender: View, reader: View) -> str:
    if for_a_while(sender, reader):
        until = "until a hash field has a time to live"
        return f"{_version(reader)} reads what {_version(sender)} sends only {until}"
    return f"{_version(reader)} does not read the data format of {_version(sender)}"


def _version(view: View) -> str:
    return f"{view.kind} {view.version}"


def _if_many(pairs: Sequence[_Pair]) -> str:
    names = shortened([f"{name} of {other}" for name, other in pairs])
    return f" ({names})" if len(pairs) > 1 else ""
