"""The MEETs of one run: when each pair was sent one, and the extra ones (`core.extra_meets`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import inf

from clusterboot.core.extra_meets import moved_meets, newcomer_meets, newcomers, pause
from clusterboot.core.groups import group
from clusterboot.core.steps import Meet
from clusterboot.core.verdict import Verdict
from clusterboot.loop.act import Actor
from clusterboot.loop.observe import SMALL, Watch, now
from clusterboot.topology import Topology

Pair = tuple[str, str]

# Pause between two extra MEETs of a pair: a handshake takes ~200 ms, and a second MEET would cut it off.
_PAIR_SECONDS = 0.3
# The same between nodes with old addresses in a large cluster: views are old there, and the pair is most
# likely connected by now.
_LARGE_PAIR_SECONDS = 60.0
# Nodes of a large cluster that are read in full in each round while a node joins it.
_SAMPLE = 32


class SentMeets:
    """When each pair was last sent a MEET, and which nodes have joined a serving cluster in this run."""

    def __init__(self) -> None:
        self.joining: frozenset[str] = frozenset()
        self._planned: dict[Pair, float] = {}
        # With the number of extra MEETs so far: they become rarer where they do not help.
        self._extra: dict[Pair, tuple[float, int]] = {}

    def not_recently_sent(self, meets: Iterable[Meet], seconds: float) -> list[Meet]:
        """Return the planned MEETs of pairs without one in the last `seconds`, and note them as sent.

        Until then the handshake of the pair may still be alive.
        """
        time = now()
        chosen = [meet for meet in meets if time - self._planned.get((meet.node, meet.peer), -inf) >= seconds]
        self._planned |= {(meet.node, meet.peer): time for meet in chosen}
        return chosen

    def resting(self, seconds: float = _PAIR_SECONDS) -> set[Pair]:
        """Return the pairs whose pause since the last extra MEET, `seconds` at first, is not over."""
        time = now()
        return {pair for pair, (last, sent) in self._extra.items() if time - last < pause(seconds, sent)}

    def let_rest(self, pairs: Iterable[Pair]) -> None:
        """Start the pause of pairs for which planned MEETs are making links."""
        self._extra |= dict.fromkeys(pairs, (now(), 0))

    def note_extra(self, meets: Iterable[Meet]) -> None:
        """Note extra MEETs as sent. Either direction gives the pair a new link, so both have to wait."""
        for meet in meets:
            for pair in ((meet.node, meet.peer), (meet.peer, meet.node)):
                self._extra[pair] = now(), self._extra.get(pair, (0.0, 0))[1] + 1


class ExtraMeets:
    """Sends the extra MEETs of one plan, round by round."""

    def __init__(self, topology: Topology, sent: SentMeets, actor: Actor, watch: Watch) -> None:
        self._nodes = {node.name: node for node in topology.nodes}
        self._sent = sent
        self._actor = actor
        self._watch = watch
        # A node goes on joining when everything is planned anew before it is known to all others.
        self._joining = sent.joining = sent.joining | newcomers(watch.views)
        self._moved = bool(moved_meets(self._nodes, watch.views))
        self._small = len(watch.views) <= SMALL
        self._connected = False
        if self._joining:
            # No other links are being made: nodes that do not know a newcomer can be found sooner.
            watch.sample_at_least(_SAMPLE)

    async def send(self, verdict: Verdict, attaching: Mapping[str, str]) -> None:
        """Send the next batch; `attaching` maps nodes that have yet to become replicas to their primaries."""
        meets = [*self._for_newcomers(verdict, attaching), *self._for_moved()]
        self._sent.note_extra(meets)
        await self._actor.send(meets, self._watch.views, extra=True)

    def _for_moved(self) -> list[Meet]:
        lost = moved_meets(self._nodes, self._watch.views) if self._moved else ()
        self._moved = bool(lost)
        resting = self._sent.resting(_PAIR_SECONDS if self._small else _LARGE_PAIR_SECONDS) if lost else ()
        return [meet for meet in lost if (meet.node, meet.peer) not in resting]

    def _for_newcomers(self, verdict: Verdict, attaching: Mapping[str, str]) -> Iterator[Meet]:
        if not self._joining:
            return
        if not self._connected:
            self._connected = len(group(self._watch.views)) == 1
            # The planned MEETs are making links: extra ones would cut off their handshakes.
            self._sent.let_rest(
                (peer, name) for name in self._joining for peer in verdict.nodes if peer != name
            )
        if self._connected:
            resting = self._sent.resting()
            views = self._watch.views
            for meet in newcomer_meets(self._nodes, self._joining, verdict, views, attaching, resting):
                health, receiver = verdict.nodes[meet.peer], views[meet.peer]
                # A peer of a large cluster may have been read long ago; how many it knows is always new.
                if self._small or meet.node not in health.unseen or receiver.known < len(self._nodes):
                    yield meet
