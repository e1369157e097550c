"""What `--rebalance` adds to a plan as text: which slots move where, and which nodes forget which."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len

from clusterboot.core.results import Transfer
from clusterboot.core.steps import Forget, MoveSlots
from clusterboot.render import words
from clusterboot.render.page import DIM, OPTIONAL, Column, Page
from clusterboot.render.safe import clean

_MAX_NAMED = 4  # nodes that forget the same one; of more only their number


def add(page: Page, planned: Sequence[MoveSlots], transfers: Sequence[Transfer], most: int) -> None:
    """Add the first `most` moves: the `transfers`, else what is `planned`, whose keys were not counted."""
    steps = [each.step for each in transfers] or planned
    if not steps:
        return
    keys = f" with {words.large(sum(each.keys for each in transfers), 'key')}" if transfers else ""
    slots = words.large(sum(len(step.slots) for step in steps), "slot")
    page.line(f"  {words.count(len(steps), words.STEPS['slots-move'])}: {slots}{keys}", hang=4)
    shown = [_cells(step) for step in steps[:most]]
    held = [(f"{each.keys:,}", each.method) for each in transfers[:most]]
    titles = ("from", "to", "slots", "keys", "by")
    columns = [*zip(*shown, strict=True), *zip(*held, strict=True)]
    widths = [max(map(cell_len, (title, *cells))) for title, cells in zip(titles, columns, strict=False)]
    if page.console.is_terminal and 2 + sum(2 + width for width in widths) > page.console.width:
        # Names that are cut to fit would all look alike.
        for index, (node, peer, number) in enumerate(shown):
            page.line(f"    {node}", (" → ", DIM), peer, hang=6)
            more = f" with {held[index][0]} keys: {held[index][1]}" if held else ""
            page.line((f"      {number} slots{more}", DIM), hang=6)
    else:
        page.table(
            *(
                Column(title, cells, right=title in ("slots", "keys"))
                for title, cells in zip(titles, columns, strict=False)
            ),
            Column("", [(words.slots(step.slots), DIM) for step in steps[:most]], OPTIONAL),
            indent=4,
        )
    if len(steps) > most:
        page.line((f"    and {len(steps) - most} more", DIM))


def _cells(step: MoveSlots) -> tuple[str, str, str]:
    return clean(step.node), clean(step.peer), f"{len(step.slots):,}"


def forgets(page: Page, found: Sequence[Forget], most: int) -> None:
    """Add a line for each node that is forgotten, with those that forget it or how many they are."""
    by: dict[str, list[str]] = {}
    for step in found:
        by.setdefault(step.peer, []).append(step.node)
    for peer, nodes in list(by.items())[:most]:
        on = words.names(nodes, _MAX_NAMED) if len(nodes) <= _MAX_NAMED else words.count(len(nodes), "node")
        page.line(f"    {clean(words.node(peer))} on {on}", hang=6)
    if len(by) > most:
        page.line((f"    and {len(by) - most} more", DIM))
