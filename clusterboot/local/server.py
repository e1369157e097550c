"""One local server: its ports, its folder and its configuration file."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from clusterboot.addresses import BUS_OFFSET, Endpoint
from clusterboot.errors import Exit, Problem, UsageError

if TYPE_CHECKING:
    from clusterboot.local.binary import Binary

CONFIG = "server.conf"
LOG = "log"
PIDFILE = "server.pid"


_PASSWORDS = {"requirepass", "masterauth", "tls-key-file-pass", "tls-client-key-file-pass"}


@dataclass(frozen=True, slots=True)
class Server:
    """One server to start. `host` is a loopback IP address; `bus_port` None means port + 10000.

    `folder` is created if it does not exist. A server that finds a nodes.conf in it restarts as the same
    node. `settings` override the defaults of `config`.
    """

    name: str
    host: str
    port: int
    folder: Path
    bus_port: int | None = None
    settings: tuple[tuple[str, str], ...] = ()
    password: str | None = field(default=None, repr=False)

    @property
    def endpoint(self) -> Endpoint:
        """Where it listens for clients."""
        return Endpoint(self.host, self.port)

    @property
    def ports(self) -> tuple[int, int]:
        """The client port and the bus port."""
        return self.port, self.bus_port or self.port + BUS_OFFSET

    def problem(self, code: str, message: str, *, hint: str, exit: Exit = Exit.NODE) -> Problem:  # noqa: A002
        """Return a problem of this server; its message starts with the name."""
        return Problem(code, f"{self.name}: {message}", node=self.name, hint=hint, exit=exit)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be shown of the configuration file: passwords, as they are and quoted."""
        given = [value for name, value in self.settings if name.lower() in _PASSWORDS and value]
        return (*given, *((self.password, _quote(self.password)) if self.password else ()))


def config(server: Server) -> str:
    """Return the text of the configuration file: no persistence, bound to its own loopback address."""
    bus_port = server.ports[1]
    lines = {
        "bind": server.host,
        "save": "",
        "appendonly": "no",
        **dict(server.settings),
        "port": str(server.port),
        "dir": ".",
        "pidfile": PIDFILE,
        "daemonize": "no",
        "cluster-enabled": "yes",
        "cluster-config-file": "nodes.conf",
    }
    if bus_port != server.port + BUS_OFFSET:
        lines["cluster-port"] = str(bus_port)
    if server.password:
        lines |= {name: _quote(server.password) for name in ("requirepass", "masterauth")}
    # Values are not quoted: save "60 1" is two arguments.
    return "".join(f"{name} {value or _quote('')}\n" for name, value in lines.items())


def _quote(value: str) -> str:
    """Return `value` as one argument, with all but ASCII letters and digits as \\xHH."""
    letters = (chr(b) if chr(b).isalnum() and b < 128 else f"\\x{b:02x}" for b in value.encode())
    return f'"{"".join(letters)}"'


def prepare(server: Server) -> None:
    """Create the folder of a server and the configuration file in it."""
    server.folder.mkdir(mode=0o700, exist_ok=True)
    # Created anew, so that its mode is 0600 before the password is in it.
    (server.folder / CONFIG).unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with os.fdopen(os.open(server.folder / CONFIG, flags, 0o600), "w") as file:
        file.write(config(server))


def folder_name(host: str, port: int) -> str:
    """Return the name of a server's folder; never a path that leads anywhere else."""
    return f"{re.sub('[^0-9A-Za-z.]', '_', host)}-{port}"


def check_able(binary: Binary, servers: Sequence[Server]) -> None:
    """Raise UsageError for settings that no file can hold, and for bus ports that `binary` cannot use."""
    problems = [
        server.problem(
            "setting-unusable",
            f"the setting {name!r} contains a line break or a control character.",
            hint="correct servers.config or --set",
            exit=Exit.USAGE,
        )
        for server in servers
        for name, value in server.settings
        if not (name + value).isprintable()
    ]
    problems += [
        server.problem(
            "bus-port-unsupported",
            f"{binary.title} cannot use the bus port {server.ports[1]}: before Redis 7.0 it is always the "
            f"port + {BUS_OFFSET}.",
            hint="leave bus_port out, or use a newer server",
            exit=Exit.USAGE,
        )
        for server in servers
        if server.ports[1] != server.port + BUS_OFFSET and binary.is_redis_before(7)
    ]
    if problems:
        raise UsageError(*problems)
