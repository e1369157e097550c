"""What commands return: frozen data, which only `clusterboot.render` makes into text or JSON. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from clusterboot.core.events import Done
from clusterboot.core.placement import Placement
from clusterboot.core.plan import Plan
from clusterboot.core.steps import MoveSlots
from clusterboot.core.verdict import Verdict
from clusterboot.core.views import View
from clusterboot.errors import Exit, Problem
from clusterboot.slots import Slots
from clusterboot.topology import Role, Topology


@dataclass(frozen=True, slots=True)
class NodeRow:
    """One node as results show it: `id`, `version` and `state` are None where it did not answer.

    `ip` is the numeric address that answered, to which a host name was resolved. `state` is "ok", "fail" or
    "away". `unseen` are the names of the nodes that it does not see, `unseen_by` of those that do not see it.
    """

    name: str
    address: str
    id: str | None
    role: Role | None
    primary: str | None
    slots: Slots
    version: str | None
    state: str | None
    unseen: tuple[str, ...] = ()
    unseen_by: tuple[str, ...] = ()
    ip: str | None = None


@dataclass(frozen=True, slots=True)
class BoostReport:
    """What the boost lowered during the run, and whether everything was restored.

    `settings` are the lowered values by name, `nodes` how many nodes took them, `restored` on how many
    the own values were read back; `reason` says why there was no boost, or why a node is not restored.
    """

    used: bool
    settings: Mapping[str, str]
    nodes: int = 0
    restored: int = 0
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class MoveReport:
    """How many slots and keys a run has moved, and the seconds that it took."""

    slots: int = 0
    keys: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Transfer:
    """A planned move of slots: how many keys they hold, and how they travel."""

    step: MoveSlots
    keys: int
    method: Literal["atomic", "copy"]


@dataclass(frozen=True, slots=True)
class Validated:
    """A valid topology file and the placement that it gives on fresh nodes."""

    topology: Topology
    placement: Placement
    plan: Plan


@dataclass(frozen=True, slots=True)
class UpResult:
    """What `up` did, and how the cluster stands.

    `plan` is what was missing at first, `steps` what was done, `started` how many local servers were started.
    `moved` and `retired` (names) are what `--rebalance` did, `transfers` what a dry run would move.
    """

    topology: Topology
    target: Placement
    plan: Plan
    verdict: Verdict
    nodes: tuple[NodeRow, ...]
    steps: tuple[Done, ...] = ()
    boost: BoostReport | None = None
    seconds: float = 0.0
    dry_run: bool = False
    mesh_only: bool = False
    warnings: tuple[Problem, ...] = ()
    started: int = 0
    moved: MoveReport = MoveReport()
    retired: tuple[str, ...] = ()
    transfers: tuple[Transfer, ...] = ()

    @property
    def repaired(self) -> int:
        """How many MEETs were sent again because their pair still did not know each other."""
        return sum(done.again for done in self.steps)

    @property
    def extra_meets(self) -> int:
        """How many MEETs were sent beyond the minimal plan."""
        return sum(done.extra for done in self.steps)

    @property
    def ready(self) -> bool:
        """Whether the cluster is Ready; a full mesh is not, even if no more was wanted."""
        return self.verdict.ready and not (self.mesh_only or self.topology.slots == "none")


@dataclass(frozen=True, slots=True)
class StatusResult:
    """The verdict over a cluster as it is; its reasons also name nodes that could not be judged."""

    topology: Topology
    verdict: Verdict
    nodes: tuple[NodeRow, ...]
    warnings: tuple[Problem, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether the cluster is Ready; a full mesh is not, even if no more was wanted."""
        return self.verdict.ready and self.topology.slots != "none"

    @property
    def exit(self) -> Exit:
        """The exit status: 0 when Ready, 5 for a node that cannot be used, else 4."""
        if self.verdict.ready:
            return Exit.DONE
        away = any(reason.exit is Exit.NODE for reason in self.verdict.reasons)
        return Exit.NODE if away else Exit.NOT_READY


@dataclass(frozen=True, slots=True)
class DownResult:
    """What `down` did, by node name.

    `stopped` are spawned servers that it stopped, `gone` those that had already ended. `reset` are live
    nodes that are standalone and empty again, `left` those that it did not touch.
    """

    stopped: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    reset: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ServerRow:
    """One spawned server."""

    address: str
    pid: int | None
    running: bool


@dataclass(frozen=True, slots=True)
class ClusterRow:
    """One spawned cluster: its name, its topology file and its servers."""

    name: str
    file: str | None
    version: str | None
    servers: tuple[ServerRow, ...]

    @property
    def running(self) -> int:
        """How many of its servers run."""
        return sum(server.running for server in self.servers)


@dataclass(frozen=True, slots=True)
class LsResult:
    """The spawned clusters."""

    clusters: tuple[ClusterRow, ...]
    warnings: tuple[Problem, ...] = ()


def rows(
    topology: Topology, views: Mapping[str, View], verdict: Verdict, ids: Mapping[str, str]
) -> tuple[NodeRow, ...]:
    """Return a row for each node of the topology, by what the nodes say about themselves."""
    names = {node_id: name for name, node_id in ids.items()}
    unseen_by: defaultdict[str, list[str]] = defaultdict(list)
    for name, health in verdict.nodes.items():
        for other in health.unseen:
            unseen_by[other].append(name)
    found = []
    for node in topology.nodes:
        view = views.get(node.name)
        if view is None:
            found.append(NodeRow(node.name, node.address, None, None, None, Slots(), None, "away"))
            continue
        me = view.me
        found.append(
            NodeRow(
                name=node.name,
                address=node.address,
                id=view.id,
                role="replica" if me.replica else "primary",
                primary=names.get(me.primary, me.primary) if me.primary else None,
                slots=me.slots,
                version=f"{view.kind} {view.version}",
                state="ok" if view.state_ok else "fail",
                unseen=verdict.nodes[node.name].unseen if node.name in verdict.nodes else (),
                unseen_by=tuple(unseen_by[node.name]),
                ip=view.ip or None,
            )
        )
    return tuple(found)
