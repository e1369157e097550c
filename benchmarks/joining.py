"""A node joins a serving cluster: time until all nodes agree on it, and until `up` reports Ready.

The servers keep their default timers, which clusterboot never changes on a serving cluster. First a replica
joins a cluster of N nodes with one replica per primary, then a primary without slots joins these N + 1 nodes.
Time starts with the first MEET, when one of its two nodes knows one node more. All nodes agree when the probe
of the tests, which uses no code of clusterboot, finds that every node sees exactly all ids, with the same
roles, primaries and slots. The durations of both measurements are included: time starts before the first
query and stops after the last result is evaluated.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.harness.ready import wait_ready, why_not_ready
from tests.harness.resp import Connection
from tests.harness.servers import Servers

ROLES = ("replica", "primary")
# The values with a median; the first two in seconds from the first MEET on.
NUMBERS = ("agreed", "ready", "planned_meets", "extra_meets")
# Seconds between two probes, which leave CPU for the nodes and clusterboot.
_PAUSE = 0.05
# Seconds until the gossip of forming the cluster has settled.
_SETTLING = 3.0
_DEADLINE = 120.0


@dataclass(frozen=True)
class Run:
    """One joining node: seconds from the first MEET on, None for never; `started` is the time before it."""

    started: float | None = None
    agreed: float | None = None
    ready: float | None = None
    planned_meets: int = 0
    extra_meets: int = 0
    load: float = 0.0
    problem: str | None = None


@dataclass(frozen=True)
class Joined:
    """All runs of one role on one server kind and number of nodes."""

    server: str
    nodes: int
    role: str
    runs: tuple[Run, ...]

    def median(self, what: str) -> float | None:
        """Return the median of one of NUMBERS; None if a run never got there."""
        values = [getattr(run, what) for run in self.runs]
        return None if None in values or not values else round(statistics.median(values), 2)

    def document(self) -> dict[str, object]:
        """Return it for the JSON file."""
        return {**asdict(self), **{what: self.median(what) for what in NUMBERS}}


def measure(kind: str, count: int, runs: int) -> Iterator[Joined]:
    """Let a replica and a primary join `count` nodes of `kind`, `runs` times on fresh servers."""
    by_role: dict[str, list[Run]] = {role: [] for role in ROLES}
    for _ in range(runs):
        for role, run in zip(ROLES, _cluster(kind, count), strict=True):
            print(f"{kind} {count} nodes and a {role}: {run}", file=sys.stderr, flush=True)
            by_role[role].append(run)
    for role, done in by_role.items():
        yield Joined(kind, count, role, tuple(done))


def _cluster(kind: str, count: int) -> Iterator[Run]:
    """Form a cluster of `count` fresh servers and let one node of each role join it."""
    with Servers(kind, count + len(ROLES), slowlog=False) as servers, tempfile.TemporaryDirectory() as folder:
        time.sleep(max(2.5, count / 20))
        names = servers.addresses
        half = count // 2
        nodes: list[dict[str, object]] = [_node(name, role="primary") for name in names[:half]]
        nodes += [_node(name, replica_of=names[index]) for index, name in enumerate(names[half:count])]
        with _up(servers, nodes, Path(folder)) as process:
            if process.wait():
                raise SystemExit(f"{kind}: no cluster of {count} nodes: exit status {process.returncode}")
        wait_ready(names[:count])
        for role, name in zip(ROLES, names[count:], strict=True):
            time.sleep(_SETTLING)
            keys = {"replica_of": names[0]} if role == "replica" else {"role": role, "slots": "none"}
            nodes.append(_node(name, **keys))
            yield _join(servers, nodes, Path(folder), role)


def _node(name: str, **keys: object) -> dict[str, object]:
    host, _, port = name.rpartition(":")
    return {"name": name, "host": host, "port": int(port), **keys}


def _up(servers: Servers, nodes: Sequence[object], folder: Path) -> subprocess.Popen[bytes]:
    """Start `clusterboot up`, which writes its document to up.json in `folder`."""
    topology = folder / "topology.yaml"
    topology.write_text(servers.topology(nodes=nodes))
    with (folder / "up.json").open("wb") as out:
        return subprocess.Popen(
            [sys.executable, "-m", "clusterboot", "up", str(topology), "-o", "json"],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "CLUSTERBOOT_STATE": str(folder / "state")},
        )


def _join(servers: Servers, nodes: Sequence[object], folder: Path, role: str) -> Run:
    addresses = servers.addresses[: len(nodes)]
    load = round(os.getloadavg()[0], 2)
    with Connection(addresses[0]) as hub, Connection(addresses[-1]) as newcomer:
        alone = _known(hub, newcomer)
        began = time.perf_counter()
        with _up(servers, nodes, folder) as process:
            try:
                met = _first_meet(process, hub, newcomer, alone)
                agreed, ended = _agreed(process, addresses, newcomer, role)
            finally:
                process.kill()
    reason = why_not_ready(addresses)
    if met is None or reason is not None or process.returncode:
        return Run(load=load, problem=reason or f"exit status {process.returncode}, first MEET at {met}")
    document = json.loads((folder / "up.json").read_text())
    return Run(
        started=round(met - began, 2),
        agreed=None if agreed is None else round(agreed - met, 2),
        ready=round(ended - met, 2),
        planned_meets=sum(step["kind"] == "meet" and not step["extra"] for step in document["steps"]),
        extra_meets=document["extra_meets"],
        load=load,
    )


def _known(*nodes: Connection) -> list[str]:
    """Return the lines of CLUSTER INFO with the number of known nodes, including those in handshake."""
    infos = [str(node.call("CLUSTER", "INFO")) for node in nodes]
    return [line for info in infos for line in info.splitlines() if line.startswith("cluster_known_nodes:")]


def _first_meet(
    process: subprocess.Popen[bytes], hub: Connection, newcomer: Connection, alone: list[str]
) -> float | None:
    """Return the last time before a MEET was seen; None if the process exited without one."""
    while process.poll() is None:
        asked = time.perf_counter()
        if _known(hub, newcomer) != alone:
            return asked
        time.sleep(0.002)
    return None


def _agreed(
    process: subprocess.Popen[bytes], addresses: Sequence[str], newcomer: Connection, role: str
) -> tuple[float | None, float]:
    """Return the times at which all nodes agreed (None for never) and the process exited."""
    ended = None
    end = time.perf_counter() + _DEADLINE
    while (now := time.perf_counter()) < end:
        if ended is None and process.poll() is not None:
            ended = now
        # Before the node has its role, all nodes may agree on the wrong one.
        is_one = newcomer.call("ROLE")[0] == ("slave" if role == "replica" else "master")
        if is_one and why_not_ready(addresses, mesh_only=True, timeout=20.0) is None:
            agreed = time.perf_counter()
            process.wait(_DEADLINE)
            return agreed, ended or time.perf_counter()
        time.sleep(_PAUSE)
    return None, ended or end


HEADS = ("server", "nodes", "joining", "all agree s", "Ready s", "MEETs planned", "extra MEETs")


def row(joined: Joined) -> tuple[object, ...]:
    """Return one row of the table with HEADS."""
    medians = [joined.median(what) for what in NUMBERS]
    return joined.server, joined.nodes, joined.role, *("never" if each is None else each for each in medians)
