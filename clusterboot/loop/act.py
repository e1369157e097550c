"""Sending steps as commands, pipelined per node, all nodes at once.

A node that does not answer is no error here: the next look shows the result. An error reply ends the run
unless it is transient.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from clusterboot.core.events import Done, Reporter
from clusterboot.core.steps import AddSlots, Failover, Forget, Meet, Replicate, Reset, SetEpoch, Single, Step
from clusterboot.core.views import View
from clusterboot.errors import NodeFailed, Problem, refusal
from clusterboot.loop.observe import Asker
from clusterboot.wire.replies import Command, Rejected, explain

# Max commands per pipeline: a hub of 1,000 nodes gets its MEETs in ten of them.
_MAX_PIPELINED = 100
# Max slots per pipeline when keys are counted.
_MAX_COUNTED = 1000
# Arguments that servers refuse after they have checked their number and the permission; "x" for others.
_PROBES: Mapping[str, tuple[str, ...]] = {
    "MEET": ("x", "0"),
    "ADDSLOTSRANGE": ("x", "x"),
    "SETSLOT": ("x", "x"),
    "GETKEYSINSLOT": ("x", "x"),
    "MIGRATESLOTS": ("SLOTSRANGE", "x", "x", "NODE", "x"),
    "GETSLOTMIGRATIONS": (),
    "MIGRATE": ("x", "x", "x", "x", "x"),
    "RESTORE-ASKING": ("x", "x", "x"),
}


def command(step: Single, views: Mapping[str, View]) -> Command:
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
        case Failover():
            return ("CLUSTER", "FAILOVER")
        case Forget(_, _, node_id):
            return ("CLUSTER", "FORGET", node_id)
        case Reset():
            return ("CLUSTER", "RESET", "HARD")


def probe(command: Command) -> Command:
    """Return the command with arguments that servers refuse, after they have checked the permission."""
    name = command[: 2 if command[0] in ("CLUSTER", "FUNCTION") else 1]
    return (*name, *_PROBES.get(name[-1], ("x",)))


async def forbidden(fleet: Asker, commands: Iterable[tuple[str, Command]]) -> list[Problem]:
    """Return a problem for each command that a node's user may not run; runs none. Raises NodeFailed."""
    probes: dict[str, dict[Command, None]] = defaultdict(dict)
    for node, wanted in commands:
        probes[node][probe(wanted)] = None

    async def ask(node: str) -> list[Problem]:
        replies = await fleet.ask(node, *probes[node])
        return [
            explain(reply, node, sent)
            for sent, reply in zip(probes[node], replies, strict=True)
            if isinstance(reply, Rejected) and reply.refuses_permission
        ]

    return [problem for problems in await asyncio.gather(*map(ask, probes)) for problem in problems]


async def stranded(fleet: Asker, steps: Iterable[Step], views: Mapping[str, View]) -> list[Problem]:
    """Return a problem for every node with keys in an unassigned slot that another node is to get.

    A DELSLOTS on a node with keys leads to that. Clients would not find these keys any more.
    """
    unassigned = [(slot, step.node) for step in steps if isinstance(step, AddSlots) for slot in step.slots]
    with_keys = [name for name, view in views.items() if view.keys and not view.me.replica]

    async def ask(node: str) -> list[Problem]:
        others = [(slot, new_owner) for slot, new_owner in unassigned if new_owner != node]
        for start in range(0, len(others), _MAX_COUNTED):
            batch = others[start : start + _MAX_COUNTED]
            sent = [("CLUSTER", "COUNTKEYSINSLOT", str(slot)) for slot, _ in batch]
            replies = await fleet.ask(node, *sent)
            for (slot, new_owner), request, reply in zip(batch, sent, replies, strict=True):
                if isinstance(reply, Rejected):
                    return [explain(reply, node, request)]
                if reply:
                    return [_stranded(node, slot, new_owner)]
        return []

    return [problem for problems in await asyncio.gather(*map(ask, with_keys)) for problem in problems]


def _stranded(node: str, slot: int, new_owner: str) -> Problem:
    return refusal(
        "keys-elsewhere",
        f"{node} holds keys in slot {slot}, which no node serves and which {new_owner} would get: clients "
        "would not find them any more.",
        node=node,
        peer=new_owner,
        hint=f"run 'CLUSTER ADDSLOTS {slot}' on {node}, and the same for every slot that was taken from it",
    )


class Actor:
    """Sends steps. `done` are those that succeeded, in order.

    `failures` are nodes that did not answer the last time, `refusals` steps that were last refused for a
    transient reason.
    """

    def __init__(self, fleet: Asker, report: Reporter) -> None:
        self._fleet = fleet
        self._report = report
        self.done: list[Done] = []
        self.failures: dict[str, Problem] = {}
        self.refusals: dict[Single, Problem] = {}

    async def send(
        self, steps: Iterable[Single], views: Mapping[str, View], *, again: bool = False, extra: bool = False
    ) -> set[Single]:
        """Send `steps`; returns those that were refused for a transient reason.

        `again` and `extra` mark them in the record; a missing permission is transient for them, because it
        was not probed. Raises NodeFailed with every other error reply. Nodes that do not answer are skipped.
        """
        by_node: dict[str, list[Single]] = defaultdict(list)
        for step in steps:
            by_node[step.node].append(step)
        refused: set[Single] = set()
        final: list[Problem] = []

        async def send_to(node: str, mine: Sequence[Single]) -> None:
            for start in range(0, len(mine), _MAX_PIPELINED):
                batch = mine[start : start + _MAX_PIPELINED]
                sent = [command(step, views) for step in batch]
                try:
                    replies = await self._fleet.ask(node, *sent)
                except NodeFailed as failed:
                    self.failures[node] = failed.problems[0]
                    return
                self.failures.pop(node, None)
                for step, request, reply in zip(batch, sent, replies, strict=True):
                    self.refusals.pop(step, None)
                    if not isinstance(reply, Rejected):
                        self.done.append(Done(step, again=again, extra=extra))
                        self._report(self.done[-1])
                    elif reply.transient or ((again or extra) and reply.refuses_permission):
                        refused.add(step)
                        self.refusals[step] = explain(reply, node, request)
                    else:
                        final.append(explain(reply, node, request))

        await asyncio.gather(*(send_to(node, mine) for node, mine in by_node.items()))
        if final:
            raise NodeFailed(*final)
        return refused
