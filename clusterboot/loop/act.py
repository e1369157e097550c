"""Carrying out steps: each as the command it stands for, pipelined per node, all nodes at once.

A node that does not answer is not an error here: the next look shows what came of it. An error reply
is final, with node, command and reply, unless it is of the kind that another look explains.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from clusterboot.core.events import Done, Reporter
from clusterboot.core.plan import AddSlots, Meet, Replicate, SetEpoch, Step
from clusterboot.core.views import View
from clusterboot.errors import Exit, NodeFailed, Problem
from clusterboot.loop.observe import Asker
from clusterboot.wire.replies import Command, Rejected, explain

# So many commands go to one node in one go: a hub of 1,000 nodes gets its MEETs in ten portions.
_PORTION = 100
# Slots whose keys are counted in one go.
_COUNTED = 1000


def command(step: Step, views: Mapping[str, View]) -> Command:
    """Return the command of a step; `views` give ids and versions."""
    match step:
        case SetEpoch(_, epoch):
            return ("CLUSTER", "SET-CONFIG-EPOCH", str(epoch))
        case AddSlots(node, slots):
            view = views[node]
            if view.kind == "valkey" or view.version.major >= 7:
                ends = [str(end) for pair in slots.ranges for end in pair]
                return ("CLUSTER", "ADDSLOTSRANGE", *ends)
            return ("CLUSTER", "ADDSLOTS", *map(str, slots))
        case Meet(_, _, host, port, bus_port):
            return ("CLUSTER", "MEET", host, str(port), *([str(bus_port)] if bus_port else []))
        case Replicate(_, primary):
            return ("CLUSTER", "REPLICATE", views[primary].id)


def probe(step: Step, views: Mapping[str, View]) -> Command:
    """Return a command of the same name that every server refuses, changing nothing.

    Its reply tells whether the user may run the real one (NOPERM comes before any look at the
    arguments), so that a missing permission is found before the first change.
    """
    first = command(step, views)[:2]
    return (*first, *{"MEET": ("x", "0"), "ADDSLOTSRANGE": ("x", "x")}.get(first[1], ("x",)))


async def forbidden(fleet: Asker, steps: Iterable[Step], views: Mapping[str, View]) -> list[Problem]:
    """Return a problem for every node and command that its user may not run; changes nothing."""
    wanted: dict[str, dict[Command, None]] = defaultdict(dict)
    for step in steps:
        wanted[step.node][probe(step, views)] = None

    async def one(node: str, probes: Sequence[Command]) -> list[Problem]:
        replies = await fleet.ask(node, *probes)
        return [
            explain(reply, node, sent)
            for sent, reply in zip(probes, replies, strict=True)
            if isinstance(reply, Rejected) and reply.refuses_permission
        ]

    found = await asyncio.gather(*(one(node, tuple(probes)) for node, probes in wanted.items()))
    return [problem for problems in found for problem in problems]


async def stranded(fleet: Asker, steps: Iterable[Step], views: Mapping[str, View]) -> list[Problem]:
    """Return a problem for every node with keys in slots that nobody serves and another node is to get.

    Nobody would find these keys any more. It takes DELSLOTS on a node with keys to come to that; asked is
    only where somebody has keys and slots are missing.
    """
    homeless = [(slot, step.node) for step in steps if isinstance(step, AddSlots) for slot in step.slots]
    keyed = [name for name, view in views.items() if view.keys and not view.me.replica] if homeless else []

    async def one(node: str) -> list[Problem]:
        asked = [(slot, heir) for slot, heir in homeless if heir != node]
        for start in range(0, len(asked), _COUNTED):
            portion = asked[start : start + _COUNTED]
            sent = [("CLUSTER", "COUNTKEYSINSLOT", str(slot)) for slot, _ in portion]
            replies = await fleet.ask(node, *sent)
            for (slot, heir), line, reply in zip(portion, sent, replies, strict=True):
                if isinstance(reply, Rejected):
                    return [explain(reply, node, line)]
                if reply:
                    return [_stranded(node, slot, heir)]
        return []

    found = await asyncio.gather(*(one(name) for name in keyed))
    return [problem for problems in found for problem in problems]


def _stranded(node: str, slot: int, heir: str) -> Problem:
    return Problem(
        "keys-elsewhere",
        f"{node} holds keys in slot {slot}, which nobody serves and which {heir} would get: nobody would "
        "find them any more.",
        node=node,
        peer=heir,
        hint=f"give the slot back to the node that has its keys: CLUSTER ADDSLOTS {slot} on {node}, and so "
        "for every slot that was taken from it",
        exit=Exit.REFUSED,
    )


class Actor:
    """Sends steps and keeps what was done, in order."""

    def __init__(self, fleet: Asker, report: Reporter) -> None:
        """Take whom to send through and whom to tell."""
        self._fleet = fleet
        self._report = report
        self.done: list[Done] = []
        self.failures: dict[str, Problem] = {}
        # What was refused at the last try, for a reason that may pass.
        self.refusals: dict[Step, Problem] = {}

    async def send(
        self,
        steps: Iterable[Step],
        views: Mapping[str, View],
        *,
        again: bool = False,
        extra: bool = False,
    ) -> dict[Step, Rejected]:
        """Send `steps`, and return those refused for a reason that may pass, with the reply.

        `again` and `extra` mark them in the record; what goes beyond the first plan may lack a permission
        that was never asked for, and then goes without. Raises NodeFailed with every other error reply;
        a node that cannot be reached only leaves its steps undone, and a note in `failures`.
        """
        by_node: dict[str, list[Step]] = defaultdict(list)
        for step in steps:
            by_node[step.node].append(step)
        refused: dict[Step, Rejected] = {}
        final: list[Problem] = []

        async def one(node: str, mine: list[Step]) -> None:
            for start in range(0, len(mine), _PORTION):
                portion = mine[start : start + _PORTION]
                sent = [command(step, views) for step in portion]
                try:
                    replies = await self._fleet.ask(node, *sent)
                except NodeFailed as failed:
                    self.failures[node] = failed.problems[0]
                    return
                self.failures.pop(node, None)
                for step, line, reply in zip(portion, sent, replies, strict=True):
                    self.refusals.pop(step, None)
                    if not isinstance(reply, Rejected):
                        done = Done(step, again=again, extra=extra)
                        self.done.append(done)
                        self._report(done)
                    elif reply.transient or ((again or extra) and reply.refuses_permission):
                        refused[step] = reply
                        self.refusals[step] = explain(reply, node, line)
                    else:
                        final.append(explain(reply, node, line))

        await asyncio.gather(*(one(node, mine) for node, mine in by_node.items()))
        if final:
            raise NodeFailed(*final)
        return refused
