"""What a run reports while it works, and the protocol of whoever shows it. Pure.

The run never prints. It emits events; a reporter draws a live screen, prints plain lines or keeps
silent. An event is small and frozen, so a reporter may keep it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from clusterboot.core.placement import Placement
from clusterboot.core.plan import Plan, Step
from clusterboot.core.verdict import Verdict
from clusterboot.errors import Problem

PhaseName = Literal["look", "lower", "slots", "meet", "mesh", "replicate", "ready", "restore", "down"]


@dataclass(frozen=True, slots=True)
class Phase:
    """A new phase has begun; `detail` says with what, as in "6 nodes" or "5 MEETs, star around a"."""

    name: PhaseName
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Planned:
    """The target and the steps that are still missing, known after the first look."""

    target: Placement
    plan: Plan


@dataclass(frozen=True, slots=True)
class Done:
    """A step was sent and accepted; `again` when it repairs one that was lost, `extra` beyond the plan."""

    step: Step
    again: bool = False
    extra: bool = False


@dataclass(frozen=True, slots=True)
class Looked:
    """A round of looking has ended; `away` are nodes that did not answer in it."""

    verdict: Verdict
    away: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Warned:
    """Something unfortunate that does not stop the run."""

    problem: Problem


@dataclass(frozen=True, slots=True)
class Note:
    """One sentence for the user, as in "waiting for b: it is loading its data"."""

    text: str
    node: str | None = None


Event = Phase | Planned | Done | Looked | Warned | Note


class Reporter(Protocol):
    """Whoever shows a run."""

    def __call__(self, event: Event, /) -> None:
        """Take one event; must be quick and must not raise."""
