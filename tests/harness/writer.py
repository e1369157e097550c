"""A client that verifies: it writes and reads all the time, and knows what every read has to return.

    with writing(addresses) as writers:          one process for redis-py, one for valkey-py
        writers.phase("grow")                    call times are measured by phase
        ...
    assert writers.problems() == []              no error, no lost and no stale value

The clients are as their libraries make them by default, second tries included, as applications use them. Each
key has one writer, so every read has one right answer. At the end every key is read once more.

`python -m tests.harness.writer redis|valkey ADDRESS PAUSE` is the process; it reads phases from stdin until
that is closed, and then prints what it found as JSON.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.harness.cli import ROOT, environment

LIBRARIES = ("redis", "valkey")
# Keys of each sort; strings are overwritten and deleted, counters counted up, and so on.
_KEYS = 400
# Seconds between two calls: a client, not a load test.
PAUSE = 0.001
# Seconds by which a key may expire late: what is left of a TTL travels with the key.
_LATE = 0.5
_MAX_TOLD = 20


@dataclass(frozen=True)
class Phase:
    """Call times of one phase in milliseconds."""

    calls: int
    p50: float
    p99: float
    slowest: float


@dataclass(frozen=True)
class Report:
    """What one client found; `problems` are its errors and wrong reads, at most 20, `failed` how many.

    `lost` is how often the library could not follow ASK to a node that it did not know yet.
    """

    library: str
    calls: int
    compared: int
    failed: int
    lost: int
    problems: tuple[str, ...]
    phases: dict[str, Phase]


class Writers:
    """The processes that write; after `stop` their reports."""

    def __init__(self, addresses: Sequence[str], libraries: Sequence[str], pause: float) -> None:
        self.reports: tuple[Report, ...] = ()
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.harness.writer", library, addresses[0], str(pause)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=environment(),
                cwd=ROOT,
            )
            for library in libraries
        ]

    def begin(self) -> None:
        """Wait until all of them write."""
        for process in self._processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "writing\n", "a client could not begin to write"

    def phase(self, name: str) -> None:
        """Measure call times under `name` from now on."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(f"{name}\n")
            process.stdin.flush()

    def stop(self) -> tuple[Report, ...]:
        """Let them read every key once more, and return their reports."""
        told = [process.communicate(timeout=120)[0] for process in self._processes]
        documents = [json.loads(text) for text in told]
        self.reports = tuple(
            Report(**{**each, "phases": {name: Phase(**times) for name, times in each["phases"].items()}})
            for each in documents
        )
        return self.reports

    def kill(self) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()

    def problems(self) -> list[str]:
        """Return what went wrong for any of the clients."""
        assert self.reports, "the clients still write"
        return [f"{report.library}: {problem}" for report in self.reports for problem in report.problems]


@contextmanager
def writing(
    addresses: Sequence[str], libraries: Sequence[str] = LIBRARIES, *, pause: float = PAUSE
) -> Iterator[Writers]:
    """Write for the length of the block; `addresses[0]` is the node that the clients ask first."""
    writers = Writers(addresses, libraries, pause)
    try:
        writers.begin()
        yield writers
        writers.stop()
    finally:
        writers.kill()


