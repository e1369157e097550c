"""Ready, or every reason why not. Pure.

Ready means, in one snapshot: every node lists exactly the ids of the topology, each connected and free of
handshake, noaddr, fail and fail? (up to here, the mesh); all agree on every role, primary and slot; the
planned slots are covered; cluster_state is ok everywhere; every replica's link to its primary is up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from clusterboot.core.placement import Placement
from clusterboot.core.verdict import NodeHealth, Verdict, reasons_for
from clusterboot.core.views import Peer, View
from clusterboot.errors import Problem
from clusterboot.slots import NONE, union

_MAX_LINES_KEPT = 100_000


class _Line(NamedTuple):
    """What a `Peer` says, compared with the target; `name` is None for an id outside the topology."""

    peer: Peer
    name: str | None
    seen: bool
    agrees: bool
    fine: bool


class Judge:
    """Compares views with a target, and caches the result for each `Peer`.

    Equal lines share one `Peer` (see `views.parse_nodes`): in a mesh of N nodes about N peers are compared,
    and N² lines only looked up.
    """

    def __init__(
        self,
        target: Placement,
        ids: Mapping[str, str],
        *,
        mesh_only: bool = False,
        gone: frozenset[str] = frozenset(),
    ) -> None:
        """Take the target, every node's id by name, and whether only the mesh is wanted.

        Lines about the ids in `gone`, members that are only to be forgotten, say nothing about Ready.
        """
        self.target = target
        self.ids = dict(ids)
        self.names = {node_id: name for name, node_id in ids.items()}
        self.mesh_only = mesh_only
        self._gone = gone
        # By id() of the peer, which stays unique because the line keeps the peer alive.
        self._lines: dict[int, _Line] = {}
        self._latest: dict[str, tuple[tuple[Peer, ...], NodeHealth]] = {}

    def node(self, view: View) -> NodeHealth:
        """Return what one node lacks, by its own view alone."""
        peers, health = self._latest.get(view.name, ((), None))
        if health is None or peers is not view.peers:
            health = self._compare(view)
            self._latest[view.name] = (view.peers, health)
        if self.mesh_only:
            return health
        return replace(health, state_ok=view.state_ok, in_sync=view.in_sync)

    def _compare(self, view: View) -> NodeHealth:
        lines = self._lines
        if len(lines) > _MAX_LINES_KEPT:
            # Bounds the memory where lines change in every reply.
            lines.clear()
        odd: list[_Line] = []
        peers = view.peers
        if self._gone:
            peers = tuple(peer for peer in peers if peer.id not in self._gone)
        for peer in peers:
            line = lines.get(id(peer))
            if line is None:
                line = lines[id(peer)] = self._line(peer)
            if not line.fine:
                odd.append(line)
        if not odd and len(peers) == len(self.ids):
            return NodeHealth()
        seen = {line.name for peer in peers if (line := lines[id(peer)]).seen}
        stale = {line.name for line in odd if not line.agrees}
        unknown = [line.peer for line in odd if line.name is None]
        return NodeHealth(
            unseen=tuple(name for name in self.ids if name not in seen),
            # Sorted, since the order in which a server lists nodes means nothing.
            strangers=tuple(sorted(peer.id for peer in unknown if not peer.handshake)),
            stale=tuple(name for name in self.ids if name in stale) if stale else (),
            handshakes=sum(peer.handshake for peer in unknown),
        )

    def _line(self, peer: Peer) -> _Line:
        name = self.names.get(peer.id)
        if name is None:
            return _Line(peer, None, seen=False, agrees=False, fine=False)
        spot = self.target.spots[name]
        agrees = self.mesh_only or (
            peer.replica == (spot.role == "replica")
            and (spot.primary is None or peer.primary == self.ids.get(spot.primary))
            and peer.slots == spot.slots
        )
        return _Line(peer, name, peer.seen, agrees, fine=peer.seen and agrees)

    def verdict(self, views: Mapping[str, View], away: Mapping[str, Problem] | None = None) -> Verdict:
        """Return the verdict over `views`; `away` are the nodes without a view, with the reason."""
        away = away or {}
        nodes = {name: self.node(view) for name, view in views.items() if name in self.ids}
        others = len(self.ids) - 1
        links = sum(others - len(h.unseen) + (me in h.unseen) for me, h in nodes.items())
        mesh = not away and len(nodes) == len(self.ids) and all(h.meshed for h in nodes.values())
        ready = mesh and all(health.ready for health in nodes.values())
        covered = union(view.me.slots for view in views.values())
        lacking = NONE if self.mesh_only else self.target.slots - covered
        reasons: tuple[Problem, ...] = ()
        if not ready:
            reasons = *away.values(), *reasons_for(self.target, self.names, views, nodes, lacking)
        return Verdict(ready, mesh, nodes, links, len(self.ids) * others, covered, reasons)
