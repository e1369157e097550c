"""Forms to one draft per node: ranges expanded, names given, addresses unique."""

from __future__ import annotations

from dataclasses import dataclass

from clusterboot.addresses import BUS_OFFSET, Endpoint
from clusterboot.slots import Slots
from clusterboot.topology.address import MAX_PORT, key, parse, reference
from clusterboot.topology.document import Spot
from clusterboot.topology.hosts import AddressError
from clusterboot.topology.lost import Lost
from clusterboot.topology.model import MAX_NODES, Role
from clusterboot.topology.report import Problems, cut, listed, shown
from clusterboot.topology.schema import NodeForm, TopologyForm


@dataclass(slots=True)
class Draft:
    """A node while its references are being resolved; `spot` is its entry in the file."""

    name: str
    host: str
    port: int
    bus_port: int | None
    spot: Spot
    form: NodeForm | None = None
    role: Role | None = None
    replica_of: str | None = None
    slots: Slots | None = None


Index = dict[str | tuple[str, int], Draft]
"""Drafts by name and by address key."""


def expand(form: TopologyForm, spot: Spot, lost: Lost, problems: Problems) -> list[Draft]:
    """Return the nodes in the order of the file; empty when they are too many to make, or all lost."""
    if lost.all_nodes:
        return []
    drafts: list[Draft] = []
    count = 0
    for index, entry in enumerate(form.nodes):
        place = spot.at("nodes", index)
        if isinstance(entry, NodeForm):
            count += 1
            if count <= MAX_NODES:
                drafts.append(_long(entry, place, lost, problems))
            continue
        pattern = parse(entry)
        count += pattern.count
        if count > MAX_NODES:
            continue
        try:
            for host, port, bus_port in pattern.addresses():
                drafts.append(Draft(str(Endpoint(host, port)), host, port, bus_port, place))
        except AddressError as error:
            problems.add("topology-invalid-address", str(error), place)
            lost.take(("nodes", index), place)
    if count > MAX_NODES:
        message = f"'nodes' stands for {_number(count)} nodes; a topology has at most {MAX_NODES:,}"
        problems.add("topology-too-many-nodes", message, spot.at("nodes"))
        return []
    _check_bus_ports(drafts, problems)
    return drafts


def index_nodes(drafts: list[Draft], problems: Problems) -> Index:
    """Return the drafts by name and by address; each name and address that is not unique is noted."""
    index: Index = {}
    again: dict[tuple[int, int], tuple[Draft, Draft, int]] = {}
    for draft in drafts:
        first = index.setdefault(key(draft.host, draft.port), draft)
        if first is not draft:
            # One problem for a whole range that is listed twice, not one for each of its ports.
            pair = (id(first.spot), id(draft.spot))
            earlier, later, count = again.get(pair, (first, draft, 0))
            again[pair] = (earlier, later, count + 1)
    for earlier, later, count in again.values():
        address = shown(str(Endpoint(later.host, later.port)))
        more = f" and {count - 1} more" if count > 1 else ""
        verb = "are" if count > 1 else "is"
        message = f"{address}{more} {verb} listed twice, first on line {earlier.spot.line}"
        problems.add(
            "topology-duplicate-address", message, later.spot, node=later.name, hint="list each node once"
        )
    for draft in drafts:
        if draft.form is None or draft.form.name is None:
            continue
        place = draft.spot.at("name")
        first = index.setdefault(draft.name, draft)
        if first is not draft:
            message = f"the name {shown(draft.name)} is given twice, first on line {first.spot.line}"
            problems.add("topology-duplicate-name", message, place, node=draft.name)
        named = reference(draft.name)
        other = index.get(named) if named else None
        if other is not None and other is not draft:
            message = f"the name {shown(draft.name)} is the address of the node on line {other.spot.line}"
            problems.add("topology-duplicate-name", message, place, node=draft.name)
    return index


