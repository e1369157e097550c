"""Moving slots: redis-cli and clusterboot on the same data, while a client writes and reads.

Each run uses new servers: three primaries, 200,000 keys of all types and a hash of 50 MB, then a fourth
primary that has joined and has no slots. `grow` is the time of `redis-cli --cluster rebalance
--cluster-use-empty-masters` or of `up --rebalance` until its exit; `retire` that of `rebalance` with weight 0
and `del-node` for the fourth primary and its replicas, or of `up --rebalance` with the node under `retire`.
One redis-py client writes, reads and verifies all the time; its call times are measured before, and during
each. Afterwards every key is compared; a missing or wrong one makes the run a failure.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.targets import Target
from tests.harness import shards
from tests.harness.load import Data
from tests.harness.ready import wait_ready
from tests.harness.servers import Servers
from tests.harness.writer import Phase, writing

TOOLS = ("redis-cli", "clusterboot")
STAGES = ("grow", "retire")
KEYS, MEGABYTES = 200_000, 50
# The maximum share of redis-cli's time, without and with replicas.
RATIOS = {"redis62": (0.5, 0.5), "redis70": (0.5, 0.5), "valkey91": (0.2, 0.05)}
# How many times the idle p99 a client may see on the copy path.
P99 = 3.0
# Milliseconds that a call may take on the atomic path.
SLOWEST = 100.0
_DEADLINE = 900.0
_IDLE = 3.0
# Seconds between two calls of the client, which leave CPU for the servers.
_PAUSE = 0.002


@dataclass(frozen=True)
class Run:
    """One run: seconds of each stage, None for never, and the client's call times in milliseconds."""

    grow: float | None = None
    retire: float | None = None
    idle: Phase | None = None
    growing: Phase | None = None
    retiring: Phase | None = None
    load: float = 0.0
    problem: str | None = None


@dataclass(frozen=True)
class Moved:
    """All runs of one tool on one server kind with `replicas` replicas per primary."""

    server: str
    replicas: int
    tool: str
    runs: tuple[Run, ...]

    def median(self, what: str) -> float | None:
        """Return the median of `grow` or `retire` in seconds; None if a run failed."""
        values = [getattr(run, what) for run in self.runs]
        return None if None in values or not values else round(statistics.median(values), 2)

    def call(self, what: str, phase: str) -> float | None:
        """Return the median of `p50`, `p99` or `slowest` in one phase, in milliseconds."""
        phases = [getattr(run, phase) for run in self.runs]
        values = [getattr(times, what) for times in phases if times is not None]
        return round(statistics.median(values), 1) if values else None

    def document(self) -> dict[str, object]:
        """Return it for the JSON file."""
        return {**asdict(self), **{stage: self.median(stage) for stage in STAGES}}


def measure(
    kind: str, replicas: int, runs: int, keys: int = KEYS, megabytes: int = MEGABYTES
) -> Iterator[Moved]:
    """Run both tools `runs` times on fresh servers of `kind`, in turn."""
    by_tool: dict[str, list[Run]] = {tool: [] for tool in TOOLS}
    for _ in range(runs):
        for tool in TOOLS:
            run = _once(kind, replicas, tool, Data(keys, megabytes))
            print(f"{kind}, {replicas} replicas, {tool}: {run}", file=sys.stderr, flush=True)
            by_tool[tool].append(run)
    for tool, done in by_tool.items():
        yield Moved(kind, replicas, tool, tuple(done))


def _once(kind: str, replicas: int, tool: str, data: Data) -> Run:
    # The default delay before a replica's first sync would only make the preparation longer.
    extra = ["--repl-diskless-sync-delay", "0"]
    with (
        Servers(kind, 4 * (1 + replicas), slowlog=False, extra=extra) as servers,
        tempfile.TemporaryDirectory() as folder,
    ):
        cluster = _Cluster(servers, replicas, Path(folder))
        try:
            return _measured(cluster, tool, data)
        except Exception as error:
            return Run(load=round(os.getloadavg()[0], 1), problem=f"{error!r}"[-600:])


def _measured(cluster: _Cluster, tool: str, data: Data) -> Run:
    first = cluster.servers.addresses[0]
    cluster.up(3)
    data.fill(first)
    cluster.up(4)
    load = round(os.getloadavg()[0], 1)
    seconds = {}
    with writing(cluster.servers.addresses, ["redis"], pause=_PAUSE) as writers:
        time.sleep(_IDLE)
        for stage in STAGES:
            commands = cluster.redis_cli(stage) if tool == "redis-cli" else cluster.clusterboot(stage)
            writers.phase(stage)
            began = time.perf_counter()
            for command in commands:
                _run(command)
            seconds[stage] = round(time.perf_counter() - began, 2)
            writers.phase("between")
            weights = dict.fromkeys(cluster.servers.addresses[: 4 if stage == "grow" else 3], 1)
            if problems := shards.off_shares(first, weights) + data.compare(first):
                raise RuntimeError(f"after {stage}: {problems}")
    if problems := writers.problems():
        raise RuntimeError(f"the client: {problems}")
    phases = writers.reports[0].phases
    return Run(**seconds, idle=phases["idle"], growing=phases["grow"], retiring=phases["retire"], load=load)


