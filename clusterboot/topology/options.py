"""Rules within `auth`, `tls` and `servers` that need more than one value."""

from __future__ import annotations

from clusterboot.topology.document import Spot
from clusterboot.topology.report import Problems, but, listed, shown
from clusterboot.topology.schema import AuthForm, ServersForm, TlsForm

OWN_SETTINGS = {
    "port": "it comes from the node's address",
    "cluster-port": "it comes from the node's bus port",
    "cluster-enabled": "every server here is a cluster node",
    "cluster-config-file": "each server keeps its own in its folder",
    "dir": "each server has its own folder",
    "daemonize": "clusterboot watches over the process itself",
    "logfile": "each server logs into its folder",
    "pidfile": "clusterboot remembers the process itself",
}
"""Settings that clusterboot makes for each spawned server, and why they are not free."""


def check_auth(auth: AuthForm, spot: Spot, problems: Problems) -> None:
    """Check that there is exactly one source of the password."""
    given = [key for key in ("password_env", "password_file", "password") if getattr(auth, key) is not None]
    # A password key that is misspelled or has a wrong value is a problem already.
    if not given and not set(spot.keys) - {"username"}:
        message = "'auth' has no password; it needs password_env, password_file or password"
        problems.add("topology-auth", message, spot)
    if len(given) > 1:
        place = max(
            (spot.keys[key] for key in given if key in spot.keys), key=lambda at: (at.line, at.column)
        )
        message = f"'auth' has {listed(given)}; it takes one of them"
        problems.add("topology-auth", message, place)


def check_tls(tls: TlsForm, spot: Spot, problems: Problems) -> None:
    """Check that a client certificate comes with its key."""
    for one, other in (("cert", "key"), ("key", "cert")):
        # A key that is misspelled or has a wrong value is a problem already.
        there = other in spot.keys or not spot.keys.keys() <= TlsForm.model_fields.keys()
        if getattr(tls, one) is not None and getattr(tls, other) is None and not there:
            message = f"'tls' has '{one}' without '{other}'; a client certificate needs both"
            problems.add("topology-tls", message, spot.keys.get(one, spot))


def check_servers(servers: ServersForm, spot: Spot, problems: Problems) -> None:
    """Check the names of server settings."""
    for name in servers.config:
        if problems.full:
            problems.more = True
            break
        place = spot.at("config").keys.get(name, spot)
        if name.lower() in OWN_SETTINGS:
            message = f"{shown(name)} is set by clusterboot: {OWN_SETTINGS[name.lower()]}"
            problems.add("topology-setting", message, place, hint="leave it out")
        elif not name or not set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-"):
            message = f"a server setting is named with a-z, 0-9 and '-'{but(name)}"
            meant = name.lower().replace("_", "-")
            fits = meant and set(meant) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
            hint = f"write {meant}" if fits else None
            problems.add("topology-setting", message, place, hint=hint)
