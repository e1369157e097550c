"""Nodes as tables: each primary with its replicas below it, and which node sees which."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from clusterboot.core.placement import Placement
from clusterboot.core.results import NodeRow
from clusterboot.core.steps import MoveSlots
from clusterboot.render import words
from clusterboot.render.page import BAD, DIM, GOOD, HEAD, OPTIONAL, WARN, Column, Page, Part
from clusterboot.render.safe import clean
from clusterboot.topology import Topology

MAX_NODES = 32  # with a row each; a screen does not hold more
_MAX_MISSED = 20
_NAME = 16  # the least width of a column of names


def _shards(primary_of: Mapping[str, str | None]) -> Iterator[tuple[str, bool]]:
    """Yield every node: each primary, then its replicas (True); other replicas stand alone."""
    below: dict[str, list[str]] = {name: [] for name, primary in primary_of.items() if primary is None}
    for name, primary in primary_of.items():
        if primary in below:
            below[primary].append(name)
    for name, primary in primary_of.items():
        if primary not in below:
            yield name, False
            yield from ((replica, True) for replica in below.get(name, ()))


def actual(page: Page, topology: Topology, rows: Sequence[NodeRow]) -> None:
    """Add a table of nodes as they are: role, slots, how many nodes each sees, and its own state."""
    by_name = {row.name: row for row in rows}
    zones = {node.name: node.zone or "" for node in topology.nodes}
    mesh_only = topology.slots == "none"
    order = list(_shards({row.name: row.primary for row in rows}))
    shown = [(by_name[name], replica) for name, replica in order]
    page.table(
        Column("node", _names(order), least=_NAME),
        Column("address", [_address(row) for row, _ in shown], OPTIONAL, least=_NAME),
        Column("role", ["" if mesh_only else _role(row, replica, topology) for row, replica in shown], 1),
        Column("slots", [words.slots(row.slots) for row, _ in shown], least=12),
        Column("sees", [_sees(row, len(rows) - 1) for row, _ in shown], 2, right=True),
        Column("state", [_state(row, mesh_only) for row, _ in shown]),
        Column("server", [(clean(row.version or ""), DIM) for row, _ in shown], OPTIONAL + 1),
        Column("zone", [(clean(zones.get(row.name, "")), DIM) for row, _ in shown], OPTIONAL + 2),
    )


def _names(order: Sequence[tuple[str, bool]]) -> list[Part]:
    return [f"└ {clean(name)}" if replica else clean(name) for name, replica in order]


def _address(row: NodeRow) -> str:
    """Return the address where it is not the name, and the IP address of a host name."""
    address = clean(row.address) if row.address != row.name else ""
    if row.ip is None or row.ip in row.address:
        return address
    return f"{address} ({clean(row.ip)})" if address else clean(row.ip)


def _role(row: NodeRow, below_primary: bool, topology: Topology) -> str:
    leaves = ", leaves" if row.name in topology.leaving else ""
    if row.role == "replica" and not below_primary:
        return f"replica of {clean(words.node(row.primary or '?'))}{leaves}"
    return f"{row.role}{leaves}" if row.role else ""


def _sees(row: NodeRow, others: int) -> Part:
    if row.id is None:
        return ""
    sees = others - len(set(row.unseen) - {row.name})
    return (f"{sees}/{others}", "" if sees == others else BAD)


def _state(row: NodeRow, mesh_only: bool) -> Part:
    if row.state == "away" or row.state is None:
        return ("away", BAD)
    return "" if mesh_only else (clean(row.state), GOOD if row.state == "ok" else BAD)


def _share(size: int) -> str:
    return f"{size:,} ({words.percent(size)} %)" if size > 0 else ""


def planned(page: Page, topology: Topology, target: Placement, moves: Sequence[MoveSlots] = ()) -> None:
    """Add a table of nodes as they are to be: role, slots, zone; with `moves`, their shares after them."""
    by_name = {node.name: node for node in topology.nodes}
    order = list(_shards({name: spot.primary for name, spot in target.spots.items()}))
    nodes = [by_name[name] for name, _ in order]
    spots = [target.spots[name] for name, _ in order]
    sizes = {name: len(spot.slots) for name, spot in target.spots.items()}
    for step in moves:
        sizes[step.node] = sizes.get(step.node, 0) - len(step.slots)
        sizes[step.peer] = sizes.get(step.peer, 0) + len(step.slots)
    addresses = [clean(node.address) if node.address != node.name else "" for node in nodes]
    roles = [
        f"{target.spots[name].role}{', leaves' if name in topology.leaving else ''}" for name, _ in order
    ]
    page.table(
        Column("node", _names(order), least=_NAME),
        Column("address", addresses, OPTIONAL, least=_NAME),
        Column("role", [] if topology.slots == "none" else roles, 1),
        Column("slots", [words.slots(spot.slots) for spot in spots], least=12),
        Column(
            "share after" if moves else "share", [_share(sizes[name]) for name, _ in order], 2, right=True
        ),
        Column("zone", [(clean(node.zone or ""), DIM) for node in nodes], 2),
    )


def places(page: Page, topology: Topology, target: Placement) -> None:
    """Add how many primaries and replicas each zone is to have, or each host where there are no zones."""
    zoned = any(node.zone is not None for node in topology.nodes)
    tally: dict[str, list[int]] = {}
    for node in topology.nodes:
        entry = tally.setdefault((node.zone or "no zone") if zoned else node.host, [0, 0])
        entry[target.spots[node.name].role == "replica"] += 1
    kind = "zone" if zoned else "host"
    more = len(tally) - MAX_NODES
    shown = list(tally.items())[: MAX_NODES if more > 1 else None]
    page.table(
        Column(kind, [clean(place) for place, _ in shown], least=_NAME),
        Column("primaries", [str(primaries) for _, (primaries, _) in shown], right=True),
        Column("replicas", [str(replicas) for _, (_, replicas) in shown], right=True),
    )
    if more > 1:
        page.line((f"  and {words.count(more, kind)} more", DIM))


def who_sees_whom(page: Page, rows: Sequence[NodeRow]) -> None:
    """Add the matrix of links, or nodes not seen if many; nothing if all see all or no node answers."""
    silent = sum(row.id is None for row in rows)
    if len(rows) < 2 or silent == len(rows) or not (silent or any(row.unseen for row in rows)):
        return
    page.line()
    if len(rows) > MAX_NODES:
        _not_seen(page, rows, silent)
        return
    legend = "  (rows look at columns: · seen, ✗ not seen, ? not answering)"
    page.line(("who sees whom", HEAD), (legend, DIM))
    # One character a node when two do not fit: 32 nodes then still fit into 40 columns.
    room = page.console.width if page.console.is_terminal else 1000
    gap = " " if 8 + 2 * len(rows) + _NAME <= room else ""
    digits = len(str(len(rows)))
    numbers = [str(number).rjust(digits) for number in range(1, len(rows) + 1)]
    # The numbers of the columns stand above them, digit below digit.
    heading = [page.text((gap.join(digit), DIM)) for digit in zip(*numbers, strict=True)]
    cells = [page.text(*_links(row, rows, gap)) for row in rows]
    above: list[Part] = [""] * digits
    page.table(
        Column("", [*above, *((number, DIM) for number in numbers)]),
        Column("", [*above, *(clean(row.name) for row in rows)], 1, least=4),
        Column("", [*heading, *cells]),
    )


def _links(row: NodeRow, rows: Sequence[NodeRow], gap: str) -> Iterator[Part]:
    unseen = set(row.unseen)
    for index, other in enumerate(rows):
        if index and gap:
            yield gap
        if other.name == row.name:
            yield ("–", DIM)
        elif row.id is None:
            yield ("?", WARN)
        else:
            yield ("✗", BAD) if other.name in unseen else ("·", DIM)


def _not_seen(page: Page, rows: Sequence[NodeRow], silent: int) -> None:
    """Add a line for each node that is not seen, first those that most nodes do not see."""
    page.line(("who is not seen", HEAD))
    missed = sorted((row for row in rows if row.unseen_by), key=lambda row: -len(row.unseen_by))
    for row in missed[:_MAX_MISSED]:
        by = row.unseen_by
        asked = len(rows) - silent - (row.id is not None)
        others = f"all {asked} others" if len(by) >= asked > 1 else words.names(by, 4)
        page.line(f"  {clean(row.name)} is not seen by {others}", hang=4)
    if len(missed) > _MAX_MISSED:
        page.line((f"  and {words.count(len(missed) - _MAX_MISSED, 'node')} more; -o json lists all", DIM))
    if not missed:
        page.line(("  every node that answers sees all others", DIM))