def find(text: str, index: Index) -> Draft | None:
    """Return the node with the name or the address `text`."""
    if text in index:
        return index[text]
    named = reference(text)
    return index.get(named) if named else None


def check_announced(drafts: list[Draft], problems: Problems) -> None:
    """Note nodes that others could not tell apart: one announced address or bus address for two."""
    clients: dict[tuple[str, int], Draft] = {}
    buses: dict[tuple[str, int], Draft] = {}
    for draft in drafts:
        announce = draft.form.announce if draft.form else None
        host = announce.host if announce else draft.host
        bus_port = (announce.bus_port if announce else None) or draft.bus_port
        if announce:
            port = announce.port or draft.port
            place = draft.spot.at("announce")
            _unique("announced address", host, port, draft, clients, place, problems)
        if bus_port:
            place = draft.spot.at("announce" if announce and announce.bus_port else "bus_port")
            _unique("bus address", host, bus_port, draft, buses, place, problems)


def _unique(
    what: str,
    host: str,
    port: int,
    draft: Draft,
    seen: dict[tuple[str, int], Draft],
    place: Spot,
    problems: Problems,
) -> None:
    first = seen.setdefault(key(host, port), draft)
    if first is not draft and key(first.host, first.port) != key(draft.host, draft.port):
        address = shown(str(Endpoint(host, port)))
        message = f"the {what} {address} is that of {shown(first.name)} too; each node needs its own"
        problems.add("topology-duplicate-address", message, place, node=draft.name, peer=first.name)


def _long(form: NodeForm, spot: Spot, lost: Lost, problems: Problems) -> Draft:
    name = form.name or str(Endpoint(form.host, form.port))
    draft = Draft(name, form.host, form.port, form.bus_port, spot, form, form.role)
    if form.slots is not None:
        draft.slots = _slots(form.slots, spot.at("slots"), name, lost, problems)
    return draft


def _slots(
    given: str | int | list[str | int], spot: Spot, name: str, lost: Lost, problems: Problems
) -> Slots:
    parts = given if isinstance(given, list) else [given]
    if "none" in parts:
        if len(parts) > 1:
            message = "'none' stands alone; the list has other slots as well"
            problems.add("topology-invalid-value", message, spot, node=name)
            lost.take(("slots",), spot)
        return Slots()
    try:
        return Slots.parse(",".join(str(part) for part in parts))
    except ValueError as error:
        text = cut(str(error))
        problems.add("topology-invalid-value", text, spot, node=name)
        lost.take(("slots",), spot)
        return Slots()


def _check_bus_ports(drafts: list[Draft], problems: Problems) -> None:
    """Note ports that leave no room for the bus port: such a server does not even start."""
    high: dict[int, list[Draft]] = {}
    for draft in drafts:
        announce = draft.form.announce if draft.form else None
        if draft.bus_port == draft.port:
            message = f"the bus port of {shown(draft.name)} is its client port; it needs another one"
            place = draft.spot.at("bus_port")
            problems.add("topology-bus-port", message, place, node=draft.name)
        elif (
            draft.port + BUS_OFFSET > MAX_PORT and not draft.bus_port and not (announce and announce.bus_port)
        ):
            high.setdefault(id(draft.spot), []).append(draft)
    for group in high.values():
        draft = group[0]
        ports = (
            f"port {draft.port}"
            if len(group) == 1
            else f"ports {listed(str(node.port) for node in group[:3])}"
        )
        if len(group) > 3:
            ports = f"ports {draft.port} to {group[-1].port}"
        message = f"{ports} without a bus port: the default, port + {BUS_OFFSET}, would be above {MAX_PORT}"
        hint = "give the bus port (bus_port, or host:port@bus_port), or a port up to 55535"
        problems.add("topology-bus-port", message, draft.spot.at("port"), node=draft.name, hint=hint)


def _number(count: int) -> str:
    return f"{count:,}" if count < 10**12 else "more than 10^12"
