"""Plans as text: the place of each node, and the steps, with the MEETs drawn as stars and chains."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console

from clusterboot.addresses import Endpoint
from clusterboot.core.placement import Placement
from clusterboot.core.plan import Plan
from clusterboot.core.results import Transfer, Validated
from clusterboot.core.steps import (
    AddSlots,
    Failover,
    Forget,
    Meet,
    MoveSlots,
    Replicate,
    Reset,
    SetEpoch,
    Step,
)
from clusterboot.render import moves, tables, words
from clusterboot.render.page import DIM, HEAD, Column, Page, Part
from clusterboot.render.safe import clean
from clusterboot.topology import Topology

MAX_STEPS = 6  # of each kind in the plan of a big cluster
_MAX_LEAVING = 10  # names of nodes that leave


def plan(console: Console, result: Validated) -> None:
    """Print the plan for fresh nodes: the nodes with their places, then the steps."""
    topology, target = result.topology, result.placement
    big = len(topology.nodes) > tables.MAX_NODES
    page = Page(console)
    page.line(("Plan for fresh nodes: ", HEAD), summary(result))
    page.line()
    if big:
        tables.places(page, topology, target)
        if topology.slots != "none":
            page.line((f"  {_shares([len(spot.slots) for spot in target.spots.values()])}", DIM))
    else:
        tables.planned(page, topology, target)
    if topology.retire:
        names = words.names([words.node(entry.name) for entry in topology.retire], _MAX_LEAVING)
        leave = "leaves" if len(topology.retire) == 1 else "leave"
        page.line(f"  {names} {leave} with 'up --rebalance'", hang=4)
    page.line()
    steps(page, result.plan, big=big)
    if big:
        page.line()
        page.line(("'clusterboot plan --format json' lists every node and step", DIM))
    page.print()


def _shares(sizes: Sequence[int]) -> str:
    """Return how many slots primaries get that get any: "546 to 547 slots (3.3 %) per primary"."""
    owned = [size for size in sizes if size] or [0]
    ends = (min(owned), max(owned))
    each = "1 slot" if ends == (1, 1) else f"{' to '.join(dict.fromkeys(f'{end:,}' for end in ends))} slots"
    return f"{each} ({' to '.join(dict.fromkeys(map(words.percent, ends)))} %) per primary"


def summary(result: Validated) -> str:
    """Return a cluster and how it is made: "6 nodes, 3 primaries, 3 replicas, star of 5 MEETs"."""
    meets = len(result.plan.meets)
    how = f"{result.topology.strategy} of {words.count(meets, 'MEET')}" if meets else "no MEET"
    return f"{shape(result.topology, result.placement)}, {how}"


def shape(topology: Topology, target: Placement, *, meet_only: bool = False) -> str:
    """Return "6 nodes, 3 primaries, 3 replicas"; with `meet_only` no node gets a role."""
    total = words.count(len(topology.nodes), "node")
    if topology.slots == "none":
        return f"{total}, a mesh without slots"
    if meet_only:
        return total
    replicas = sum(spot.role == "replica" for spot in target.spots.values())
    primaries = words.count(len(target.spots) - replicas, "primary", "primaries")
    leaving = len(topology.leaving)
    parts = [words.count(replicas, "replica")] if replicas else []
    parts += [f"{leaving} of them {'leaves' if leaving == 1 else 'leave'}"] if leaving else []
    return ", ".join((total, primaries, *parts))


def steps(page: Page, found: Plan, transfers: Sequence[Transfer] = (), *, big: bool) -> None:
    """Add the steps by kind, in the order in which they are sent; of a `big` plan only the first of each."""
    most = MAX_STEPS if big else len(found.steps) + len(transfers)
    page.line(("Steps, in order", HEAD))
    for kind, name in words.STEPS.items():
        same = [step for step in found.steps if step.kind == kind]
        if kind == "slots-move":
            moves.add(page, [step for step in same if isinstance(step, MoveSlots)], transfers, most)
            continue
        if same:
            page.line(f"  {words.count(len(same), name)}")
        if kind == "meet":
            _draw(page, found.meets, most)
            continue
        if kind == "forget":
            moves.forgets(page, [step for step in same if isinstance(step, Forget)], most)
            continue
        rows = [(clean(step.node), _value(step)) for step in same[:most]]
        wide = 6 + sum(max(map(cell_len, column)) for column in zip(*rows, strict=True))
        if kind in ("replicate", "failover") and page.console.is_terminal and wide > page.console.width:
            # Names that are cut to fit would all look alike: the second goes below the first, both whole.
            for replica, primary in rows:
                page.line(f"    {replica}", hang=None)
                page.line(f"      {primary}", hang=None)
        else:
            page.table(*(Column("", column, least=12) for column in zip(*rows, strict=True)), indent=4)
        if len(same) > most:
            page.line((f"    and {len(same) - most} more", DIM))


def _value(step: Step) -> str:
    match step:
        case SetEpoch():
            return str(step.epoch)
        case AddSlots():
            return words.slots(step.slots)
        case Replicate():
            return f"of {clean(step.primary)}"
        case Meet():
            return _peer(step)
        case Failover():
            return f"in place of {clean(step.peer)}"
        case MoveSlots():
            return f"{words.slots(step.slots)} to {clean(step.peer)}"
        case Forget():
            return f"forgets {clean(words.node(step.peer))}"
        case Reset():
            return "HARD"


def _draw(page: Page, meets: Sequence[Meet], most: int) -> None:
    """Add a drawing for each chain and each hub, in the order of the steps."""
    start = 0
    while start < len(meets):
        end = start + 1
        chained = end < len(meets) and meets[end].node == meets[start].peer
        while end < len(meets) and meets[end].node == (meets[end - 1].peer if chained else meets[start].node):
            end += 1
        peers = [_peer(meet) for meet in meets[start : min(end, start + most)]]
        if end - start > most:
            peers.append(f"{end - start - most} more")
        hub = clean(meets[start].node)
        if chained or len(peers) == 1:
            arrows: list[Part] = [part for peer in peers for part in ((" ─▶ ", DIM), peer)]
            page.line(f"    {hub}", *arrows, hang=4)
        else:
            page.line(f"    {hub}", hang=None)
            for index, peer in enumerate(peers):
                branch = "└▶" if index == len(peers) - 1 else "├▶"
                page.line((f"     {branch} ", DIM), peer, hang=None)
        start = end


def _peer(meet: Meet) -> str:
    """Return the node that a MEET names, with address and bus port where its name does not say them."""
    bus = f"@{meet.bus_port}" if meet.bus_port is not None else ""
    address = str(Endpoint(meet.host, meet.port))
    if address == meet.peer:
        return f"{clean(meet.peer)}{bus}"
    return f"{clean(meet.peer)} ({clean(address + bus)})"
