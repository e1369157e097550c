"""Hosts of their own for tests: network namespaces on a bridge, with real servers in them.

    with Hosts("redis70", 3) as hosts:
        hosts.drop(1, "tcp dport 16379")
        outcome = hosts.clusterboot("up", file)

Everything lives inside namespaces, the bridge too: the network of this machine gets no device, no
address and no rule, so any number of test processes may use the same addresses at once. Needs root on
Linux with iproute2 and nftables.

Delay and loss on a link (tc netem) are not offered: a kernel without sch_netem has no such thing, and
the kernels of the machines that these tests run on do not have it.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.harness import resp
from tests.harness.cli import Outcome, clusterboot
from tests.harness.servers import binary

_NEWNET = 0x40000000
_NETNS = Path("/run/netns")
_number = itertools.count()


class Unavailable(Exception):
    """This machine cannot make namespaces; the text says why."""


def check() -> None:
    """Raise `Unavailable` with the reason when hosts cannot be made here."""
    if sys.platform != "linux":
        raise Unavailable("network namespaces are there on Linux only")
    if os.geteuid() != 0:
        raise Unavailable("network namespaces need root")
    for program, package in (("ip", "iproute2"), ("nft", "nftables")):
        if shutil.which(program) is None:
            raise Unavailable(f"there is no {program} here; install {package}")
    try:
        with Hosts("", 0):
            pass
    except RuntimeError as refused:
        raise Unavailable(f"this machine refuses to make a network namespace: {refused}") from refused


class Hosts:
    """`count` hosts with one server each, and one more, the console, from where clusterboot is run.

    Host i has the address 10.213.0.(i+1) and its server listens on 6379 and 16379. `extra` are more
    start arguments of host i's server, as lists. A context manager: nothing is left, however it ends.
    """

    def __init__(
        self,
        kind: str,
        count: int,
        *,
        node_timeout: int = 15000,
        extra: dict[int, Sequence[str]] | None = None,
    ) -> None:
        self._binary = binary(kind) if count else ""
        self._count = count
        self._node_timeout = node_timeout
        self._extra = extra or {}
        # The namespaces of one test process and of one test; 15 characters are the limit for devices only.
        self._prefix = f"clusterboot-{os.getpid()}-{next(_number)}"
        self._made: list[str] = []
        self.processes: list[subprocess.Popen[bytes]] = []
        self.ips = [f"10.213.0.{index + 1}" for index in range(count)]

    @property
    def addresses(self) -> list[str]:
        """`ip:port` of every server, in order."""
        return [f"{ip}:6379" for ip in self.ips]

    def __enter__(self) -> Hosts:
        self.folder = Path(tempfile.mkdtemp(prefix="clusterboot-hosts-"))
        try:
            self._wire()
            for index in range(self._count):
                self.processes.append(self._start(index))
            for index in range(self._count):
                self._wait(index)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()
        for name in reversed(self._made):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _wire(self) -> None:
        self._namespace("bridge")
        _run("ip", "-n", self._name("bridge"), "link", "add", "br0", "type", "bridge")
        _run("ip", "-n", self._name("bridge"), "link", "set", "br0", "up")
        for index, host in enumerate([*range(self._count), "console"]):
            ip = f"10.213.0.{254 if host == 'console' else index + 1}"
            self._namespace(host)
            here, bridge = self._name(host), self._name("bridge")
            _run(
                "ip",
                "-n",
                here,
                "link",
                "add",
                "eth0",
                "type",
                "veth",
                "peer",
                "name",
                f"v{index}",
                "netns",
                bridge,
            )
            _run("ip", "-n", bridge, "link", "set", f"v{index}", "master", "br0", "up")
            _run("ip", "-n", here, "addr", "add", f"{ip}/24", "dev", "eth0")
            _run("ip", "-n", here, "link", "set", "eth0", "up")
            # A way to everywhere, so that a foreign address is silence, as on a real network, and no error.
            _run("ip", "-n", here, "route", "add", "default", "via", "10.213.0.253")
            _run(
                "ip", "-n", here, "neigh", "add", "10.213.0.253", "lladdr", "02:00:00:00:00:fd", "dev", "eth0"
            )

    def _namespace(self, host: int | str) -> None:
        name = self._name(host)
        _run("ip", "netns", "add", name)
        self._made.append(name)
        _run("ip", "-n", name, "link", "set", "lo", "up")

    def _name(self, host: int | str) -> str:
        return f"{self._prefix}-{host}"

    @contextlib.contextmanager
    def inside(self, host: int | str = "console") -> Iterator[None]:
        """Sockets that this thread opens and processes that it starts meanwhile belong to `host`."""
        libc = ctypes.CDLL(None, use_errno=True)

        def enter(descriptor: int) -> None:
            if libc.setns(descriptor, _NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")

        with Path("/proc/thread-self/ns/net").open() as home, (_NETNS / self._name(host)).open() as there:
            enter(there.fileno())
            try:
                yield
            finally:
                enter(home.fileno())

    def _start(self, index: int) -> subprocess.Popen[bytes]:
        folder = self.folder / str(index)
        folder.mkdir(exist_ok=True)
        command = [self._binary, "--port", "6379", "--dir", str(folder), "--cluster-enabled", "yes"]
        command += ["--cluster-node-timeout", str(self._node_timeout), "--save", "", "--appendonly", "no"]
        command += ["--protected-mode", "no", "--slowlog-log-slower-than", "0", "--slowlog-max-len", "100000"]
        with self.inside(index), (folder / "log").open("ab") as log:
            return subprocess.Popen(
                [*command, *self._extra.get(index, ())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                process_group=None,
            )

    def _wait(self, index: int, deadline: float = 20.0) -> None:
        end = time.monotonic() + deadline
        while True:
            with suppress(OSError):
                reply = self.call(index, "PING", timeout=1.0)
                if reply == "PONG" or reply.startswith("NOAUTH"):
                    return
            if self.processes[index].poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"host {index} has no server:\n{self.log(index)[-2000:]}")
            time.sleep(0.01)

    def log(self, index: int) -> str:
        """Return what the server of host `index` has printed so far."""
        return (self.folder / str(index) / "log").read_text(errors="replace")

    def call(self, index: int, *command: object, timeout: float = 5.0) -> Any:
        """Send one command to the server of host `index`, on that host: no rule can be in the way."""
        with self.inside(index), resp.Connection("127.0.0.1:6379", timeout=timeout) as connection:
            return connection.call(*command)

    def drop(self, index: int, match: str, *, verdict: str = "drop", out: bool = False) -> None:
        """Let host `index` drop what comes in (`out`: goes out) and fits the nftables `match`.

        `verdict` may be `reject with tcp reset` instead. Connections that are already there are hit too.
        """
        name = self._name(index)
        hook = "output" if out else "input"
        _run("ip", "netns", "exec", name, "nft", "add table inet test")
        chain = f"add chain inet test {hook} {{ type filter hook {hook} priority 0; }}"
        _run("ip", "netns", "exec", name, "nft", chain)
        device = f'{"o" if out else "i"}ifname "eth0"'
        _run("ip", "netns", "exec", name, "nft", f"add rule inet test {hook} {device} {match} {verdict}")

    def mend(self, index: int) -> None:
        """Take every rule off host `index`."""
        _run("ip", "netns", "exec", self._name(index), "nft", "flush ruleset")

    def cut(self, index: int) -> None:
        """Cut host `index` off from all others but the console: no packet of the bus comes in or goes out."""
        for out, what in ((False, "ip saddr"), (True, "ip daddr")):
            self.drop(index, f"{what} 10.213.0.1-10.213.0.200", out=out)

    def clusterboot(
        self, *args: str | Path, timeout: float = 60.0, env: dict[str, str] | None = None
    ) -> Outcome:
        """Run clusterboot on the console."""
        with self.inside():
            return clusterboot(*args, timeout=timeout, env=env)

    def topology(self, **keys: object) -> Path:
        """Write a topology of all hosts, by name (a, b, c …), and return its path; `keys` are added to it."""
        nodes = [{"name": "abcdefghijklmnop"[i], "host": ip, "port": 6379} for i, ip in enumerate(self.ips)]
        document = {"version": 1, "nodes": nodes, **keys}
        path = self.folder / f"topology-{next(_number)}.yaml"
        path.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in document.items()))
        return path


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
