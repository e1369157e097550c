"""The verdict over a cluster: what each node lacks, and every reason why it is not Ready. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from clusterboot.errors import Problem
from clusterboot.slots import Slots


@dataclass(frozen=True, slots=True)
class NodeHealth:
    """What one node lacks; empty tuples and True mean that it lacks nothing.

    `unseen` are the names of the nodes that it does not see. `strangers` are the ids that it lists and
    no node of the topology has. `stale` are the names of the nodes that it lists with another role,
    primary or slots than planned. `handshakes` counts its lines in handshake. `state_ok` and `in_sync`
    are what the node says of itself.
    """

    unseen: tuple[str, ...] = ()
    strangers: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()
    state_ok: bool = True
    in_sync: bool = True
    handshakes: int = 0

    @property
    def meshed(self) -> bool:
        """Whether it sees exactly the nodes of the topology."""
        return not (self.unseen or self.strangers or self.handshakes)

    @property
    def ready(self) -> bool:
        """Whether it lacks nothing at all."""
        return self.meshed and not self.stale and self.state_ok and self.in_sync


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the cluster is Ready or a mesh, what each node lacks, and every reason why it is not Ready.

    `links` counts the links seen, out of `total` = N(N-1); `covered` are the slots that some node serves.
    """

    ready: bool
    mesh: bool
    nodes: Mapping[str, NodeHealth]
    links: int
    total: int
    covered: Slots
    reasons: tuple[Problem, ...]

    @property
    def complete(self) -> int:
        """How many nodes lack nothing."""
        return sum(health.ready for health in self.nodes.values())
