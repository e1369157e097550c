"""Start cluster-enabled servers on loopback, all at once, and wait until each one answers."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from clusterboot.errors import NodeFailed, OutOfTime, Problem
from clusterboot.local import process
from clusterboot.local.failures import check_ports, exited, in_use, not_answering
from clusterboot.local.server import CONFIG, LOG, Server, check_able, prepare

if TYPE_CHECKING:
    from clusterboot.local.binary import Binary
    from clusterboot.local.process import Process

_POLL = 0.01


class _Started(NamedTuple):
    server: Server
    process: Process
    log_offset: int  # the length of its log before the start


def start(
    binary: Binary, servers: Sequence[Server], *, timeout: float, record: Callable[[Sequence[Process]], None]
) -> None:
    """Start `servers` together and wait until every one answers.

    They outlive this process. `record` is called with their processes, in order, as soon as they exist. On
    any error all are stopped and the folders created here are removed.

    Raises NodeFailed when a port is taken or a server dies, UsageError when the server does not support a
    setting, OutOfTime when one does not answer within `timeout` seconds.
    """
    check_able(binary, servers)
    check_ports(servers)
    end = time.monotonic() + timeout
    created = [server.folder for server in servers if not server.folder.exists()]
    started: list[_Started] = []
    try:
        with process.uninterrupted():
            for server in servers:
                started.append(_launch(binary, server))  # noqa: PERF401 (kept when the next one fails)
            record([each.process for each in started])
        _wait(started, end, timeout)
    except BaseException:
        with process.uninterrupted():
            process.end([each.process for each in started])
            for folder in created:
                shutil.rmtree(folder, ignore_errors=True)
        raise


def answers(server: Server) -> bool:
    """Return whether this very server answers at its address.

    INFO names the configuration file, which tells it from another server on the port. A server that refuses
    INFO counts as answering. Raises NodeFailed when it is another one.
    """
    try:
        config = _config_file(server)
    except (OSError, ValueError):
        return False
    if config is None or config == os.path.realpath(server.folder / CONFIG):
        return True
    raise NodeFailed(in_use(server, server.port))


def any_server_answers(host: str, port: int) -> bool:
    """Return whether a Redis or Valkey server answers at an address, if only with an error such as NOAUTH."""
    try:
        with socket.create_connection((host, port), 1.0) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(1) in (b"+", b"-")
    except OSError:
        return False


def _launch(binary: Binary, server: Server) -> _Started:
    prepare(server)
    log = os.open(server.folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    try:
        offset = os.fstat(log).st_size
        child = subprocess.Popen(
            [binary.path, CONFIG],
            cwd=server.folder,
            # The server outlives this shell and reads its password from the configuration file.
            env={name: value for name, value in os.environ.items() if value != server.password},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            umask=0o077,
            # Ctrl-C and the end of the terminal must not reach the server.
            start_new_session=True,
        )
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        problem = server.problem(
            "server-not-started",
            f"{binary.path} cannot be run: {reason}.",
            hint="give the path of another server",
        )
        raise NodeFailed(problem) from error
    finally:
        os.close(log)
    return _Started(server, process.adopt(child, server.folder), offset)


def _wait(pending: Sequence[_Started], end: float, timeout: float) -> None:
    while True:
        dead: list[Problem] = []
        silent: list[_Started] = []
        for each in pending:
            status = process.exit_status(each.process.pid)
            if status is not None:
                dead.append(exited(each.server, status, each.log_offset))
            elif not answers(each.server):
                silent.append(each)
        if dead:
            raise NodeFailed(*dead)
        if not silent:
            return
        if time.monotonic() > end:
            raise OutOfTime(*(not_answering(each.server, timeout) for each in silent))
        pending = silent
        time.sleep(_POLL)


def _config_file(server: Server) -> str | None:
    """Return the configuration file that INFO names; None when the server refuses to tell.

    Raises OSError when nothing answers, ValueError when what answers is not Redis or Valkey.
    """
    with (
        socket.create_connection((server.host, server.port), 1.0) as connection,
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
    lines = (line.partition(":") for line in text.splitlines())
    return next((value for name, _, value in lines if name == "config_file"), None)
