"""Time to Ready on real servers: clusterboot and `redis-cli --cluster create` in turn.

Each run uses new servers, after their start-up delay of 2 s. Time starts with the tool's process. The probe
of the tests decides when the cluster is Ready; it uses plain sockets and no code of clusterboot. It costs
CPU, so on many nodes it starts only after the tool has exited: clusterboot exits once the cluster is Ready,
redis-cli long before.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.harness.ready import why_not_ready
from tests.harness.servers import Servers

TOOLS = ("redis-cli", "clusterboot", "clusterboot --no-boost")
_PROBED_MEANWHILE = 12  # nodes
_DEADLINE = 300.0


@dataclass(frozen=True)
class Run:
    """One run: seconds until the tool exited and until the cluster was Ready; None for never."""

    exit: float | None
    ready: float | None
    load: float
    problem: str | None = None


@dataclass(frozen=True)
class Formed:
    """All runs of one tool on one server kind and number of nodes."""

    server: str
    nodes: int
    tool: str
    runs: tuple[Run, ...]

    def median(self, what: str) -> float | None:
        """Return the median of `exit` or `ready`; None if a run never got there."""
        values = [getattr(run, what) for run in self.runs]
        return None if None in values or not values else round(statistics.median(values), 2)

    def document(self) -> dict[str, object]:
        """Return it for the JSON file."""
        return {**asdict(self), "exit": self.median("exit"), "ready": self.median("ready")}


def measure(kind: str, count: int, tools: tuple[str, ...], runs: int) -> Iterator[Formed]:
    """Run every tool `runs` times on `count` fresh servers of `kind`, in turn, with one replica each."""
    by_tool: dict[str, list[Run]] = {tool: [] for tool in tools}
    for _ in range(runs):
        for tool in tools:
            run = _once(kind, count, tool)
            print(f"{kind} {count} nodes, {tool}: {run}", file=sys.stderr, flush=True)
            by_tool[tool].append(run)
    for tool, done in by_tool.items():
        yield Formed(kind, count, tool, tuple(done))


def _once(kind: str, count: int, tool: str) -> Run:
    with Servers(kind, count, slowlog=False) as servers, tempfile.TemporaryDirectory() as folder:
        time.sleep(max(2.5, count / 20))
        load = os.getloadavg()[0]
        topology = Path(folder) / "topology.yaml"
        topology.write_text(servers.topology(replicas=1))
        env = {**os.environ, "CLUSTERBOOT_STATE": str(Path(folder) / "state")}
        began = time.perf_counter()
        with subprocess.Popen(
            _command(tool, servers, topology),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=env,
        ) as process:
            try:
                return _follow(process, servers, count, began, load)
            finally:
                process.kill()


def _follow(process: subprocess.Popen[str], servers: Servers, count: int, began: float, load: float) -> Run:
    ended: float | None = None
    reason: str | None = "never probed"
    while (now := time.perf_counter()) - began < _DEADLINE:
        if ended is None and process.poll() is not None:
            ended = round(now - began, 2)
            if process.returncode:
                assert process.stderr is not None
                return Run(ended, None, load, process.stderr.read()[-300:])
        if reason is not None and (ended is not None or count <= _PROBED_MEANWHILE):
            # The time of the query counts, so the duration of the probe does not.
            asked = time.perf_counter()
            reason = why_not_ready(servers.addresses, timeout=20.0)
            if reason is None:
                ready = round(asked - began, 2)
            cost = time.perf_counter() - asked
            if reason is None and ended is None:
                process.wait(_DEADLINE)
                ended = round(time.perf_counter() - began, 2)
            if reason is None:
                return Run(ended, ready, load)
            time.sleep(min(1.0, max(0.01, cost)))
        else:
            time.sleep(0.005)
    return Run(ended, None, load, f"not Ready after {_DEADLINE:g} s: {reason}")


def _command(tool: str, servers: Servers, topology: Path) -> list[str]:
    if tool == "redis-cli":
        binary = shutil.which("redis-cli")
        if binary is None:
            raise SystemExit("redis-cli: command not found; it is in Debian's package redis-tools")
        return [binary, "--cluster", "create", *servers.addresses, "--cluster-replicas", "1", "--cluster-yes"]
    _, *flags = tool.split(" ")
    return [sys.executable, "-m", "clusterboot", "up", str(topology), *flags]
