"""Under which address a node is known to the others, and where that cannot be what the file says. Pure.

What a node announces wins over the address it was met under within seconds (cluster_legacy.c,
nodeUpdateAddressIfNeeded), so a topology that says otherwise cannot be made true by MEET.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

from clusterboot.addresses import BUS_OFFSET, is_loopback_address
from clusterboot.core.plan import Meet, Views, meeting_point
from clusterboot.core.views import View
from clusterboot.errors import Exit, Problem
from clusterboot.topology import Announce, Node, Topology

_IP, _PORT, _BUS_PORT = "cluster-announce-ip", "cluster-announce-port", "cluster-announce-bus-port"


def contradictions(topology: Topology, views: Views) -> Iterable[Problem]:
    """Return a problem for every node that announces something else, or has another bus port."""
    for node in topology.nodes:
        view = views.get(node.name)
        if view is None:
            continue
        if node.announce is not None:
            yield from _otherwise(node, node.announce, view)
        elif node.bus_port and view.me.bus_port and node.bus_port != view.me.bus_port:
            yield _other_bus_port(node, node.bus_port, view)


def _otherwise(node: Node, announce: Announce, view: View) -> Iterable[Problem]:
    wanted = {_IP: announce.host, _PORT: announce.port, _BUS_PORT: announce.bus_port or node.bus_port}
    says = _announcement(view)
    wrong = [
        (setting, said, str(value))
        for setting, value in wanted.items()
        if value is not None and (said := says[setting]) is not None and not _same(said, str(value))
    ]
    # Without an announcement the others take the address that its packets come from.
    if wrong and wrong[0][:2] == (_IP, "") and _same(view.ip, announce.host):
        del wrong[0]
    if wrong:
        said = ", ".join(f"{said or 'nothing'} as {setting}" for setting, said, _ in wrong)
        wants = ", ".join(value for _, _, value in wrong)
        yield Problem(
            "announce-contradiction",
            f"{node.name} announces {said}, the topology says {wants}: what the node announces wins.",
            node=node.name,
            hint=f"on {node.name}: "
            + "; ".join(f"CONFIG SET {setting} {value}" for setting, _, value in wrong)
            + " (and in its configuration file), or mend 'announce' in the topology",
            exit=Exit.REFUSED,
        )


def _announcement(view: View) -> dict[str, str | None]:
    """What a node announces by setting: the empty text for nothing, None where nobody can tell.

    Its own line of CLUSTER NODES has the ports that it announces or else really has; the address there
    is an announced one or one that others have told it, so that only CONFIG knows.
    """
    config = view.config
    set_port = "cluster-announce-tls-port" if config.get("tls-cluster") == "yes" else _PORT
    ports = ((_PORT, set_port, view.me.port), (_BUS_PORT, _BUS_PORT, view.me.bus_port))
    said: dict[str, str | None] = {_IP: config.get(_IP)}
    for name, setting, actual in ports:
        announced = config.get(setting, "0")
        said[name] = announced if announced != "0" else str(actual) if actual else None
    return said


def _same(one: str, other: str) -> bool:
    """Whether two ports or addresses are the same, in whatever spelling."""
    try:
        return one == other or ip_address(one) == ip_address(other)
    except ValueError:
        return False


def _other_bus_port(node: Node, wanted: int, view: View) -> Problem:
    # cluster-port came with Redis 7.0; Valkey always had it.
    fixed = view.kind == "redis" and 0 < view.version.major < 7
    way_out = (
        f": before Redis 7.0 the bus port is always port + 10000, here {node.port + BUS_OFFSET}"
        if fixed
        else f", or set cluster-port {wanted} in its configuration file and restart it"
    )
    return Problem(
        "bus-port-contradiction",
        f"{node.name} has its cluster bus at port {view.me.bus_port}, the topology says {wanted}.",
        node=node.name,
        hint=f"take bus_port out of the topology{way_out}",
        exit=Exit.REFUSED,
    )


def out_of_reach(topology: Topology, meets: Iterable[Meet], views: Views) -> tuple[Problem, ...]:
    """Return a problem for every node to be met at a loopback address though others have real ones.

    Whoever hears of 127.0.0.1 by gossip takes it for an address of his own host.
    """
    hosts = {node.name: meeting_point(node, views[node.name])[0] for node in topology.nodes}
    far = next((name for name, host in hosts.items() if not is_loopback_address(host)), None)
    if far is None:
        return ()
    return tuple(
        Problem(
            "loopback-among-others",
            f"{meet.peer} would be met at {meet.host}, which only its own host reaches; "
            f"{far} is at {hosts[far]}.",
            node=meet.peer,
            peer=far,
            hint="list it by an address that all nodes reach, or give it cluster-announce-ip and 'announce'",
            exit=Exit.REFUSED,
        )
        for meet in meets
        if is_loopback_address(meet.host)
    )
