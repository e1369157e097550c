"""What is known of a run so far, folded from its events; the live screen and the plain lines both show it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clusterboot.core.events import Done, Event, Looked, Note, Phase, PhaseName, Planned
from clusterboot.render import words
from clusterboot.render.page import GLUE
from clusterboot.render.safe import clean

if TYPE_CHECKING:
    from clusterboot.core.placement import Placement
    from clusterboot.core.plan import Plan, Step
    from clusterboot.core.verdict import Verdict

# What is shown as 0.0 s says nothing.
_NO_TIME = 0.05

LABELS: dict[PhaseName, str] = {
    "look": "look",
    "lower": "lower timers",
    "slots": "epochs and slots",
    "meet": "meet",
    "mesh": "mesh",
    "replicate": "replicate",
    "ready": "ready",
    "restore": "restore timers",
    "down": "down",
}


class Progress:
    """The state of a run. All times are of the caller's clock, in seconds."""

    def __init__(self, now: float) -> None:
        self.started = self.since = now
        self.phase: Phase | None = None
        self.plan: Plan | None = None
        self.target: Placement | None = None
        self.verdict: Verdict | None = None
        self.away: tuple[str, ...] = ()
        self.note: Note | None = None
        self._spent: dict[PhaseName, float] = {}
        self._looked = False
        self._steps: list[Step] = []
        self._again = self._extra = 0

    def take(self, event: Event, now: float) -> None:
        """Fold one event in. A phase that is already on only changes its detail."""
        if isinstance(event, Phase):
            if self.phase is None or event.name != self.phase.name:
                self.end(now)
                self._steps, self._again, self._extra, self._looked = [], 0, 0, False
                self.note = None
            self.phase = event
        elif isinstance(event, Planned):
            self.plan, self.target = event.plan, event.target
        elif isinstance(event, Done):
            self._again += event.again
            self._extra += event.extra and not event.again
            if not (event.again or event.extra):
                self._steps.append(event.step)
        elif isinstance(event, Looked):
            self.verdict, self.away, self._looked = event.verdict, event.away, True
        elif isinstance(event, Note):
            self.note = event

    def end(self, now: float) -> None:
        """Book the time of the phase that is on."""
        if self.phase is not None:
            name = self.phase.name
            self._spent[name] = self._spent.get(name, 0.0) + now - self.since
        self.since = now

    def title(self) -> str:
        """Return the phase and its detail: "meet: 5 MEETs, star around a"."""
        if self.phase is None:
            return ""
        label = LABELS.get(self.phase.name, self.phase.name)
        return f"{label}: {clean(self.phase.detail, 400)}" if self.phase.detail else label

    def summary(self) -> str:
        """Return what this phase has brought so far; empty when nothing."""
        parts = [words.steps(self._steps)] if self._steps else []
        if self._again:
            parts.append(f"{words.count(self._again, 'MEET')} sent again")
        if self._extra:
            parts.append(words.count(self._extra, "extra MEET"))
        if self._looked and self.verdict is not None:
            parts.append(f"{self.verdict.links} of {self.verdict.total} links")
            parts.append(f"{self.verdict.complete} of {words.count(self.size, 'node')} complete")
        if self.away:
            parts.append(f"not answering: {words.names(self.away, 5)}")
        return ", ".join(parts)

    @property
    def size(self) -> int:
        """How many nodes there are, as far as that is known."""
        if self.target is not None:
            return len(self.target.spots)
        return len(self.verdict.nodes) + len(self.away) if self.verdict is not None else 0

    def spent(self) -> str:
        """Return how long the phases took that took any time: "look 0.1 s · mesh 0.4 s"."""
        found = [(LABELS.get(name, name), took) for name, took in self._spent.items() if took >= _NO_TIME]
        # A phase and its time stay on one line.
        return " · ".join(f"{label} {words.seconds(took)}".replace(" ", GLUE) for label, took in found)
