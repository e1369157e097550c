"""Record what real servers say in known situations, for tests/core/test_recorded.py.

    python -m tests.core.record [kind…] [situation…]

writes tests/data/<kind>/<situation>/: `topology.yaml`, and `facts.json` with every node's replies to what a
survey asks. What must follow from the facts, `expected.json`, is written by hand and never by this.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path

from tests.harness.ready import wait_ready, why_not_ready
from tests.harness.servers import SERVERS, Servers

DATA = Path(__file__).resolve().parents[1] / "data"
FIRST_PORT = 17001
NAMES = "abcdefghij"
# What of CONFIG a survey looks at.
SETTINGS = (
    *("cluster-node-timeout", "cluster-replica-no-failover", "repl-diskless-sync-delay"),
    *("cluster-announce-ip", "cluster-announce-port", "cluster-announce-bus-port"),
)
QUICK = ("--repl-diskless-sync-delay", "0")


def until(holds: Callable[[], bool], what: str, seconds: float = 40.0) -> None:
    """Wait until `holds()`."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise SystemExit(f"it never came to this: {what}")
        time.sleep(0.02)


def start(
    kind: str, count: int, *, quick: bool = True, extra: Sequence[str] = (), **options: object
) -> Servers:
    """Start servers on fixed ports, so that a new recording differs little from the old one."""
    return Servers(
        kind,
        count,
        node_timeout=1000 if quick else 15000,
        ports=range(FIRST_PORT, FIRST_PORT + count),
        extra=(*QUICK, *extra),
        slowlog=False,
        **options,  # type: ignore[arg-type]
    )


def meet(servers: Servers, one: int, other: int) -> None:
    """Send one MEET."""
    assert servers.call(one, "CLUSTER", "MEET", servers.host, servers.ports[other]) == "OK"


def knows(servers: Servers, one: int, other: int) -> bool:
    """Whether node `one` lists node `other` and is connected to it."""
    node_id = servers.call(other, "CLUSTER", "MYID")
    lines = servers.call(one, "CLUSTER", "NODES").splitlines()
    return any(line.startswith(node_id) and " connected" in line for line in lines)


def mesh(servers: Servers, members: Sequence[int]) -> None:
    """Let `members` know each other."""
    for left, right in pairwise(members):
        meet(servers, left, right)
    wait_ready([servers.addresses[index] for index in members], mesh_only=True)


def serve(servers: Servers, primaries: Sequence[int]) -> None:
    """Split the slots over `primaries`, each with an epoch of its own; before they meet."""
    cuts = [round(16384 * part / len(primaries)) for part in range(len(primaries) + 1)]
    for epoch, (index, (low, high)) in enumerate(zip(primaries, pairwise(cuts), strict=True), 1):
        assert servers.call(index, "CLUSTER", "SET-CONFIG-EPOCH", epoch) == "OK"
        assert servers.call(index, "CLUSTER", "ADDSLOTS", *range(low, high)) == "OK"


def replicate(servers: Servers, replica: int, primary: int) -> None:
    """Let one node replicate another that it knows."""
    assert servers.call(replica, "CLUSTER", "REPLICATE", servers.call(primary, "CLUSTER", "MYID")) == "OK"


def form(servers: Servers, members: Sequence[int] = range(6)) -> None:
    """Make `members` a Ready cluster: the first half are primaries, the others their replicas."""
    half = len(members) // 2
    serve(servers, members[:half])
    mesh(servers, members)
    for primary, replica in zip(members, members[half:], strict=False):
        replicate(servers, replica, primary)
    wait_ready([servers.addresses[index] for index in members])


