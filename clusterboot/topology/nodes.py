"""The nodes of a file before their roles are known: ranges expanded, names given, addresses unique."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from clusterboot.addresses import BUS_OFFSET, Endpoint
from clusterboot.slots import Slots
from clusterboot.topology.address import MAX_PORT, AddressError, key, reference
from clusterboot.topology.document import Spot
from clusterboot.topology.fields import parse_slots
from clusterboot.topology.model import MAX_NODES, Role
from clusterboot.topology.report import Problems, quoted
from clusterboot.topology.schema import NodeForm, TopologyForm
from clusterboot.wording import listed


@dataclass(slots=True, eq=False)
class Draft:
    """A node whose role and primary are not known yet; `spot` is its entry, `form` has its optional keys."""

    name: str
    host: str
    port: int
    bus_port: int | None
    spot: Spot
    form: NodeForm
    role: Role | None = None
    replica_of: str | None = None
    slots: Slots | None = None


_NO_KEYS = NodeForm(host="localhost", port=1)  # for nodes in short form, which have no optional keys

Index = dict[str | tuple[str, int], Draft]
"""Drafts by name and by address key."""


def expand(form: TopologyForm, spot: Spot, problems: Problems) -> list[Draft]:
    """Return the nodes in the order of the file; raises TopologyError for too many or wrong addresses."""
    check_size(
        "nodes", (1 if isinstance(each, NodeForm) else each.count for each in form.nodes), spot, problems
    )
    drafts: list[Draft] = []
    for index, entry in enumerate(form.nodes):
        place = spot.at("nodes", index)
        if isinstance(entry, NodeForm):
            host, port = entry.host, entry.port
            name = entry.name or str(Endpoint(host, port))
            slots = None if entry.slots is None else parse_slots(entry.slots)
            drafts.append(Draft(name, host, port, entry.bus_port, place, entry, entry.role, slots=slots))
            continue
        try:
            for host, port, bus_port in entry.addresses():
                drafts.append(Draft(str(Endpoint(host, port)), host, port, bus_port, place, _NO_KEYS))
        except AddressError as error:
            problems.add("topology-invalid-address", str(error), place)
    problems.finish()
    return drafts


def check_size(key: str, counts: Iterable[int], spot: Spot, problems: Problems) -> None:
    """Find too many nodes under `key`, whose entries stand for `counts` nodes, before any is made."""
    total = sum(counts)
    if total > MAX_NODES:
        number = f"{total:,}" if total < 10**12 else "more than 10^12"
        message = f"'{key}' stands for {number} nodes; a topology has at most {MAX_NODES:,}"
        problems.fail("topology-too-many-nodes", message, spot.at(key))


def index_nodes(drafts: list[Draft], problems: Problems) -> Index:
    """Return the drafts by name and by address; a name or an address that is not unique is a problem."""
    index: Index = {}
    # One problem for a whole range that is listed twice, not one for each of its ports.
    again: dict[tuple[int, int], list[tuple[Draft, Draft]]] = {}
    for draft in drafts:
        first = index.setdefault(key(draft.host, draft.port), draft)
        if first is not draft:
            again.setdefault((id(first.spot), id(draft.spot)), []).append((first, draft))
    for pairs in again.values():
        first, draft = pairs[0]
        address = quoted(str(Endpoint(draft.host, draft.port)))
        are = f"and {len(pairs) - 1} more are" if pairs[1:] else "is"
        message = f"{address} {are} listed twice, first on line {first.spot.line}"
        hint = "list each node once"
        problems.add("topology-duplicate-address", message, draft.spot, node=draft.name, hint=hint)
    for draft in drafts:
        if draft.form.name is None:
            continue
        place, name = draft.spot.at("name"), quoted(draft.name)
        first = index.setdefault(draft.name, draft)
        if first is not draft:
            message = f"the name {name} is given twice, first on line {first.spot.line}"
            problems.add("topology-duplicate-name", message, place, node=draft.name)
        named = reference(draft.name)
        other = index.get(named) if named else None
        if other is not None and other is not draft:
            message = f"the name {name} is the address of the node on line {other.spot.line}"
            problems.add("topology-duplicate-name", message, place, node=draft.name)
    return index


def find(text: str, index: Index) -> Draft | None:
    """Return the node with the name or the address `text`."""
    if text in index:
        return index[text]
    named = reference(text)
    return index.get(named) if named else None


def check_announced(drafts: list[Draft], problems: Problems) -> None:
    """Find nodes that announce the same address or bus address as another node."""
    seen: dict[tuple[str, str, int], Draft] = {}
    for draft in drafts:
        announce = draft.form.announce
        host = announce.host if announce else draft.host
        bus_port = (announce.bus_port if announce else None) or draft.bus_port
        addresses = []
        if announce:
            addresses.append(("announced address", announce.port or draft.port, "announce"))
        if bus_port:
            written = "announce" if announce and announce.bus_port else "bus_port"
            addresses.append(("bus address", bus_port, written))
        for what, port, written in addresses:
            first = seen.setdefault((what, *key(host, port)), draft)
            if key(first.host, first.port) != key(draft.host, draft.port):
                address, place = quoted(str(Endpoint(host, port))), draft.spot.at(written)
                message = f"the {what} {address} is that of {quoted(first.name)} too; each node needs its own"
                problems.add("topology-duplicate-address", message, place, node=draft.name, peer=first.name)


def check_bus_ports(drafts: list[Draft], problems: Problems) -> None:
    """Find ports that leave no room for the bus port; such a server does not start."""
    too_high: dict[int, list[Draft]] = {}
    for draft in drafts:
        bus_port = draft.bus_port or (draft.form.announce and draft.form.announce.bus_port)
        if draft.bus_port == draft.port:
            message = f"the bus port of {quoted(draft.name)} is its client port; it needs another one"
            place = draft.spot.at("bus_port")
            problems.add("topology-bus-port", message, place, node=draft.name)
        elif draft.port + BUS_OFFSET > MAX_PORT and not bus_port:
            too_high.setdefault(id(draft.spot), []).append(draft)
    for group in too_high.values():
        draft = group[0]
        ports = sorted({node.port for node in group})
        which = f"port{'s' if ports[1:] else ''} {listed([str(port) for port in ports])}"
        if len(ports) > 3:
            which = f"ports {ports[0]} to {ports[-1]}"
        message = f"{which} without a bus port: the default, port + {BUS_OFFSET}, would be above {MAX_PORT}"
        hint = "give the bus port (bus_port, or host:port@bus_port), or a port up to 55535"
        problems.add("topology-bus-port", message, draft.spot.at("port"), node=draft.name, hint=hint)
