"""From text to `Topology`: all steps in order, and the values that are not about nodes."""

from __future__ import annotations

from pathlib import Path

from clusterboot.addresses import is_loopback
from clusterboot.errors import Exit, Problem
from clusterboot.topology.document import Spot, compose
from clusterboot.topology.model import (
    OWN_SETTINGS,
    Announce,
    Auth,
    Node,
    Retire,
    Secret,
    Servers,
    Tls,
    Topology,
)
from clusterboot.topology.nodes import Draft, expand
from clusterboot.topology.report import Problems, but_not, quoted
from clusterboot.topology.retire import Leaver, check_retired, expand_retired
from clusterboot.topology.rules import check_nodes
from clusterboot.topology.schema import AuthForm, ServersForm, TlsForm
from clusterboot.topology.validate import validate
from clusterboot.wording import listed

_SETTING_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")


def load(text: str, file: str) -> Topology:
    """Return the topology that `text` describes; see `clusterboot.topology.load`."""
    problems = Problems(file)
    values, spot = compose(text, problems)
    form = validate(values, spot, problems)
    drafts = expand(form, spot, problems)
    leavers = expand_retired(form, spot, problems)
    hub = check_nodes(form, drafts, leavers, spot, problems)
    check_retired(leavers, drafts, problems)
    folder = Path(file).parent
    auth = _make_auth(form.auth, spot.at("auth"), folder, problems)
    topology = Topology(
        nodes=tuple(_node(draft, auth, folder, problems) for draft in drafts),
        name=form.name,
        replicas=form.replicas or 0,
        slots=form.slots,
        strategy=form.plan.strategy,
        hub=hub.name if hub else None,
        boost=form.plan.boost,
        extra_meets=form.plan.extra_meets,
        tls=_make_tls(form.tls, spot.at("tls"), folder, problems),
        servers=_make_servers(form.servers, spot.at("servers"), problems),
        retire=tuple(_retire(leaver, auth, folder, problems) for leaver in leavers),
        warnings=_warnings(drafts, file),
    )
    problems.finish()
    return topology


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
        auth=_make_auth(form.auth, draft.spot.at("auth"), folder, problems) or auth,
        line=draft.spot.line,
    )


def _retire(leaver: Leaver, auth: Auth | None, folder: Path, problems: Problems) -> Retire:
    own = _make_auth(leaver.form.auth, leaver.spot.at("auth"), folder, problems) or auth
    line = leaver.spot.line
    node = Node(leaver.name, leaver.host, leaver.port, leaver.bus_port, auth=own, line=line)
    return Retire(leaver.name, leaver.id, node if leaver.host else None, line)


def _make_auth(form: AuthForm | None, spot: Spot, folder: Path, problems: Problems) -> Auth | None:
    if form is None:
        return None
    given = [key for key in ("password_env", "password_file", "password") if getattr(form, key) is not None]
    if not given:
        message = "'auth' has no password; it needs password_env, password_file or password"
        problems.add("topology-auth", message, spot)
    elif len(given) > 1:
        place = max((spot.keys[key] for key in given), key=lambda at: (at.line, at.column))
        problems.add("topology-auth", f"'auth' has {listed(given)}; it takes one of them", place)
    password = None if form.password is None else Secret(form.password)
    return Auth(form.username, password, form.password_env, _within(folder, form.password_file))


def _make_tls(form: bool | TlsForm | None, spot: Spot, folder: Path, problems: Problems) -> Tls | None:
    if not isinstance(form, TlsForm):
        return Tls() if form else None
    if (form.cert is None) != (form.key is None):
        given, missing = ("cert", "key") if form.key is None else ("key", "cert")
        message = f"'tls' has '{given}' without '{missing}'; a client certificate needs both"
        problems.add("topology-tls", message, spot.keys[given])
    ca, cert, key = (_within(folder, path) for path in (form.ca, form.cert, form.key))
    return Tls(ca, cert, key, form.verify, form.server_name, form.min_version)


def _make_servers(form: ServersForm, spot: Spot, problems: Problems) -> Servers:
    for name in form.config:
        place = spot.at("config").keys[name]
        setting = name.lower()
        if setting in OWN_SETTINGS:
            message = f"{quoted(name)} is set by clusterboot: {OWN_SETTINGS[setting]}"
            problems.add("topology-setting", message, place, hint="leave it out")
        elif not name or not _SETTING_CHARACTERS.issuperset(name):
            message = f"a server setting is named with a-z, 0-9 and '-'{but_not(name)}"
            meant = setting.replace("_", "-")
            hint = f"write {meant}" if meant and _SETTING_CHARACTERS.issuperset(meant) else None
            problems.add("topology-setting", message, place, hint=hint)
    words = {True: "yes", False: "no"}
    values = (words[value] if isinstance(value, bool) else str(value) for value in form.config.values())
    return Servers(form.command, tuple(zip(form.config, values, strict=True)))


def _within(folder: Path, path: str | None) -> Path | None:
    return None if path is None else folder / path


def _warnings(drafts: list[Draft], file: str) -> tuple[Problem, ...]:
    """Warn where some nodes, but not all, have an address that only works on one machine."""
    local = [draft for draft in drafts if is_loopback((draft.form.announce or draft).host)]
    if not local or len(local) == len(drafts):
        return ()
    name, place = local[0].name, local[0].spot.at("host")
    only = f"{quoted(name)} is a loopback address and other nodes have none"
    message = f"{only}; nodes on other machines cannot reach it"
    hint = "use an address of the machine, or announce one"
    code = "topology-loopback-mixed"
    return (Problem(code, message, name, None, hint, Exit.DONE, file, place.line, place.column),)
