"""What mixed versions forbid, and what a cluster of mixed versions cannot do after a failover. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from clusterboot.core.placement import Placement
from clusterboot.core.versions import can_replicate, for_a_while
from clusterboot.core.views import View, Views
from clusterboot.errors import Problem, refusal, warning
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


def cannot_follow(target: Placement, views: Views) -> Iterator[Problem]:
    """Yield the problems of `target`: replicas of versions that cannot read what their primaries send.

    A replica whose link to its primary is or was up goes on: only a new full sync would fail.
    """
    planned: list[_Pair] = []
    running: list[_Pair] = []
    for name, primary in target.primary_of.items():
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


def not_followed(target: Placement, views: Views) -> Iterator[Problem]:
    """Yield a warning for primaries that could not replicate the replica that takes over from them."""
    pairs = [
        (name, primary)
        for name, primary in target.primary_of.items()
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
