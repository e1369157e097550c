"""At which address other nodes know a node, and where the topology contradicts that. Pure.

What a node announces soon replaces the address it was met under (cluster_legacy.c,
nodeUpdateAddressIfNeeded), so a topology that says otherwise cannot be made true by MEET.
"""

from __future__ import annotations

from collections.abc import Iterator

from clusterboot.addresses import BUS_OFFSET, is_loopback_address
from clusterboot.core.views import View, Views
from clusterboot.errors import Problem, refusal
from clusterboot.topology import Announce, Node, Topology

_IP, _PORT, _BUS_PORT = "cluster-announce-ip", "cluster-announce-port", "cluster-announce-bus-port"


def meeting_point(node: Node, view: View | None) -> tuple[str, int, int | None]:
    """Return host, port and bus port (None: the default) at which other nodes are to meet `node`.

    The announcement in the topology wins, then the topology's own values; the node itself gives the rest. A
    node dialled at a loopback address is met at the address in its own line, if that is not loopback: after
    a restart at another loopback address its own line still has the old one.
    """
    host, port, bus_port = node.host, node.port, node.bus_port
    if view is not None:
        host = view.config.get(_IP) or view.ip
        # Where CONFIG is refused, an address that a node has before it knows another is an announced one.
        silent = _IP not in view.config and len(view.peers) == 1
        if view.me.ip and (silent or (is_loopback_address(host) and not is_loopback_address(view.me.ip))):
            host = view.me.ip
        port = view.me.port or port
        bus_port = bus_port or view.me.bus_port
    if node.announce is not None:
        host = node.announce.host
        port = node.announce.port or port
        bus_port = node.announce.bus_port or bus_port
    return host, port, bus_port if bus_port and bus_port != port + BUS_OFFSET else None


def contradictions(topology: Topology, views: Views) -> Iterator[Problem]:
    """Yield a problem for every node that announces something else, or has another bus port."""
    for node in topology.nodes:
        view = views.get(node.name)
        if view is not None and node.announce is not None:
            yield from _other_announcement(node, node.announce, view)
        elif view is not None and node.bus_port and view.me.bus_port and node.bus_port != view.me.bus_port:
            yield _other_bus_port(node, node.bus_port, view)


def _other_announcement(node: Node, announce: Announce, view: View) -> Iterator[Problem]:
    wanted = {_IP: announce.host, _PORT: announce.port, _BUS_PORT: announce.bus_port or node.bus_port}
    wrong = [
        (setting, said, str(wanted[setting]))
        for setting, said in _announcement(view).items()
        if said is not None and wanted[setting] is not None and not _same(said, str(wanted[setting]))
    ]
    # Without an announcement the others take the address that its packets come from.
    if wrong and wrong[0][:2] == (_IP, "") and _same(view.ip, announce.host):
        del wrong[0]
    if wrong:
        said = ", ".join(f"{said or 'nothing'} as {setting}" for setting, said, _ in wrong)
        wants = ", ".join(value for _, _, value in wrong)
        commands = "; ".join(f"CONFIG SET {setting} {value}" for setting, _, value in wrong)
        yield refusal(
            "announce-contradiction",
            f"{node.name} announces {said}, the topology says {wants}: what the node announces wins.",
            node.name,
            hint=f"on {node.name}: {commands} (and in its configuration file), or correct 'announce' in the "
            "topology",
        )


def _announcement(view: View) -> dict[str, str | None]:
    """What a node announces, by setting: "" for nothing, None if unknown.

    Its own line has the ports that it announces or really has. The address there may come from other nodes,
    so only CONFIG is certain.
    """
    config = view.config
    said = {_IP: config.get(_IP)}
    set_port = "cluster-announce-tls-port" if config.get("tls-cluster") == "yes" else _PORT
    for name, setting, actual in (
        (_PORT, set_port, view.me.port),
        (_BUS_PORT, _BUS_PORT, view.me.bus_port),
    ):
        announced = config.get(setting, "0")
        said[name] = announced if announced != "0" else str(actual or "") or None
    return said


def _same(one: str, other: str) -> bool:
    from ipaddress import ip_address

    try:
        return one == other or ip_address(one) == ip_address(other)
    except ValueError:
        return False


def _other_bus_port(node: Node, wanted: int, view: View) -> Problem:
    instead = f", or set cluster-port {wanted} in its configuration file and restart it"
    # cluster-port came with Redis 7.0; Valkey always had it.
    if view.kind == "redis" and 0 < view.version.major < 7:
        default = node.port + BUS_OFFSET
        instead = f": before Redis 7.0 the bus port is always port + 10000, here {default}"
    return refusal(
        "bus-port-contradiction",
        f"{node.name} has its cluster bus at port {view.me.bus_port}, the topology says {wanted}.",
        node.name,
        hint=f"take bus_port out of the topology{instead}",
    )
