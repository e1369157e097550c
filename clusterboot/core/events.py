"""What a run reports while it works: frozen events, which a reporter draws, prints or ignores. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from clusterboot.core.placement import Placement
from clusterboot.core.plan import Plan
from clusterboot.core.steps import Step
from clusterboot.core.verdict import Verdict
from clusterboot.errors import Problem

PhaseName = Literal[
    "look", "lower", "meet", "mesh", "replicate", "ready", "restore", "move", "retire", "down"
]


@dataclass(frozen=True, slots=True)
class Phase:
    """A new phase has begun; `detail` is "6 nodes" or "5 MEETs around a", for example."""

    name: PhaseName
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Planned:
    """The target and the missing steps, known after the first look at all nodes."""

    target: Placement
    plan: Plan


@dataclass(frozen=True, slots=True)
class Done:
    """A node accepted a step; `again` when a lost one is repeated, `extra` when not in the plan."""

    step: Step
    again: bool = False
    extra: bool = False


@dataclass(frozen=True, slots=True)
class Looked:
    """All nodes were asked once more; `away` are the nodes that did not answer."""

    verdict: Verdict
    away: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Moved:
    """How far moving slots has got: `slots` of `all_slots` and `keys` of about `all_keys`, in `seconds`."""

    slots: int
    all_slots: int
    keys: int
    all_keys: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Warned:
    """A problem that does not stop the run."""

    problem: Problem


@dataclass(frozen=True, slots=True)
class Note:
    """One sentence for the user, as in "waiting for b: loading data"."""

    text: str


Event = Phase | Planned | Done | Looked | Moved | Warned | Note


Reporter = Callable[[Event], None]
"""Shows a run to the user: takes one event, quickly and without raising."""
