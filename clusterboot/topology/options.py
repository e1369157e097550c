"""`auth`, `tls` and `servers`: from forms to what other modules use, and rules between their values."""

from __future__ import annotations

from pathlib import Path

from clusterboot.topology.document import Spot
from clusterboot.topology.model import OWN_SETTINGS, Auth, Secret, Servers, Tls
from clusterboot.topology.report import Problems, but_not, quoted
from clusterboot.topology.schema import AuthForm, ServersForm, TlsForm
from clusterboot.wording import listed

_SETTING_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")


def make_auth(form: AuthForm | None, spot: Spot, folder: Path, problems: Problems) -> Auth | None:
    """Return the `auth` of the form, which needs exactly one source of the password."""
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


def make_tls(form: bool | TlsForm | None, spot: Spot, folder: Path, problems: Problems) -> Tls | None:
    """Return the `tls` of the form, where a client certificate needs its key."""
    if not isinstance(form, TlsForm):
        return Tls() if form else None
    if (form.cert is None) != (form.key is None):
        given, missing = ("cert", "key") if form.key is None else ("key", "cert")
        message = f"'tls' has '{given}' without '{missing}'; a client certificate needs both"
        problems.add("topology-tls", message, spot.keys[given])
    ca, cert, key = (_within(folder, path) for path in (form.ca, form.cert, form.key))
    return Tls(ca, cert, key, form.verify, form.server_name, form.min_version)


def make_servers(form: ServersForm, spot: Spot, problems: Problems) -> Servers:
    """Return the `servers` of the form; each setting needs a valid name that clusterboot does not set."""
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
