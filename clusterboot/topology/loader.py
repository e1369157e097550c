"""Put the steps together: text, values, form, drafts, `Topology`."""

from __future__ import annotations

from pathlib import Path

from clusterboot.addresses import is_loopback
from clusterboot.errors import Exit, Problem
from clusterboot.topology.document import Spot, compose
from clusterboot.topology.model import Announce, Auth, Node, Topology
from clusterboot.topology.nodes import Draft, check_announced, check_bus_ports, expand, index_nodes
from clusterboot.topology.options import make_auth, make_servers, make_tls
from clusterboot.topology.report import Problems, quoted
from clusterboot.topology.roles import check_hub, check_keys, check_roles
from clusterboot.topology.schema import TopologyForm
from clusterboot.topology.shares import check_counts, check_cover, check_overlaps, check_weights
from clusterboot.topology.validate import validate


def load(text: str, file: str) -> Topology:
    """Return the topology that `text` describes; see `clusterboot.topology.load`."""
    problems = Problems(file)
    values, spot = compose(text, problems)
    form = validate(values, spot, problems)
    drafts = expand(form, spot, problems)
    hub = _check_nodes(form, drafts, spot, problems)
    folder = Path(file).parent
    auth = make_auth(form.auth, spot.at("auth"), folder, problems)
    topology = Topology(
        nodes=tuple(_node(draft, auth, folder, problems) for draft in drafts),
        name=form.name,
        replicas=form.replicas or 0,
        slots=form.slots,
        strategy=form.plan.strategy,
        hub=hub.name if hub else None,
        boost=form.plan.boost,
        extra_meets=form.plan.extra_meets,
        tls=make_tls(form.tls, spot.at("tls"), folder, problems),
        servers=make_servers(form.servers, spot.at("servers"), problems),
        warnings=_warnings(drafts, file),
    )
    problems.finish()
    return topology


def _check_nodes(form: TopologyForm, drafts: list[Draft], spot: Spot, problems: Problems) -> Draft | None:
    """Check what nodes say about each other, fill in roles, and return the hub.

    Numbers are only added up where no problem makes them doubtful.
    """
    index = index_nodes(drafts, problems)
    check_roles(drafts, index, problems)
    primaries = None if problems else check_counts(drafts, form, spot, problems)
    check_keys(drafts, form, problems)
    check_overlaps(drafts, problems)
    if primaries is not None and form.slots == "auto":
        if not problems:
            check_cover(drafts, primaries, problems)
        if not problems:
            check_weights(drafts, form, problems)
    check_bus_ports(drafts, problems)
    check_announced(drafts, problems)
    return check_hub(form, spot, index, problems)


def _node(draft: Draft, auth: Auth | None, folder: Path, problems: Problems) -> Node:
    form, announce = draft.form, draft.form.announce
    return Node(
        name=draft.name,
        host=draft.host,
        port=draft.port,
        bus_port=draft.bus_port,
        zone=form.zone,
        role=draft.role,
        replica_of=draft.replica_of,
        slots=draft.slots,
        weight=float(form.weight or 1),
        announce=Announce(announce.host, announce.port, announce.bus_port) if announce else None,
        auth=make_auth(form.auth, draft.spot.at("auth"), folder, problems) or auth,
        line=draft.spot.line,
    )


def _warnings(drafts: list[Draft], file: str) -> tuple[Problem, ...]:
    """Warn where some nodes, but not all, have an address that only works on one machine."""
    local = [draft for draft in drafts if is_loopback((draft.form.announce or draft).host)]
    if not local or len(local) == len(drafts):
        return ()
    name, place = local[0].name, local[0].spot.at("host")
    message = (
        f"{quoted(name)} is a loopback address and other nodes have none; "
        "nodes on other machines cannot reach it"
    )
    hint = "use an address of the machine, or announce one"
    code = "topology-loopback-mixed"
    return (Problem(code, message, name, None, hint, Exit.DONE, file, place.line, place.column),)