class Verifier:
    """One client, and what it knows of its keys: those of an operation that failed are unknown."""

    def __init__(self, client: Any, prefix: str) -> None:
        self.client = client
        self.prefix = prefix
        self.random = random.Random(prefix)
        self.times = {"idle": array("d")}
        self.problems: list[str] = []
        self.failed = 0
        self.lost = 0
        self.known: dict[str, str | None] = {}
        self.counters: dict[str, int] = {}
        self.expiring: dict[str, tuple[str, float, float]] = {}  # value, surely alive until, surely gone at
        self.version = 0
        self._now = self.times["idle"]
        self._kinds: list[Callable[[str], None]] = [
            *[self._write] * 6,
            *[self._read] * 6,
            *[self._count] * 3,
            self._delete,
            self._expire,
            self._look,
            self._pair,
        ]

    def phase(self, name: str) -> None:
        self._now = self.times.setdefault(name, array("d"))

    def step(self) -> None:
        """Make one call, with a random key."""
        self.random.choice(self._kinds)(str(self.random.randrange(_KEYS)))

    def _call(self, name: str, key: str, *arguments: Any, **options: Any) -> tuple[bool, Any]:
        """Return whether the call was answered, and the answer."""
        began = time.perf_counter()
        try:
            try:
                reply = getattr(self.client, name)(*arguments, **options)
            except AttributeError as defect:
                # Both libraries know only nodes with slots. MOVED makes a node known; ASK, if it comes
                # first, ends in `None.redis_connection`, before anything was sent.
                if "_connection'" not in str(defect):
                    raise
                self.lost += 1
                self.client.nodes_manager.initialize()
                reply = getattr(self.client, name)(*arguments, **options)
        except Exception as error:
            self._fail(f"{name} {key}: {error!r} after {time.perf_counter() - began:.3f} s")
            return False, None
        finally:
            self._now.append(1000 * (time.perf_counter() - began))
        return True, reply

    def _fail(self, problem: str) -> None:
        self.failed += 1
        if len(self.problems) < _MAX_TOLD:
            self.problems.append(f"{time.strftime('%H:%M:%S')} {problem}")

    def _check(self, name: str, key: str, reply: object, wanted: object) -> None:
        if reply != wanted:
            self._fail(f"{name} {key}: {reply!r}, not {wanted!r}")

    def _next(self, number: str) -> str:
        self.version += 1
        return f"{number}:{self.version}"

    def _write(self, number: str) -> None:
        key, value = f"{self.prefix}string:{number}", self._next(number)
        answered, _ = self._call("set", key, key, value)
        self._note(key, value, answered)

    def _note(self, key: str, value: str | None, answered: bool) -> None:
        if answered:
            self.known[key] = value
        else:
            self.known.pop(key, None)

    def _read(self, number: str) -> None:
        self._reread(f"{self.prefix}string:{number}")

    def _reread(self, key: str) -> None:
        answered, reply = self._call("get", key, key)
        if answered and key in self.known:
            self._check("get", key, reply, self.known[key])

    def _delete(self, number: str) -> None:
        key = f"{self.prefix}string:{number}"
        answered, reply = self._call("delete", key, key)
        if answered and key in self.known:
            self._check("delete", key, reply, int(self.known[key] is not None))
        self._note(key, None, answered)

    def _count(self, number: str) -> None:
        key = f"{self.prefix}counter:{number}"
        answered, reply = self._call("incr", key, key)
        if not answered:
            self.counters[key] = -1  # it may have been counted
        elif self.counters.get(key, 0) >= 0:
            self._check("incr", key, reply, self.counters.get(key, 0) + 1)
        if answered:
            self.counters[key] = reply

    def _expire(self, number: str) -> None:
        key, value = f"{self.prefix}expiring:{number}", self._next(number)
        seconds = self.random.choice((0.3, 2.0, 600.0))
        began = time.monotonic()
        answered, _ = self._call("set", key, key, value, px=int(1000 * seconds))
        self.expiring.pop(key, None)
        if answered:
            self.expiring[key] = (value, began + seconds - 0.01, time.monotonic() + seconds + _LATE)

    def _look(self, number: str) -> None:
        key = f"{self.prefix}expiring:{number}"
        began = time.monotonic()
        answered, reply = self._call("get", key, key)
        if not answered or key not in self.expiring:
            return
        value, alive, gone = self.expiring[key]
        if time.monotonic() < alive:
            self._check("get", key, reply, value)
        elif began > gone:
            self._check("get", key, reply, None)
        elif reply is not None:
            self._check("get", key, reply, value)

    def _pair(self, number: str) -> None:
        """Write two keys of one slot in one call and read both."""
        value, keys = self._next(number), [f"{{{self.prefix}pair:{number}}}:{side}" for side in "ab"]
        answered, _ = self._call("mset", keys[0], dict.fromkeys(keys, value))
        for key in keys:
            self._note(key, value, answered)
        read, reply = self._call("mget", keys[0], keys)
        if answered and read:
            self._check("mget", keys[0], reply, [value, value])

    def finish(self) -> int:
        """Read every key once more and return how many there are."""
        self.phase("end")
        for key in self.known:
            self._reread(key)
        for key, number in self.counters.items():
            answered, reply = self._call("get", key, key)
            if answered and number >= 0:
                self._check("get", key, reply, str(number))
        for key in self.expiring:
            self._look(key.rpartition(":")[2])
            answered, reply = self._call("pttl", key, key)
            if answered and reply == -1:
                self._fail(f"pttl {key}: its TTL is lost")
        return len(self.known) + len(self.counters) + len(self.expiring)


def _phase(times: array[float]) -> dict[str, float]:
    ordered = sorted(times) or [0.0]
    return {
        "calls": len(times),
        "p50": round(ordered[len(ordered) // 2], 2),
        "p99": round(ordered[len(ordered) * 99 // 100], 2),
        "slowest": round(ordered[-1], 2),
    }


def _client(library: str, address: str) -> Any:
    host, _, port = address.rpartition(":")
    if library == "valkey":
        from valkey.cluster import ValkeyCluster

        return ValkeyCluster(host=host, port=int(port), decode_responses=True)
    from redis.cluster import RedisCluster

    return RedisCluster(host=host, port=int(port), decode_responses=True)


def _main(library: str, address: str, pause: str) -> None:
    verifier = Verifier(_client(library, address), f"w:{library}:")
    over = threading.Event()

    def listen() -> None:
        for line in sys.stdin:
            verifier.phase(line.strip())
        over.set()

    for _ in range(200):
        verifier.step()
    for times in verifier.times.values():
        del times[:]  # the first calls connect
    print("writing", flush=True)
    threading.Thread(target=listen, daemon=True).start()
    while not over.is_set():
        verifier.step()
        time.sleep(float(pause))
    compared = verifier.finish()
    document = {
        "library": library,
        "calls": sum(map(len, verifier.times.values())),
        "compared": compared,
        "failed": verifier.failed,
        "lost": verifier.lost,
        "problems": verifier.problems,
        "phases": {name: _phase(times) for name, times in verifier.times.items()},
    }
    print(json.dumps(document))


if __name__ == "__main__":
    _main(*sys.argv[1:])
