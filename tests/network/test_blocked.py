"""Hosts whose bus ports, client ports or addresses cannot be reached: the run ends in time and says which.

Every case forms four nodes, a to d, and asserts the whole message. The cases wait for deadlines most of
the time, so they run side by side, each on hosts of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.harness.cli import Outcome
from tests.harness.netns import Hosts
from tests.network.conftest import need

TIMEOUT = 4
HERE = (
    "from here it takes connections: most likely a firewall or a missing route between the nodes themselves"
)
HERE_ALL = HERE.replace("it takes", "they take")
SILENT = "from here it does not answer either: most likely a firewall drops the packets"
AGAIN = "then run the same command again: it goes on from here"


def bus(ip: int) -> str:
    return f"10.213.0.{ip}:16379"


@dataclass(frozen=True)
class Case:
    """What is done to the hosts before `up`, and the one problem beside 'out of time' that it must name."""

    name: str
    kind: str
    arrange: Callable[[Hosts], None]
    code: str
    node: str
    message: str
    hint: str
    peer: str | None = None
    boost: bool = False
    extra: Mapping[int, Sequence[str]] = field(default_factory=dict)


def everywhere(hosts: Hosts) -> None:
    for index in range(4):
        hosts.drop(index, "tcp dport 16379")


def between_b_and_c(hosts: Hosts) -> None:
    hosts.drop(1, "ip saddr 10.213.0.3 tcp dport 16379")
    hosts.drop(2, "ip saddr 10.213.0.2 tcp dport 16379")


def nothing(hosts: Hosts) -> None:
    del hosts


LET_B = f"let the other nodes through to TCP port 16379 of b; {AGAIN}"

CASES = (
    Case(
        "bus-port-dropped-for-everyone",
        "redis70",
        lambda hosts: hosts.drop(1, "tcp dport 16379"),
        "bus-unreachable",
        "b",
        f"a cannot reach b on its bus port {bus(2)}: a gets no connection to it (CLUSTER LINKS); {SILENT}.",
        LET_B,
        peer="a",
    ),
    Case(
        "bus-port-dropped-for-everyone-valkey",
        "valkey91",
        lambda hosts: hosts.drop(1, "tcp dport 16379"),
        "bus-unreachable",
        "b",
        f"a cannot reach b on its bus port {bus(2)}: a gets no connection to it (CLUSTER LINKS); {SILENT}.",
        LET_B,
        peer="a",
    ),
    Case(
        "bus-port-dropped-for-everyone-before-cluster-links",
        "redis62",
        lambda hosts: hosts.drop(1, "tcp dport 16379"),
        "bus-unreachable",
        "b",
        f"a cannot reach b on its bus port {bus(2)}: a has a handshake with it that does not end (CLUSTER "
        f"NODES); {SILENT}.",
        LET_B,
        peer="a",
    ),
    Case(
        "bus-port-rejected",
        "redis70",
        lambda hosts: hosts.drop(1, "tcp dport 16379", verdict="reject with tcp reset"),
        "bus-unreachable",
        "b",
        f"a cannot reach b on its bus port {bus(2)}: a gets no connection to it (CLUSTER LINKS); from "
        f"here it "
        "refuses connections too: most likely nothing listens there, or a firewall rejects them.",
        LET_B,
        peer="a",
    ),
    Case(
        "bus-port-dropped-from-one-node-only",
        "redis70",
        lambda hosts: hosts.drop(1, "ip saddr 10.213.0.1 tcp dport 16379"),
        "bus-unreachable",
        "b",
        f"a cannot reach b on its bus port {bus(2)}: a gets no connection to it (CLUSTER LINKS); {HERE}.",
        LET_B,
        peer="a",
    ),
    Case(
        "the-way-back-is-dropped",
        "redis70",
        lambda hosts: hosts.drop(0, "ip saddr 10.213.0.2 tcp dport 16379"),
        "bus-unreachable",
        "a",
        f"b cannot reach a on its bus port {bus(1)}: b gets no connection to it (CLUSTER LINKS); {HERE}.",
        f"let the other nodes through to TCP port 16379 of a; {AGAIN}",
        peer="b",
    ),
    Case(
        "nobody-reaches-the-hub",
        "redis70",
        lambda hosts: hosts.drop(0, "tcp dport 16379"),
        "bus-unreachable",
        "a",
        f"no other node can reach a on its bus port {bus(1)}: b, c and d get no connection to it "
        f"(CLUSTER LINKS); "
        f"{SILENT}.",
        f"let the other nodes through to TCP port 16379 of a; {AGAIN}",
    ),
    Case(
        "the-hub-reaches-nobody",
        "redis70",
        lambda hosts: hosts.drop(0, "tcp dport 16379", out=True),
        "bus-outgoing-blocked",
        "a",
        f"a can reach no other node on the cluster bus, {bus(2)}, {bus(3)} and {bus(4)}: a gets no "
        f"connection to "
        f"them (CLUSTER LINKS); {HERE_ALL}.",
        f"let connections from a to TCP port 16379 of the other nodes through; {AGAIN}",
    ),
    Case(
        "all-bus-ports-dropped",
        "redis70",
        everywhere,
        "bus-unreachable",
        "b",
        f"a cannot reach b, c and d on their bus ports {bus(2)}, {bus(3)} and {bus(4)}: a gets no "
        f"connection to "
        "them (CLUSTER LINKS); from here they do not answer either: most likely a firewall drops the "
        "packets.",
        f"let the other nodes through to TCP port 16379 of b, c and d; {AGAIN}",
        peer="a",
    ),
    Case(
        "one-pair-both-ways",
        "redis70",
        between_b_and_c,
        "bus-unreachable",
        "b",
        f"b and c cannot reach each other on their bus ports {bus(2)} and {bus(3)}: b lists c as "
        f"fail? (CLUSTER "
        f"NODES), c lists b as fail? (CLUSTER NODES); {HERE_ALL}.",
        f"let TCP port 16379 through between b and c, both ways; {AGAIN}",
        peer="c",
        boost=True,
    ),
    Case(
        "announced-address-that-leads-nowhere",
        "redis70",
        nothing,
        "announced-unreachable",
        "b",
        "a cannot reach b at 10.99.0.9:16379, the address that it announces; clusterboot reached it at "
        "10.213.0.2:6379: a gets no connection to it (CLUSTER LINKS); from here it does not answer either.",
        "set cluster-announce-ip (and -port, -bus-port) on b to what the other nodes can reach, and "
        "'announce' in "
        f"the topology to the same; {AGAIN}",
        extra={1: ["--cluster-announce-ip", "10.99.0.9"]},
    ),
    Case(
        "a-bus-port-that-only-the-node-tells",
        "redis70",
        lambda hosts: hosts.drop(1, "tcp dport 17999"),
        "bus-unreachable",
        "b",
        "a cannot reach b on its bus port 10.213.0.2:17999 (17999 as it reports itself, not port + "
        "10000): a gets no "
        f"connection to it (CLUSTER LINKS); {SILENT}.",
        f"let the other nodes through to TCP port 17999 of b; {AGAIN}",
        peer="a",
        extra={1: ["--cluster-port", "17999"]},
    ),
)


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest) -> Iterator[Mapping[str, Future[Outcome]]]:
    """Every selected case, on its way."""
    wanted = {
        item.callspec.params["case"].name
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.path == request.path and hasattr(item, "callspec")
    }
    with ThreadPoolExecutor(4) as pool:
        found = {case.name: pool.submit(_form, case) for case in CASES if case.name in wanted}
        yield found
        for future in found.values():
            future.cancel()


def _form(case: Case) -> Outcome:
    with Hosts(case.kind, 4, extra=dict(case.extra)) as hosts:
        case.arrange(hosts)
        return hosts.clusterboot(
            "up",
            hosts.topology(),
            "-o",
            "json",
            f"--timeout={TIMEOUT}",
            # At the servers' own timeout a handshake outlives the run: there is one to look at in the end.
            *(() if case.boost else ["--no-boost"]),
            timeout=TIMEOUT + 2 + 10,  # ten seconds for a machine that is busy
        )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_run_ends_in_time_and_names(case: Case, outcomes: Mapping[str, Future[Outcome]]) -> None:
    need(case.kind)
    outcome = outcomes[case.name].result()
    document: dict[str, Any] = outcome.json()
    assert outcome.exit == document["exit"] == 4, outcome
    first, *rest = document["errors"]
    assert (first["code"], first["message"]) == ("out-of-time", f"not Ready within {TIMEOUT} s."), outcome
    wanted = {name: getattr(case, name) for name in ("code", "node", "peer", "message", "hint")}
    assert [{name: error[name] for name in wanted} for error in rest] == [wanted], outcome
    assert document["seconds"] <= TIMEOUT + 2
