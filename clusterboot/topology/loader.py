"""Put the steps together: text, values, forms, drafts, checks, `Topology`."""

from __future__ import annotations

from pathlib import Path

from clusterboot.addresses import is_loopback
from clusterboot.topology.check import check_hub, check_nodes
from clusterboot.topology.document import Spot, compose
from clusterboot.topology.expand import Draft, check_announced, expand, find
from clusterboot.topology.model import Announce, Auth, Node, Secret, Servers, Tls, Topology
from clusterboot.topology.options import check_auth, check_servers, check_tls
from clusterboot.topology.report import Problems, shown
from clusterboot.topology.schema import AnnounceForm, AuthForm, ServersForm, TlsForm, TopologyForm
from clusterboot.topology.validate import shape


def load(text: str, file: str) -> Topology:
    """Return the topology; what goes in and what is raised is told at `clusterboot.topology.load`."""
    problems = Problems(file)
    read = compose(text, problems)
    if read is None:
        problems.finish()
        raise AssertionError("compose gave neither values nor a problem")
    values, spot = read
    found = shape(values, spot, problems)
    if found is None:
        problems.finish()
        raise AssertionError("shape gave neither a form nor a problem")
    form, lost = found
    drafts = expand(form, spot, lost, problems)
    index = check_nodes(drafts, form, spot, lost, problems)
    check_hub(form, spot, index, lost, problems)
    check_announced(drafts, problems)
    if form.auth is not None:
        check_auth(form.auth, spot.at("auth"), problems)
    if isinstance(form.tls, TlsForm):
        check_tls(form.tls, spot.at("tls"), problems)
    check_servers(form.servers, spot.at("servers"), problems)
    problems.finish()
    _warn_loopback(drafts, problems)
    hub = find(form.plan.hub, index) if form.plan.hub is not None else None
    return _topology(form, drafts, hub, Path(file).parent, problems)


def _topology(
    form: TopologyForm, drafts: list[Draft], hub: Draft | None, folder: Path, problems: Problems
) -> Topology:
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
        warnings=problems.warnings,
    )


def _node(draft: Draft, auth: Auth | None, folder: Path) -> Node:
    form = draft.form
    if form is None:
        return Node(
            draft.name, draft.host, draft.port, draft.bus_port,
            role=draft.role, auth=auth, line=draft.spot.line,
        )  # fmt: skip
    return Node(
        name=draft.name,
        host=draft.host,
        port=draft.port,
        bus_port=draft.bus_port,
        zone=form.zone,
        role=draft.role,
        replica_of=draft.replica_of,
        slots=draft.slots,
        weight=1.0 if form.weight is None else float(form.weight),
        announce=_announce(form.announce),
        auth=_auth(form.auth, folder) or auth,
        line=draft.spot.line,
    )


def _announce(form: AnnounceForm | None) -> Announce | None:
    return Announce(form.host, form.port, form.bus_port) if form else None


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


def _warn_loopback(drafts: list[Draft], problems: Problems) -> None:
    """Warn when some nodes would tell the others an address that only works on one machine."""
    reached = [
        (draft, draft.form.announce.host if draft.form and draft.form.announce else draft.host)
        for draft in drafts
    ]
    local = [draft for draft, host in reached if is_loopback(host)]
    if local and len(local) < len(drafts):
        first = local[0]
        place: Spot = first.spot.at("host")
        message = (
            f"{shown(first.name)} is a loopback address and other nodes have none; "
            "nodes on other machines cannot reach it"
        )
        hint = "use an address of the machine, or announce one"
        problems.warn("topology-loopback-mixed", message, place, hint=hint, node=first.name)
