"""The performance targets, and whether they are met."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

from benchmarks.cost import Cost
from benchmarks.forming import Formed
from benchmarks.joining import Joined
from benchmarks.startup import Start

# The maximum share of redis-cli's time to Ready, on the same servers in the same run.
RATIOS = {
    ("redis70", 6): 0.2,
    ("redis70", 30): 0.08,
    ("redis70", 60): 0.08,
    ("redis70", 150): 0.12,
    ("valkey91", 6): 0.2,
    ("valkey91", 60): 0.12,
}
# Seconds from the first MEET until all nodes of a serving cluster agree on a joining node.
AGREED = 1.0


@dataclass(frozen=True)
class Target:
    """A limit and the measured value, both in the unit that `what` names."""

    what: str
    limit: float
    found: float | None

    @property
    def met(self) -> bool:
        """Whether the target was met."""
        return self.found is not None and self.found <= self.limit

    def document(self) -> dict[str, object]:
        """Return it for the JSON file."""
        return {**asdict(self), "met": self.met}


def targets(
    formed: Iterable[Formed] = (),
    joined: Iterable[Joined] = (),
    costs: Iterable[Cost] = (),
    starts: Iterable[Start] = (),
) -> Iterator[Target]:
    """Compare the results with their targets; results that are missing are left out."""
    ready = {(each.server, each.nodes, each.tool): each.median("ready") for each in formed}
    for (server, count, tool), seconds in ready.items():
        theirs = ready.get((server, count, "redis-cli"))
        limit = RATIOS.get((server, count)) if tool == "clusterboot" else 1.0
        if tool == "redis-cli" or limit is None or theirs is None:
            continue
        ratio = None if seconds is None else round(seconds / theirs, 3)
        yield Target(f"{tool}, {server}, {count} nodes: share of redis-cli's time to Ready", limit, ratio)
    for each in joined:
        what = f"a {each.role} joins, {each.server}, {each.nodes} nodes: seconds until all agree"
        yield Target(what, AGREED, each.median("agreed"))
    for cost in costs:
        if cost.nodes == 1000:
            yield Target("1000 simulated nodes: snapshots read", 4.0, cost.snapshots)
            yield Target("1000 simulated nodes: CPU seconds", 20.0, cost.cpu)
            yield Target("1000 simulated nodes: MiB of memory", 250.0, cost.memory)
    took = {start.command: start for start in starts}
    if took:
        over = took["clusterboot --version"].seconds - took["bare typer program"].seconds
        yield Target("--version: seconds above a bare typer program", 0.1, round(over, 3))
        yield Target("plan on 1000 nodes: CPU seconds", 1.0, took["clusterboot plan, 1000 nodes"].cpu)