def save(servers: Servers, situation: str, members: Iterable[int], **keys: object) -> None:
    """Write down what `members` say; `keys` are more keys of the topology."""
    members = list(members)
    folder = DATA / servers.kind / situation
    folder.mkdir(parents=True, exist_ok=True)
    facts = {}
    nodes = []
    for index in members:
        name = NAMES[index]
        nodes.append({"name": name, "host": servers.host, "port": servers.ports[index]})
        facts[name] = {
            "ip": servers.host,
            "INFO": servers.call(index, "INFO").splitlines(),
            "CLUSTER INFO": servers.call(index, "CLUSTER", "INFO").splitlines(),
            "CLUSTER NODES": servers.call(index, "CLUSTER", "NODES").splitlines(),
            "CONFIG GET": dict(
                pair
                for pair in (servers.call(index, "CONFIG", "GET", setting) for setting in SETTINGS)
                if pair
            ),
        }
        facts[name]["INFO"] = list(_sections(facts[name]["INFO"]))
    document = {"version": 1, "nodes": nodes, **keys}
    text = "".join(
        f"{key}:\n" + "".join(f"  - {json.dumps(node)}\n" for node in value)
        if key == "nodes"
        else f"{key}: {json.dumps(value)}\n"
        for key, value in document.items()
        if isinstance(value, list) or key != "nodes"
    )
    (folder / "topology.yaml").write_text(text)
    (folder / "facts.json").write_text(json.dumps(facts, indent=1) + "\n")


def _sections(lines: Iterable[str]) -> Iterable[str]:
    """What of INFO is worth keeping: not what the machine is called and where things lie on it."""
    kept = False
    for line in lines:
        if line.startswith("# "):
            kept = line[2:] in ("Server", "Replication", "Cluster", "Keyspace")
        if kept and line and not line.startswith(("executable:", "config_file:", "os:", "gcc_version:")):
            yield line


def fresh(kind: str) -> None:
    """Six servers that know no other."""
    with start(kind, 6, quick=False) as servers:
        save(servers, "fresh", range(6), replicas=1)


def ready(kind: str) -> None:
    """A Ready cluster, then one slot on the move, then after a failover."""
    with start(kind, 6) as servers:
        form(servers)
        save(servers, "ready", range(6), replicas=1)
        ids = [servers.call(index, "CLUSTER", "MYID") for index in (0, 1)]
        assert servers.call(0, "CLUSTER", "SETSLOT", 0, "MIGRATING", ids[1]) == "OK"
        assert servers.call(1, "CLUSTER", "SETSLOT", 0, "IMPORTING", ids[0]) == "OK"
        save(servers, "migrating", range(6), replicas=1)
        for index in (0, 1):
            assert servers.call(index, "CLUSTER", "SETSLOT", 0, "STABLE") == "OK"
        assert servers.call(3, "CLUSTER", "FAILOVER") == "OK"
        until(lambda: "role:master" in servers.call(3, "INFO", "replication"), "a failover")
        wait_ready(servers.addresses)
        save(servers, "failover", range(6), replicas=1)


def growth(kind: str) -> None:
    """A Ready cluster and two fresh servers, which the topology adds."""
    with start(kind, 8) as servers:
        form(servers)
        save(servers, "growth", range(8), replicas=1)


def half_built(kind: str) -> None:
    """A run that was cut off: all slots are given, two primaries and one replica have met, it replicates."""
    with start(kind, 6) as servers:
        serve(servers, range(3))
        mesh(servers, (0, 1, 3))
        replicate(servers, 3, 0)
        until(lambda: "master_link_status:up" in servers.call(3, "INFO", "replication"), "a first sync")
        save(servers, "half-built", range(6), replicas=1)


def handshake(kind: str) -> None:
    """One node has a handshake under way with an address where nothing listens."""
    with start(kind, 3, quick=False) as servers:
        assert servers.call(0, "CLUSTER", "MEET", "127.0.0.1", 9) == "OK"
        until(lambda: "handshake" in servers.call(0, "CLUSTER", "NODES"), "a handshake")
        save(servers, "handshake", range(3))


def one_sided(kind: str) -> None:
    """The second node has forgotten the first, which still lists it."""
    with start(kind, 3, quick=False) as servers:
        mesh(servers, (0, 1))
        assert servers.call(1, "CLUSTER", "RESET", "SOFT") == "OK"
        until(lambda: len(servers.call(1, "CLUSTER", "NODES").splitlines()) == 1, "a node alone")
        save(servers, "one-sided", range(3))


def failed(kind: str) -> None:
    """A replica died; first the topology no longer has it, then it still does."""
    with start(kind, 6) as servers:
        form(servers)
        servers.kill(5)
        others = range(5)
        until(
            lambda: all(" slave,fail " in servers.call(index, "CLUSTER", "NODES") for index in others),
            "all nodes list the dead replica as failed",
        )
        save(servers, "failed", others, replicas=1)


