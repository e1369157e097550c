"""Rules within `auth`, `tls` and `servers` that need more than one value."""

from __future__ import annotations

from clusterboot.topology.document import Spot
from clusterboot.topology.model import OWN_SETTINGS
from clusterboot.topology.report import Problems, but_not, quoted
from clusterboot.topology.schema import AuthForm, ServersForm, TlsForm
from clusterboot.wording import every

_SETTING_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")


def check_auth(auth: AuthForm, spot: Spot, problems: Problems) -> None:
    """Check that there is exactly one source of the password."""
    given = [key for key in ("password_env", "password_file", "password") if getattr(auth, key) is not None]
    if not given:
        message = "'auth' has no password; it needs password_env, password_file or password"
        problems.add("topology-auth", message, spot)
    elif len(given) > 1:
        place = max((spot.keys[key] for key in given), key=lambda at: (at.line, at.column))
        problems.add("topology-auth", f"'auth' has {every(given)}; it takes one of them", place)


def check_tls(tls: TlsForm, spot: Spot, problems: Problems) -> None:
    """Check that a client certificate comes with its key."""
    if (tls.cert is None) != (tls.key is None):
        given, missing = ("cert", "key") if tls.key is None else ("key", "cert")
        message = f"'tls' has '{given}' without '{missing}'; a client certificate needs both"
        problems.add("topology-tls", message, spot.keys[given])


def check_servers(servers: ServersForm, spot: Spot, problems: Problems) -> None:
    """Check the names of server settings."""
    for name in servers.config:
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