class _Cluster:
    """Servers in shards: the primaries are the first four, then their replicas."""

    def __init__(self, servers: Servers, replicas: int, folder: Path) -> None:
        self.servers = servers
        self._replicas = replicas
        self._folder = folder

    def _shard(self, number: int) -> list[int]:
        return [number, *(4 + number * self._replicas + copy for copy in range(self._replicas))]

    def file(self, count: int, retired: Sequence[int] = ()) -> Path:
        """Write the topology of the first `count` shards."""
        entries = []
        for number in range(count):
            primary, *replicas = self._shard(number)
            entries.append(self._entry(primary, role="primary"))
            entries += [self._entry(replica, replica_of=f"n{primary}") for replica in replicas]
        keys = {"retire": [self.servers.addresses[index] for index in retired]} if retired else {}
        path = self._folder / "topology.yaml"
        path.write_text(json.dumps({"version": 1, "nodes": entries, **keys}))
        return path

    def _entry(self, index: int, **keys: str) -> dict[str, object]:
        return {"name": f"n{index}", "host": "127.0.0.1", "port": self.servers.ports[index], **keys}

    def up(self, count: int) -> None:
        """Form or extend the cluster with the first `count` shards, and wait until it is Ready."""
        _run([sys.executable, "-m", "clusterboot", "up", str(self.file(count))])
        members = [index for number in range(count) for index in self._shard(number)]
        wait_ready([self.servers.addresses[index] for index in members])

    def clusterboot(self, stage: str) -> list[list[str]]:
        """Return the command of a stage."""
        file = self.file(4) if stage == "grow" else self.file(3, self._shard(3))
        return [[sys.executable, "-m", "clusterboot", "up", str(file), "--rebalance"]]

    def redis_cli(self, stage: str) -> list[list[str]]:
        """Return the commands of a stage; a replica is deleted before its primary."""
        binary = shutil.which("redis-cli")
        if binary is None:
            raise SystemExit("redis-cli: command not found; it is in Debian's package redis-tools")
        first = self.servers.addresses[0]
        if stage == "grow":
            return [[binary, "--cluster", "rebalance", first, "--cluster-use-empty-masters"]]
        ids = {shard.address: shard.id for shard in shards.shards(first)}
        fourth = self._shard(3)
        weight = f"{ids[self.servers.addresses[3]]}=0"
        deleted = [
            [binary, "--cluster", "del-node", first, str(self.servers.call(index, "CLUSTER", "MYID"))]
            for index in reversed(fourth)
        ]
        return [[binary, "--cluster", "rebalance", first, "--cluster-weight", weight], *deleted]


def _run(command: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "CLUSTERBOOT_STATE": folder}
        ended = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_DEADLINE, env=env
        )
    if ended.returncode:
        told = (ended.stderr or ended.stdout)[-400:]
        raise RuntimeError(f"{' '.join(command[:4])} ended with {ended.returncode}: {told}")


def targets(results: Sequence[Moved]) -> Iterator[Target]:
    """Compare the results with their targets."""
    theirs = {(each.server, each.replicas): each for each in results if each.tool == "redis-cli"}
    for each in results:
        other = theirs.get((each.server, each.replicas))
        if each.tool == "redis-cli" or other is None:
            continue
        where = f"{each.server}, {each.replicas} replicas"
        for stage in STAGES:
            limit = RATIOS[each.server][min(1, each.replicas)]
            ours, cli = each.median(stage), other.median(stage)
            if cli is None:
                continue  # redis-cli has failed: there is nothing to compare with
            share = round(ours / cli, 3) if ours is not None else None
            yield Target(f"{stage} by moving slots, {where}: share of redis-cli's time", limit, share)
        for stage, phase in zip(STAGES, ("growing", "retiring"), strict=True):
            if each.server == "valkey91":
                slowest = each.call("slowest", phase)
                yield Target(f"{stage} by moving slots, {where}: slowest call in ms", SLOWEST, slowest)
            else:
                idle, p99 = each.call("p99", "idle"), each.call("p99", phase)
                times = round(p99 / idle, 2) if p99 is not None and idle else None
                yield Target(f"{stage} by moving slots, {where}: p99, times the idle one", P99, times)


HEADS = (
    *("server", "replicas", "tool", "grow s", "share", "retire s", "share"),
    *("p99 ms: idle", "grow", "retire", "slowest ms: grow", "retire"),
)


def rows(results: Sequence[Moved]) -> Iterator[tuple[object, ...]]:
    """Yield the rows of the table with HEADS."""
    theirs = {(each.server, each.replicas): each for each in results if each.tool == "redis-cli"}
    for each in results:
        other = theirs[each.server, each.replicas]
        row: list[object] = [each.server, each.replicas, each.tool]
        for stage in STAGES:
            ours, cli = each.median(stage), other.median(stage)
            row += [ours or "never", f"{ours / cli:.3f}" if ours and cli else "-"]
        row += [each.call("p99", phase) for phase in ("idle", "growing", "retiring")]
        row += [each.call("slowest", phase) for phase in ("growing", "retiring")]
        yield tuple(row)
