"""Resource usage with many nodes, on the simulated fleet of tests/harness/fleet.py.

CPU seconds and peak memory are of the clusterboot process only; the fleet counts commands and bytes.
A snapshot is one CLUSTER NODES reply of every node: N² lines.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.harness.fleet import SimulatedFleet


@dataclass(frozen=True)
class Cost:
    """One `up` on `nodes` simulated fresh nodes: seconds, MiB of memory, commands and MB of replies."""

    nodes: int
    exit: int
    seconds: float
    cpu: float
    memory: float
    commands: int
    read: float
    snapshots: float

    def document(self) -> dict[str, object]:
        """Return it for the JSON file."""
        return asdict(self)


def measure(count: int) -> Cost:
    """Form a cluster of `count` simulated nodes with one replica each."""
    with SimulatedFleet(count) as fleet, tempfile.TemporaryDirectory() as folder:
        topology = fleet.topology(Path(folder) / "topology.yaml", replicas=1)
        env = {**os.environ, "CLUSTERBOOT_STATE": str(Path(folder) / "state")}
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "clusterboot", "-q", "up", str(topology)],
            env=env,
            stdin=subprocess.DEVNULL,
        )
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        stats = fleet.stats()
    return Cost(
        nodes=count,
        exit=process.returncode,
        seconds=round(seconds, 2),
        cpu=round(used.ru_utime + used.ru_stime, 2),
        memory=round(used.ru_maxrss / (1024 if sys.platform == "linux" else 1024**2), 1),
        commands=sum(stats["commands"].values()),
        read=round(stats["sent"] / 1e6, 1),
        snapshots=round(stats["sent"] / stats["snapshot"], 2),
    )
