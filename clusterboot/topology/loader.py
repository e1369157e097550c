"""Put the steps together: text, values, form, drafts, `Topology`."""

from __future__ import annotations

from pathlib import Path

from clusterboot.addresses import is_loopback
from clusterboot.errors import Exit, Problem
from clusterboot.topology.document import Spot, compose
from clusterboot.topology.model import Announce, Auth, Node, Secret, Servers, Tls, Topology
from clusterboot.topology.nodes import Draft, check_announced, check_bus_ports, expand, index_nodes
from clusterboot.topology.options import check_auth, check_servers, check_tls
from clusterboot.topology.report import Problems, quoted
from clusterboot.topology.roles import check_hub, check_keys, check_roles
from clusterboot.topology.schema import AuthForm, ServersForm, TlsForm, TopologyForm
from clusterboot.topology.shares import check_counts, check_cover, check_overlaps, check_weights
from clusterboot.topology.validate import validate


def load(text: str, file: str) -> Topology:
    """Return the topology that `text` describes; see `clusterboot.topology.load`."""
    problems = Problems(file)
    values, spot = compose(text, problems)
    form = validate(values, spot, problems)
    drafts = expand(form, spot, problems)
    hub = _check(form, drafts, spot, problems)
    problems.finish()
    folder = Path(file).parent
    auth = _auth(form.auth, folder)
    return Topology(
        nodes=tuple(_node(draft, auth, folder) for draft in drafts),
        name=form.name,
        replicas=form.replicas or 0,
        slots=form.slots,
        strategy=form.plan.strategy,
        hub=hub.name if hub else None,
        boost=form.plan.boost,
        extra_meets=form.plan.extra_meets,
        tls=_tls(form.tls, folder),
        servers=_servers(form.servers),
        warnings=_warnings(drafts, file),
    )


def _check(form: TopologyForm, drafts: list[Draft], spot: Spot, problems: Problems) -> Draft | None:
    """Find every problem of meaning, fill in roles, and return the hub.

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
    for draft in drafts:
        if draft.form and draft.form.auth:
            check_auth(draft.form.auth, draft.spot.at("auth"), problems)
    if form.auth:
        check_auth(form.auth, spot.at("auth"), problems)
    if isinstance(form.tls, TlsForm):
        check_tls(form.tls, spot.at("tls"), problems)
    check_servers(form.servers, spot.at("servers"), problems)
    return check_hub(form, spot, index, problems)


def _warnings(drafts: list[Draft], file: str) -> tuple[Problem, ...]:
    """Warn where some nodes, but not all, have an address that only works on one machine."""
    local = [draft for draft in drafts if is_loopback(draft.announce.host if draft.announce else draft.host)]
    if not local or len(local) == len(drafts):
        return ()
    first = local[0]
    place = first.spot.at("host")
    message = (
        f"{quoted(first.name)} is a loopback address and other nodes have none; "
        "nodes on other machines cannot reach it"
    )
    hint = "use an address of the machine, or announce one"
    return (
        Problem(
            "topology-loopback-mixed", message, first.name, None, hint, Exit.DONE,
            file, place.line, place.column,
        ),
    )  # fmt: skip


def _node(draft: Draft, auth: Auth | None, folder: Path) -> Node:
    form = draft.form
    announce = draft.announce
    return Node(
        name=draft.name,
        host=draft.host,
        port=draft.port,
        bus_port=draft.bus_port,
        zone=form.zone if form else None,
        role=draft.role,
        replica_of=draft.replica_of,
        slots=draft.slots,
        weight=float(form.weight or 1) if form else 1.0,
        announce=Announce(announce.host, announce.port, announce.bus_port) if announce else None,
        auth=_auth(form.auth if form else None, folder) or auth,
        line=draft.spot.line,
    )


def _auth(form: AuthForm | None, folder: Path) -> Auth | None:
    if form is None:
        return None
    return Auth(
        username=form.username,
        password=None if form.password is None else Secret(form.password),
        password_env=form.password_env,
        password_file=_within(folder, form.password_file),
    )


def _tls(form: bool | TlsForm | None, folder: Path) -> Tls | None:
    if not isinstance(form, TlsForm):
        return Tls() if form else None
    return Tls(
        ca=_within(folder, form.ca),
        cert=_within(folder, form.cert),
        key=_within(folder, form.key),
        verify=form.verify,
        server_name=form.server_name,
        min_version=form.min_version,
    )


def _servers(form: ServersForm) -> Servers:
    words = {True: "yes", False: "no"}
    settings = (
        (name, words[value] if isinstance(value, bool) else str(value)) for name, value in form.config.items()
    )
    return Servers(form.command, tuple(settings))


def _within(folder: Path, path: str | None) -> Path | None:
    return None if path is None else folder / path