def ghost(kind: str) -> None:
    """A replica was reset HARD: the others still list its old id, without an address."""
    with start(kind, 6) as servers:
        form(servers)
        assert servers.call(5, "CLUSTER", "RESET", "HARD") == "OK"
        until(
            lambda: all("noaddr" in servers.call(index, "CLUSTER", "NODES") for index in range(5)),
            "all nodes list a ghost",
        )
        save(servers, "ghost", range(6), replicas=1)


def ghost_primary(kind: str) -> None:
    """A primary was reset HARD and stays alone; its replica replicates a ghost."""
    with start(kind, 4) as servers:
        form(servers, range(4))
        assert servers.call(2, "CONFIG", "SET", "cluster-replica-no-failover", "yes") == "OK"
        assert servers.call(0, "CLUSTER", "RESET", "HARD") == "OK"
        until(
            lambda: all("noaddr" in servers.call(index, "CLUSTER", "NODES") for index in range(1, 4)),
            "all nodes list a ghost",
        )
        print(kind, "FORGET of its own primary:", servers.call(2, "CLUSTER", "FORGET", _ghost_id(servers, 2)))
        save(servers, "ghost-primary", range(4), replicas=1)


def _ghost_id(servers: Servers, index: int) -> str:
    lines = servers.call(index, "CLUSTER", "NODES").splitlines()
    return str(next(line.split(" ")[0] for line in lines if "noaddr" in line))


def two_clusters(kind: str) -> None:
    """Two clusters with all slots each."""
    with start(kind, 4) as servers:
        for members in ((0, 1), (2, 3)):
            serve(servers, members)
            mesh(servers, members)
        save(servers, "two-clusters", range(4))


def part_of_a_cluster(kind: str) -> None:
    """A topology that has only three nodes of six."""
    with start(kind, 6) as servers:
        form(servers)
        save(servers, "part-of-a-cluster", range(3))


def moved(kind: str) -> None:
    """A whole cluster restarted at other addresses: all nodes list the others at the old ones."""
    with start(kind, 3, quick=False) as servers:
        serve(servers, range(3))
        mesh(servers, range(3))
        wait_ready(servers.addresses)
        for index in range(3):
            assert servers.call(index, "CLUSTER", "SAVECONFIG") == "OK"
        for index in range(3):
            servers.kill(index)
        old = list(servers.ports)
        servers.ports = [port + 100 for port in old]
        for index, port in enumerate(old):
            shutil.move(servers.folder / str(port), servers.folder / str(servers.ports[index]))
        for index in range(3):
            servers.processes[index] = servers._start(index)
            servers._wait(index)
        print(kind, "moved:", why_not_ready(servers.addresses))
        save(servers, "moved", range(3))


def ipv6(kind: str) -> None:
    """Two of three nodes with IPv6 addresses have met."""
    with start(kind, 3, quick=False, host="::1") as servers:
        mesh(servers, (0, 1))
        save(servers, "ipv6", range(3))


def hostname(kind: str) -> None:
    """Nodes that announce host names, and on Valkey names for people too."""
    if kind == "redis62":
        return
    extra = ["--cluster-announce-hostname", "cache.example"]
    if kind.startswith("valkey"):
        extra += ["--cluster-announce-human-nodename", "rack-7"]
    with start(kind, 3, quick=False, extra=extra) as servers:
        mesh(servers, (0, 1))
        until(lambda: servers.call(0, "CLUSTER", "NODES").count("cache.example") == 2, "the name goes round")
        save(servers, "hostname", range(3))


SITUATIONS = {
    function.__name__.replace("_", "-"): function
    for function in (
        *(fresh, ready, growth, half_built, handshake, one_sided, failed, ghost, ghost_primary),
        *(two_clusters, part_of_a_cluster, moved, ipv6, hostname),
    )
}


if __name__ == "__main__":
    wanted = sys.argv[1:]
    for kind in [word for word in wanted if word in SERVERS] or SERVERS:
        for name in [word for word in wanted if word in SITUATIONS] or SITUATIONS:
            print(kind, name, flush=True)
            SITUATIONS[name](kind)
