"""What mixed versions forbid, and what a cluster of mixed versions cannot do after a failover. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from clusterboot.core.placement import Placement
from clusterboot.core.versions import can_replicate, for_a_while
from clusterboot.core.views import View, Views
from clusterboot.errors import Exit, Problem
from clusterboot.wording import listed, shortened

_Pair = tuple[str, str]

_PLACED = (
    "let the older node be the primary (role and replica_of in the topology), upgrade it, or give it a "
    "cluster of its own"
)
_RUNNING = (
    "upgrade {}; where the nodes hold no data yet, run 'clusterboot down TOPOLOGY --reset --yes' and then "
    "'up', which makes primaries of the older ones"
)


def cannot_follow(target: Placement, views: Views) -> Iterable[Problem]:
    """Return the problems of `target`: replicas of versions that cannot read what their primaries send.

    A replica whose link to its primary is or was up goes on: only a new full sync would fail.
    """
    planned: list[_Pair] = []
    running: list[_Pair] = []
    for name, primary in _pairs(target):
        replica = views[name]
        if can_replicate(views[primary], replica):
            continue
        if replica.me.primary != views[primary].id:
            planned.append((name, primary))
        elif not replica.in_sync and _never_up(replica):
            running.append((name, primary))
    for pairs, hint in ((planned, _PLACED), (running, _RUNNING)):
        for some in _by_versions(pairs, views):
            name, primary = some[0]
            why = _why(views[primary], views[name])
            message = (
                f"{name} cannot replicate {primary}: {why}."
                if len(some) == 1
                else f"{len(some)} nodes cannot replicate their primaries: {why} ({_of_primaries(some)})."
            )
            yield Problem(
                "versions-cannot-replicate",
                message,
                node=name,
                peer=primary,
                hint=hint.format(listed([replica for replica, _ in some])),
                exit=Exit.REFUSED,
            )


def not_followed(target: Placement, views: Views) -> Iterable[Problem]:
    """Return a warning for primaries that could not replicate the replica that takes over from them."""
    pairs = [
        (name, primary)
        for name, primary in _pairs(target)
        if can_replicate(views[primary], views[name]) and not can_replicate(views[name], views[primary])
    ]
    for some in _by_versions(pairs, views):
        name, primary = some[0]
        why = _why(views[name], views[primary])
        message = (
            f"after a failover {primary} cannot replicate {name}: {why}."
            if len(some) == 1
            else f"after a failover {len(some)} primaries cannot replicate their replicas: {why} "
            f"({_of_primaries([(primary, name) for name, primary in some])})."
        )
        yield Problem(
            "failover-not-followed",
            message,
            node=primary,
            peer=name,
            hint="finish the upgrade soon: CLUSTER FAILOVER on the newer node, then upgrade the older one",
            exit=Exit.DONE,
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


def _pairs(target: Placement) -> list[_Pair]:
    return [(name, spot.primary) for name, spot in target.spots.items() if spot.primary is not None]


def _by_versions(pairs: Iterable[_Pair], views: Views) -> Iterable[list[_Pair]]:
    found: dict[tuple[str, str], list[_Pair]] = {}
    for name, primary in pairs:
        found.setdefault((_version(views[name]), _version(views[primary])), []).append((name, primary))
    return found.values()


def _never_up(replica: View) -> bool:
    return replica.info.get("master_link_down_since_seconds") == "-1"


def _why(sender: View, reader: View) -> str:
    if for_a_while(sender, reader):
        until = "until a hash field has a time to live"
        return f"{_version(reader)} reads what {_version(sender)} sends only {until}"
    return f"{_version(reader)} does not read the data format of {_version(sender)}"


def _version(view: View) -> str:
    return f"{view.kind} {view.version}"


def _of_primaries(pairs: Iterable[_Pair]) -> str:
    return shortened([f"{name} of {primary}" for name, primary in pairs])
