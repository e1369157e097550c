"""How slots travel from one node to another: as an atomic job, as copies of their keys, or not at all. Pure.

Valkey 9.0 brought CLUSTER MIGRATESLOTS. Everywhere else keys are copied one by one with MIGRATE, which sends
each with the RDB format of its server; Redis from 8.4 on has jobs of its own, which clusterboot does not use.
"""

from __future__ import annotations

from typing import Literal

from clusterboot.core.versions import format_of, reads
from clusterboot.core.views import View
from clusterboot.errors import Problem, refusal

Method = Literal["atomic", "copy"]

# The first Valkey with CLUSTER MIGRATESLOTS.
_JOBS_SINCE = (9, 0)
# From this one on, what a Valkey sends is not for an older one, whatever its format says.
_ONLY_FORWARD_SINCE = (9, 1)


def method(source: View, target: View) -> Method:
    """Return how slots travel from `source` to `target`, if they can at all (see `cannot`)."""
    return "atomic" if _has_jobs(source) and _has_jobs(target) else "copy"


def cannot(source: View, target: View) -> Problem | None:
    """Return why no slot can travel from `source` to `target`; None if it can, or a version is unknown."""
    newer = source.kind == "valkey" and source.version[:2] >= _ONLY_FORWARD_SINCE
    older = target.version[:2] < source.version[:2] or target.kind != source.kind
    known = not target.hides_info
    if reads(format_of(source), format_of(target)) and not (newer and older and known):
        return None
    return refusal(
        "versions-cannot-move",
        f"slots cannot move from {source.name} to {target.name}: {target.kind} {target.version} does not "
        f"read the data format of {source.kind} {source.version}.",
        source.name,
        target.name,
        f"upgrade {target.name} first, or leave the slots of {source.name} where they are",
    )


def _has_jobs(view: View) -> bool:
    return view.kind == "valkey" and view.version[:2] >= _JOBS_SINCE
