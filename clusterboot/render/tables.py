"""Nodes as tables: every primary with its replicas below it, and who sees whom."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from clusterboot.render import words
from clusterboot.render.page import (
    BAD,
    DIM,
    GLUE,
    GOOD,
    HEAD,
    NICE,
    WARN,
    Column,
    Page,
    Part,
    Piece,
    cells_of,
)
from clusterboot.render.safe import clean

if TYPE_CHECKING:
    from clusterboot.core.placement import Placement
    from clusterboot.core.results import NodeRow
    from clusterboot.topology import Topology

# Up to here a cluster is shown node by node; beyond, a screen could not hold it.
SMALL = 32
_SHOWN_HOLES = 20
_NAME = 16


def shards(primary_of: Mapping[str, str | None]) -> Iterator[tuple[str, bool]]:
    """Return every node, each primary followed by its replicas (True); without a primary it stands alone."""
    below: dict[str, list[str]] = {}
    for name, primary in primary_of.items():
        if primary is not None and primary in primary_of and primary_of[primary] is None:
            below.setdefault(primary, []).append(name)
    placed = {name for replicas in below.values() for name in replicas}
    for name in primary_of:
        if name not in placed:
            yield name, False
            yield from ((replica, True) for replica in below.get(name, ()))


def found(page: Page, topology: Topology, rows: Sequence[NodeRow]) -> None:
    """Add a table of nodes as they were found: what each is, serves, sees and says about itself."""
    by_name = {row.name: row for row in rows}
    zones = {node.name: node.zone for node in topology.nodes}
    mesh_only = topology.slots == "none"
    columns = (
        Column("node", least=_NAME),
        Column("address", NICE, least=_NAME),
        Column("role", 1),
        Column("slots", least=12),
        Column("sees", 2, right=True),
        Column("state"),
        Column("server", NICE + 1),
        Column("zone", NICE + 2),
    )
    table: list[list[Part]] = []
    for name, replica in shards({row.name: row.primary for row in rows}):
        row = by_name[name]
        sees = len(rows) - 1 - len([other for other in row.unseen if other != name])
        role: str = "" if mesh_only or row.role is None else row.role
        if role == "replica" and not replica:
            role = f"replica of {clean(words.node(row.primary or '?'))}"
        table.append(
            [
                _name(name, replica),
                _where(row),
                role,
                words.slots(row.slots),
                "" if row.id is None else (f"{sees}/{len(rows) - 1}", "" if sees == len(rows) - 1 else BAD),
                _state(row, mesh_only),
                (clean(row.version or ""), DIM),
                (clean(zones.get(name) or ""), DIM),
            ]
        )
    page.table(columns, table)


def _where(row: NodeRow) -> str:
    """The address where it is not the name, and which address of a host name was taken."""
    address = clean(row.address) if row.address != row.name else ""
    if row.ip is None or row.ip in row.address:
        return address
    return f"{address} ({clean(row.ip)})" if address else clean(row.ip)


def planned(page: Page, topology: Topology, target: Placement) -> None:
    """Add a table of nodes as they are to be: role, slots, zone."""
    nodes = {node.name: node for node in topology.nodes}
    columns = (
        Column("node", least=_NAME),
        Column("address", NICE, least=_NAME),
        Column("role", 1),
        Column("slots", least=12),
        Column("zone", 2),
    )
    table: list[list[Part]] = []
    for name, replica in shards({name: spot.primary for name, spot in target.spots.items()}):
        spot, node = target.spots[name], nodes[name]
        table.append(
            [
                _name(name, replica),
                clean(node.address) if node.address != name else "",
                "" if topology.slots == "none" else spot.role,
                words.slots(spot.slots),
                (clean(node.zone or ""), DIM),
            ]
        )
    page.table(columns, table)


def places(page: Page, topology: Topology, target: Placement) -> None:
    """Add how many primaries and replicas each zone, or else each host, is to have; for big clusters."""
    zoned = any(node.zone is not None for node in topology.nodes)
    tally: dict[str, list[int]] = {}
    for node in topology.nodes:
        entry = tally.setdefault((node.zone or "no zone") if zoned else node.host, [0, 0])
        entry[target.spots[node.name].role == "replica"] += 1
    columns = (
        Column("zone" if zoned else "host", least=_NAME),
        Column("primaries", right=True),
        Column("replicas", right=True),
    )
    rows: list[list[Part]] = [[clean(place), str(one), str(two)] for place, (one, two) in tally.items()]
    left = len(rows) - SMALL
    page.table(columns, rows[:SMALL] if left > 1 else rows)
    if left > 1:
        page.line((f"  and {words.count(left, columns[0].title)} more", DIM))


def who_sees_whom(page: Page, rows: Sequence[NodeRow]) -> None:
    """Add the matrix of links, or in a big cluster only its holes; nothing where everybody sees everybody.

    Nor is there anything to see where no node answers.
    """
    silent = [row for row in rows if row.id is None]
    if len(rows) < 2 or len(silent) == len(rows) or not (silent or any(row.unseen for row in rows)):
        return
    page.line()
    if len(rows) > SMALL:
        _holes(page, rows)
        return
    page.paragraph(
        ("who sees whom", HEAD),
        (f"  (rows look at columns: ·{GLUE}seen, ✗{GLUE}not{GLUE}seen, ?{GLUE}not{GLUE}answering)", DIM),
        hang=2,
    )
    # One character a node when two do not fit: 32 nodes then still fit into 40 columns.
    room = page.width if page.width is not None else 1000
    gap = " " if 8 + 2 * len(rows) + _NAME <= room else ""
    width = len(str(len(rows)))
    numbers = [str(number).rjust(width) for number in range(1, len(rows) + 1)]
    longest = max(cells_of(clean(row.name)) for row in rows)
    cells_width = len(rows) + (len(rows) - 1) * len(gap)
    # Two spaces each before the number, the name and the cells.
    label = max(0, min(longest, room - 6 - width - cells_width))
    if label < 4:
        label = 0
    margin = " " * (2 + width + (2 + label if label else 0) + 2)
    for digit in range(width):
        page.line((margin + gap.join(number[digit] for number in numbers).rstrip(), DIM))
    for row, number in zip(rows, numbers, strict=True):
        name = page.fit(clean(row.name), label) if label else ""
        name = f"  {name}{' ' * (label - cells_of(name))}" if label else ""
        cells: list[Piece] = []
        unseen = set(row.unseen)
        for other in rows:
            if other.name == row.name:
                cells.append(("–", DIM))
            elif row.id is None:
                cells.append(("?", WARN))
            else:
                cells.append(("✗", BAD) if other.name in unseen else ("·", DIM))
            cells.append((gap, ""))
        page.line(("  ", ""), (number, DIM), name, "  ", *cells[: len(cells) - 1])


def _holes(page: Page, rows: Sequence[NodeRow]) -> None:
    """The most missed nodes first: a dead node is one line, not one for everybody who misses it."""
    silent = sum(row.id is None for row in rows)
    page.line(("who is not seen", HEAD))
    missed = sorted((row for row in rows if row.unseen_by), key=lambda row: -len(row.unseen_by))
    for row in missed[:_SHOWN_HOLES]:
        by = row.unseen_by
        asked = len(rows) - silent - (row.id is not None)
        who = f"all {asked} others" if len(by) >= asked > 1 else words.names(by, 4)
        page.paragraph("  ", (clean(row.name), ""), f" is not seen by {who}", hang=4)
    if len(missed) > _SHOWN_HOLES:
        page.line((f"  and {words.count(len(missed) - _SHOWN_HOLES, 'node')} more; -o json lists all", DIM))
    if not missed:
        page.line(("  every node that answers sees all others", DIM))


def _name(name: str, replica: bool) -> str:
    return f"└ {clean(name)}" if replica else clean(name)


def _state(row: NodeRow, mesh_only: bool) -> Part:
    if row.state == "away" or row.state is None:
        return ("away", BAD)
    if mesh_only:
        return ""
    return (clean(row.state), GOOD if row.state == "ok" else BAD)
