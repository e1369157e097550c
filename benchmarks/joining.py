"""A node that joins a cluster that serves: how soon all agree on it, and how soon `up` says Ready.

The servers keep their default timers, which clusterboot never touches where somebody serves. Into each
cluster of N nodes with one replica each goes first a replica, then a primary without slots (which so finds
N + 1 nodes). The clock runs from the first MEET: one of the two nodes that it is between counts a node
more from that moment on. All agree when the tests' probe, which has none of clusterboot's code, finds that
every node lists exactly all ids as seen, with the same roles, primaries and slots. What the two looks take
is on the bill: the first counts from before it was asked, the second until it was judged.
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
# What medians are taken of; the first two in seconds from the first MEET on.
NUMBERS = ("agreed", "ready", "planned_meets", "extra_meets")
# Seconds between two looks at all nodes: they and clusterboot need the processors as well.
_PAUSE = 0.05
# Seconds in which the news of forming the cluster fades, so that joining it starts from rest.
_SETTLING = 3.0
_DEADLINE = 120.0


@dataclass(frozen=True)
class Run:
    """One newcomer: seconds from the first MEET on, None where never; `started` is how long that took."""

    started: float | None = None
    agreed: float | None = None
    ready: float | None = None
    planned_meets: int = 0
    extra_meets: int = 0
    load: float = 0.0
    problem: str | None = None


@dataclass(frozen=True)
class Joined:
    """All runs of one role on one kind and number of servers."""

    server: str
    nodes: int
    role: str
    runs: tuple[Run, ...]

    def median(self, what: str) -> float | None:
        """Return the median of a number of the runs; None when a run never got there."""
        found = [getattr(run, what) for run in self.runs]
        return None if None in found or not found else round(statistics.median(found), 2)

    def document(self) -> dict[str, object]:
        """Return it for the JSON file."""
        return {**asdict(self), **{what: self.median(what) for what in NUMBERS}}


def measure(kind: str, count: int, runs: int) -> Iterator[Joined]:
    """Let a replica and a primary join `count` nodes of `kind`, `runs` times on fresh servers."""
    found: dict[str, list[Run]] = {role: [] for role in ROLES}
    for _ in range(runs):
        for role, run in zip(ROLES, _cluster(kind, count), strict=True):
            print(f"{kind} {count} nodes and a {role}: {run}", file=sys.stderr, flush=True)
            found[role].append(run)
    for role, done in found.items():
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
            told = {"replica_of": names[0]} if role == "replica" else {"role": role, "slots": "none"}
            nodes.append(_node(name, **told))
            yield _join(servers, nodes, Path(folder), role)


def _node(name: str, **told: object) -> dict[str, object]:
    host, _, port = name.rpartition(":")
    return {"name": name, "host": host, "port": int(port), **told}


def _up(servers: Servers, nodes: Sequence[object], folder: Path) -> subprocess.Popen[bytes]:
    """Start `clusterboot up`; its document goes to up.json in `folder`."""
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
    """Return the line of CLUSTER INFO that counts whom a node knows, those in handshake included."""
    infos = [str(node.call("CLUSTER", "INFO")) for node in nodes]
    return [line for info in infos for line in info.splitlines() if line.startswith("cluster_known_nodes:")]


def _first_meet(
    process: subprocess.Popen[bytes], hub: Connection, newcomer: Connection, alone: list[str]
) -> float | None:
    """Return the last moment before a MEET was seen; None when the process ended without one."""
    while process.poll() is None:
        asked = time.perf_counter()
        if _known(hub, newcomer) != alone:
            return asked
        time.sleep(0.002)
    return None


def _agreed(
    process: subprocess.Popen[bytes], addresses: Sequence[str], newcomer: Connection, role: str
) -> tuple[float | None, float]:
    """Return the moments at which all nodes agreed (None: never) and the process ended."""
    ended = None
    end = time.perf_counter() + _DEADLINE
    while (now := time.perf_counter()) < end:
        if ended is None and process.poll() is not None:
            ended = now
        # Before it has taken its role all may well agree, but on the wrong one.
        is_one = newcomer.call("ROLE")[0] == ("slave" if role == "replica" else "master")
        if is_one and why_not_ready(addresses, mesh_only=True, timeout=20.0) is None:
            agreed = time.perf_counter()
            process.wait(_DEADLINE)
            return agreed, ended or time.perf_counter()
        time.sleep(_PAUSE)
    return None, ended or end


HEADS = ("server", "nodes", "newcomer", "all agree s", "Ready s", "MEETs planned", "extra MEETs")


def row(joined: Joined) -> tuple[object, ...]:
    """Return one row of the table below HEADS."""
    found = [joined.median(what) for what in NUMBERS]
    return joined.server, joined.nodes, joined.role, *("never" if each is None else each for each in found)
