"""The verdict: Ready, or every reason why not. Pure.

Ready means, in one snapshot of all nodes: every node lists exactly the ids of the topology, each
connected and free of handshake, noaddr, fail and fail?; all nodes agree on every role, primary and
slot; the planned slots are covered; cluster_state is ok everywhere; every replica's link to its
primary is up. The mesh is the first of these alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from clusterboot.core.placement import Placement
from clusterboot.core.reasons import told
from clusterboot.core.verdict import NodeHealth, Verdict
from clusterboot.core.views import Peer, View
from clusterboot.errors import Problem
from clusterboot.slots import NONE, Slots

_MOST_KNOWN = 100_000


class Judge:
    """Compares views with a target; keeps what it found out about a `Peer` for as long as the target holds.

    Equal lines share one `Peer` (see `nodes.parse_nodes`), so in a mesh of N nodes about N peers are
    compared, and N² lines only looked up.
    """

    def __init__(self, target: Placement, ids: Mapping[str, str], *, mesh_only: bool = False) -> None:
        """Take the target, every node's id by name, and whether the mesh is all that is wanted."""
        self.target = target
        self.ids = dict(ids)
        self.names = {node_id: name for name, node_id in ids.items()}
        self.mesh_only = mesh_only
        # The peer is kept beside its verdict: its id() stays its own for as long as it is referenced.
        self._known: dict[int, tuple[Peer, str | None, bool, bool]] = {}
        self._lately: dict[str, tuple[tuple[Peer, ...], NodeHealth]] = {}

    def node(self, view: View) -> NodeHealth:
        """Return what one node lacks, by its own words alone."""
        peers, lately = self._lately.get(view.name, ((), None))
        if lately is None or peers is not view.peers:
            lately = self._compare(view)
            self._lately[view.name] = (view.peers, lately)
        full = not self.mesh_only
        return replace(lately, state_ok=view.state_ok or not full, in_sync=view.in_sync or not full)

    def _compare(self, view: View) -> NodeHealth:
        known = self._known
        if len(known) > _MOST_KNOWN:
            # A node whose lines never stay the same is not to fill the memory.
            known.clear()
        good = 0
        missing: set[str] | None = None
        strangers: list[str] = []
        stale: set[str] = set()
        handshakes = 0
        odd = []
        for peer in view.peers:
            entry = known.get(id(peer))
            if entry is None:
                entry = known[id(peer)] = (peer, *self._look(peer))
            if entry[1] is not None and entry[2] and entry[3]:
                good += 1
            else:
                odd.append(entry)
        if odd or good != len(self.ids):
            missing = set(self.ids)
            for peer in view.peers:
                _, name, seen, _ = known[id(peer)]
                if seen and name is not None:
                    missing.discard(name)
            for peer, name, _, agrees in odd:
                if name is None:
                    if peer.handshake:
                        handshakes += 1
                    else:
                        strangers.append(peer.id)
                elif not agrees:
                    stale.add(name)
        return NodeHealth(
            unseen=tuple(name for name in self.ids if name in missing) if missing else (),
            # Servers list nodes in an order of their own, which tells nothing.
            strangers=tuple(sorted(strangers)),
            stale=tuple(name for name in self.ids if name in stale) if stale else (),
            handshakes=handshakes,
        )

    def _look(self, peer: Peer) -> tuple[str | None, bool, bool]:
        """Return the name behind the peer's id, whether it is seen, and whether it is as planned."""
        name = self.names.get(peer.id)
        if name is None:
            return None, False, False
        if self.mesh_only:
            return name, peer.seen, True
        spot = self.target.spots[name]
        primary = self.ids.get(spot.primary) if spot.primary else None
        agrees = (
            peer.replica == (spot.role == "replica")
            and (peer.primary == primary if spot.primary else True)
            and peer.slots == spot.slots
        )
        return name, peer.seen, agrees

    def verdict(self, views: Mapping[str, View], away: Mapping[str, Problem] | None = None) -> Verdict:
        """Return the verdict over `views`; `away` are the nodes that gave none, with the reason."""
        away = away or {}
        nodes = {name: self.node(view) for name, view in views.items() if name in self.ids}
        total = len(self.ids) * (len(self.ids) - 1)
        links = sum(len(self.ids) - 1 - len(h.unseen) + (me in h.unseen) for me, h in nodes.items())
        mesh = not away and len(nodes) == len(self.ids) and all(h.meshed for h in nodes.values())
        ready = mesh and all(health.ready for health in nodes.values())
        covered = Slots.of(pair for view in views.values() for pair in view.me.slots.ranges)
        lacking = NONE if self.mesh_only else self.target.slots - covered
        reasons = () if ready else (*away.values(), *told(self.target, self.names, views, nodes, lacking))
        return Verdict(ready, mesh, nodes, links, total, covered, reasons)
