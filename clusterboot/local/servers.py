"""Start cluster-enabled servers on loopback, all at once, and wait until each one answers.

Says nothing about how long they live or who remembers them: that is `clusterboot.local.clusters`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from clusterboot.addresses import BUS_OFFSET
from clusterboot.errors import Exit, NodeFailed, OutOfTime, Problem, UsageError
from clusterboot.local import process
from clusterboot.local.log_tail import last_words
from clusterboot.local.ports import check_ports, in_use

if TYPE_CHECKING:
    from clusterboot.local.binary import Binary
    from clusterboot.local.process import Process

_POLL = 0.01
_GRACE = 3.0
CONFIG = "server.conf"
LOG = "log"
PIDFILE = "server.pid"


@dataclass(frozen=True, slots=True)
class Server:
    """One server to start. `host` is an IP address of loopback; `bus_port` None means port + 10000.

    `folder` is made where it is not there; a server that finds its nodes.conf in it comes back as the
    node it was. `settings` win over the defaults of `config`.
    """

    name: str
    host: str
    port: int
    folder: Path
    bus_port: int | None = None
    settings: tuple[tuple[str, str], ...] = ()
    password: str | None = field(default=None, repr=False)

    @property
    def ports(self) -> tuple[int, int]:
        """The client port and the bus port."""
        return self.port, self.bus_port or self.port + BUS_OFFSET


def start(
    binary: Binary,
    servers: Sequence[Server],
    *,
    timeout: float,
    begun: Callable[[Sequence[Process]], None] = lambda processes: None,
) -> list[Process]:
    """Start `servers` together and return their processes, in order, once every one answers.

    They outlive this process. `begun` gets the processes as soon as they exist, before they answer, so
    that whoever must not lose them can write them down. When anything fails, all are stopped again and
    the folders made here are removed.

    Raises NodeFailed when a port is taken or a server dies, UsageError when the server cannot do what
    is asked, OutOfTime when one does not answer within `timeout` seconds.
    """
    check_able(binary, servers)
    check_ports(servers)
    end = time.monotonic() + timeout
    made = [server.folder for server in servers if not server.folder.exists()]
    processes: list[Process] = []
    try:
        with process.uninterrupted():
            logged = [_launch(binary, server, processes) for server in servers]
            begun(processes)
        _wait(servers, processes, logged, end, timeout)
    except BaseException:
        with process.uninterrupted():
            folders = [server.folder for server in servers]
            process.end(list(zip(processes, folders, strict=False)), grace=_GRACE)
            for folder in made:
                shutil.rmtree(folder, ignore_errors=True)
        raise
    return processes


def answers(server: Server) -> bool:
    """Return whether this very server answers at its address.

    INFO names the configuration file, so a stranger on the port is not mistaken for it. A server that
    keeps INFO to itself counts as answering. Raises NodeFailed when it is a stranger.
    """
    try:
        config = _config_file(server)
    except (OSError, ValueError):
        return False
    if config is None or config == os.path.realpath(server.folder / CONFIG):
        return True
    raise NodeFailed(in_use(server.name, server.host, server.port, "port"))


def speaks(host: str, port: int) -> bool:
    """Return whether some Redis or Valkey answers at an address, if only with an error such as NOAUTH."""
    try:
        with socket.create_connection((host, port), 1.0) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(1) in (b"+", b"-")
    except OSError:
        return False


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
    # A value is not quoted: save "60 1" is two arguments.
    return "".join(f"{name} {value or _quote('')}\n" for name, value in lines.items())


def _quote(value: str) -> str:
    """Return `value` as one argument; all but letters and digits as \\xHH, which every server reads."""
    letters = (chr(b) if chr(b).isalnum() and b < 128 else f"\\x{b:02x}" for b in value.encode())
    return f'"{"".join(letters)}"'


def check_able(binary: Binary, servers: Sequence[Server]) -> None:
    """Raise UsageError for settings that cannot be written down, and for bus ports `binary` cannot have."""
    problems = [
        Problem(
            "setting-unusable",
            f"{server.name}: the setting {name!r} has a line break or a control character in it",
            node=server.name,
            hint="correct servers.config or --set",
            exit=Exit.USAGE,
        )
        for server in servers
        for name, value in server.settings
        if not (name + value).isprintable()
    ]
    problems += [
        Problem(
            "bus-port-unsupported",
            f"{server.name}: {binary.title} cannot use the bus port {server.ports[1]}: before Redis 7.0 "
            f"it is always the port + 10000",
            node=server.name,
            hint="leave bus_port out, or use a newer server",
            exit=Exit.USAGE,
        )
        for server in servers
        if server.ports[1] != server.port + BUS_OFFSET and binary.kind == "Redis" and binary.before(7)
    ]
    if problems:
        raise UsageError(*problems)


def prepare(server: Server) -> None:
    """Make the folder of a server and the configuration file in it."""
    server.folder.mkdir(mode=0o700, exist_ok=True)
    # Made anew, so that it is 0600 from its first byte on: it may hold the password.
    (server.folder / CONFIG).unlink(missing_ok=True)
    with os.fdopen(
        os.open(server.folder / CONFIG, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w"
    ) as file:
        file.write(config(server))


def _launch(binary: Binary, server: Server, processes: list[Process]) -> int:
    """Start one server and append its process; returns how long its log is already."""
    prepare(server)
    log = os.open(server.folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    try:
        logged = os.fstat(log).st_size
        child = subprocess.Popen(
            [binary.path, CONFIG],
            cwd=server.folder,
            # It outlives this shell, and has its password from the configuration file.
            env={name: value for name, value in os.environ.items() if value != server.password},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            umask=0o077,
            # Ctrl-C at the terminal, or its end, is meant for clusterboot and not for the server.
            start_new_session=True,
        )
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise NodeFailed(
            Problem(
                "server-not-started",
                f"{server.name}: {binary.path} cannot be run: {reason}",
                node=server.name,
                hint="give the path of another server",
                exit=Exit.NODE,
            )
        ) from error
    finally:
        os.close(log)
    processes.append(process.adopt(child))
    return logged


def _wait(
    servers: Sequence[Server],
    processes: Sequence[Process],
    logged: Sequence[int],
    end: float,
    timeout: float,
) -> None:
    pending = list(zip(servers, processes, logged, strict=True))
    while True:
        dead: list[Problem] = []
        silent = []
        for server, begun, offset in pending:
            status = process.exit_status(begun.pid)
            if status is not None:
                dead.append(died(server, status, offset))
            elif not answers(server):
                silent.append((server, begun, offset))
        if dead:
            raise NodeFailed(*dead)
        if not silent:
            return
        if time.monotonic() > end:
            raise OutOfTime(*(mute(server, timeout) for server, _, _ in silent))
        pending = silent
        time.sleep(_POLL)


def died(server: Server, status: int, offset: int = 0) -> Problem:
    """Return why a server ended at once: a taken port, or its last words from `offset` of its log on."""
    words, port = last_words(server.folder / LOG, offset, _secrets(server))
    if port is not None:
        return in_use(server.name, server.host, port, "bus port" if port == server.ports[1] else "port")
    how = f"exit status {status}" if status >= 0 else f"killed by signal {-status}"
    return Problem(
        "server-died",
        f"{server.name}: the server died at once ({how}){': ' + words if words else ' without a word'}",
        node=server.name,
        hint="correct servers.config or --set, or choose another server",
        exit=Exit.NODE,
    )


def _secrets(server: Server) -> tuple[str, ...]:
    return (server.password, _quote(server.password)) if server.password else ()


def mute(server: Server, timeout: float) -> Problem:
    """Return that a server runs but does not answer after `timeout` seconds, with what it says."""
    words, _ = last_words(server.folder / LOG, 0, _secrets(server))
    seconds = f"{round(timeout, 1):g} s"
    return Problem(
        "server-mute",
        f"{server.name}: the server runs but does not answer on port {server.port} after {seconds}"
        f"{'; it says: ' + words if words else ''}",
        node=server.name,
        hint="look at servers.config or --set (bind, unixsocket), or give it more time with --timeout",
        exit=Exit.NOT_READY,
    )


def _config_file(server: Server) -> str | None:
    """Ask the server which configuration file it runs with; None when it refuses to say.

    Raises OSError when nobody answers, ValueError when what answers is no Redis or Valkey.
    """
    with (
        contextlib.closing(socket.create_connection((server.host, server.port), 1.0)) as connection,
        connection.makefile("rb") as replies,
    ):
        auth = b""
        if server.password:
            secret = server.password.encode()
            auth = b"*2\r\n$4\r\nAUTH\r\n$%d\r\n%s\r\n" % (len(secret), secret)
        connection.sendall(auth + b"*2\r\n$4\r\nINFO\r\n$6\r\nserver\r\n")
        if auth:
            replies.readline()
        line = replies.readline()
        if line.startswith(b"-"):
            return None
        if not line.startswith(b"$"):
            raise ValueError(line)
        text = replies.read(int(line[1:])).decode(errors="surrogateescape")
    return next(
        (line.partition(":")[2] for line in text.splitlines() if line.startswith("config_file:")), None
    )
