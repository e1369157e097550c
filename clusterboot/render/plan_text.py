"""Plans as text: who becomes what, and the steps, with the MEETs drawn so that their shape can be seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from clusterboot.addresses import Endpoint
from clusterboot.core.plan import AddSlots, Meet, Plan, Replicate, SetEpoch
from clusterboot.render import tables, words
from clusterboot.render.page import DIM, GLUE, HEAD, Column, Page, Piece, cells_of
from clusterboot.render.safe import clean

if TYPE_CHECKING:
    from rich.console import Console

    from clusterboot.core.placement import Placement
    from clusterboot.core.results import Validated
    from clusterboot.topology import Topology

_SHOWN_BIG = 6


def plan(console: Console, result: Validated) -> None:
    """Print the plan for fresh nodes: the nodes with their places, then the steps."""
    topology, target = result.topology, result.placement
    page = Page(console)
    page.paragraph(("Plan for fresh nodes: ", HEAD), summary(topology, target, result.plan), hang=2)
    page.line()
    if len(topology.nodes) > tables.SMALL:
        tables.places(page, topology, target)
        if topology.slots != "none":
            page.line((f"  {_sizes(target)}", DIM))
    else:
        tables.planned(page, topology, target)
    page.line()
    steps(page, result.plan, big=len(topology.nodes) > tables.SMALL)
    if len(topology.nodes) > tables.SMALL:
        page.line()
        page.paragraph(("Every node and step: clusterboot plan --format json", DIM))
    page.print()


def summary(topology: Topology, target: Placement, found: Plan) -> str:
    """Return a cluster and how it is made: "6 nodes, 3 primaries, 3 replicas, star of 5 MEETs"."""
    meets = len(found.meets)
    how = f"{topology.strategy} of {words.count(meets, 'MEET')}" if meets else "no MEET"
    return f"{shape(topology, target)}, {how}"


def shape(topology: Topology, target: Placement, *, meet_only: bool = False) -> str:
    """Return how many nodes of each role there are: "6 nodes, 3 primaries, 3 replicas".

    With `meet_only` nobody was given a role, and there are only nodes.
    """
    total = words.count(len(topology.nodes), "node")
    if topology.slots == "none":
        return f"{total}, a mesh without slots"
    if meet_only:
        return total
    replicas = sum(spot.role == "replica" for spot in target.spots.values())
    primaries = words.count(len(target.spots) - replicas, "primary", "primaries")
    return ", ".join((total, primaries, *([words.count(replicas, "replica")] if replicas else [])))


def steps(page: Page, found: Plan, *, big: bool) -> None:
    """Add the steps by kind, in the order in which they are sent; of a `big` plan only the first of each."""
    most = _SHOWN_BIG if big else 10_000
    epochs = [step for step in found.steps if isinstance(step, SetEpoch)]
    slots = [step for step in found.steps if isinstance(step, AddSlots)]
    replicates = [step for step in found.steps if isinstance(step, Replicate)]
    page.line(("Steps, in order", HEAD))
    if epochs:
        rows = [(clean(step.node), str(step.epoch)) for step in epochs]
        _listed(page, words.count(len(epochs), "config epoch"), rows, most)
    if slots:
        rows = [(clean(step.node), words.slots(step.slots)) for step in slots]
        _listed(page, words.count(len(slots), "slot range"), rows, most)
    if found.meets:
        _draw(page, found.meets, most)
    if replicates:
        rows = [(clean(step.node), f"of {clean(step.primary)}") for step in replicates]
        _listed(page, words.count(len(replicates), "REPLICATE"), rows, most, names=True)


def _listed(
    page: Page, title: str, rows: Sequence[tuple[str, str]], most: int, *, names: bool = False
) -> None:
    page.line(f"  {title}")
    shown = rows[:most]
    wide = 6 + sum(max(cells_of(row[index]) for row in shown) for index in (0, 1))
    if names and page.width is not None and wide > page.width:
        # Names that are cut to fit would all look alike: the second goes below the first, both whole.
        for first, second in shown:
            page.line(f"    {first}")
            page.line(f"      {second}")
    else:
        page.table((Column("", least=12), Column("", least=12)), shown, indent=4)
    if len(rows) > most:
        page.line((f"    and {len(rows) - most} more", DIM))


def _draw(page: Page, meets: Sequence[Meet], most: int) -> None:
    """One drawing per chain and per hub, in the order of the steps."""
    page.line(f"  {words.count(len(meets), 'MEET')}")
    start = 0
    while start < len(meets):
        end = start + 1
        chained = end < len(meets) and meets[end].node == meets[start].peer
        while end < len(meets) and meets[end].node == (meets[end - 1].peer if chained else meets[start].node):
            end += 1
        (_chain if chained else _star)(page, meets[start:end], most)
        start = end


def _star(page: Page, meets: Sequence[Meet], most: int) -> None:
    hub = clean(meets[0].node)
    # Deep under a long name the branches would leave a narrow screen: then they go below it.
    below = (
        page.width is not None
        and cells_of(hub) + 8 + max(cells_of(point(meet)) for meet in meets) > page.width
    )
    margin = "    " if below else " " * (5 + cells_of(hub))
    if below:
        page.line(f"    {hub}")
    shown = meets[:most]
    more = len(meets) - len(shown)
    for index, meet in enumerate(shown):
        last = index == len(shown) - 1 and not more
        first = index == 0 and not below
        # On the line of the hub, below it; each in the middle, then at the end.
        branch = (("─┬▶ ", "──▶ ") if first else (" ├▶ ", " └▶ "))[last]
        head: Piece = (f"    {hub} ", "") if first else (margin, "")
        page.line(head, (branch, DIM), point(meet))
    if more:
        page.line((margin, ""), (" └▶ ", DIM), (f"{more} more", DIM))


def _chain(page: Page, meets: Sequence[Meet], most: int) -> None:
    shown = meets[:most]
    more = len(meets) - len(shown)
    # The arrow sticks to the name after it, so that a chain breaks before an arrow.
    parts: list[Piece] = [(f"    {clean(meets[0].node)}", "")]
    for meet in shown:
        parts += [(" ", ""), (f"─▶{GLUE}", DIM), (point(meet), "")]
    if more:
        parts += [(" ", ""), (f"─▶{GLUE}{more}{GLUE}more", DIM)]
    page.paragraph(*parts, hang=4)


def point(meet: Meet) -> str:
    """Return whom a MEET meets, with the address and the bus port where they are not what the name says."""
    bus = f"@{meet.bus_port}" if meet.bus_port is not None else ""
    address = str(Endpoint(meet.host, meet.port))
    where = f"{address}{bus}" if bus or address != meet.peer else ""
    if address == meet.peer:
        return f"{clean(meet.peer)}{bus}"
    return f"{clean(meet.peer)} ({clean(where)})" if where else clean(meet.peer)


def _sizes(target: Placement) -> str:
    """How many slots a primary gets."""
    sizes = [len(spot.slots) for spot in target.spots.values() if spot.slots]
    low, high = min(sizes, default=0), max(sizes, default=0)
    return f"{words.count(low, 'slot')} per primary" if low == high else f"{low} to {high} slots per primary"
