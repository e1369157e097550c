"""Hosts whose bus ports, client ports or addresses cannot be reached: the run ends in time and says which.

Every case forms four nodes, a to d. tests/diagnosis asserts the sentences, from synthetic views; here real
servers and probes must give what the sentences are made of. The cases mostly wait for deadlines, so they run
at the same time, each on hosts of its own; those that differ only in what is blocked run in the soak.
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
# What a node shows of a peer that it does not reach, and what a connection from here comes to.
LINKS, HANDSHAKE, FAIL = "CLUSTER LINKS", "handshake", "fail?"
SILENT, OPEN, REFUSED = " not answer ", " connections: ", " refuses "


def bus(ip: int) -> str:
    return f"10.213.0.{ip}:16379"


@dataclass(frozen=True)
class Case:
    """What is done to the hosts before `up`, and the one problem beside 'out of time' that it must name.

    `shown` are words of the message: bus addresses, and what was observed.
    """

    name: str
    kind: str
    arrange: Callable[[Hosts], None]
    code: str
    node: str
    peer: str | None
    shown: Sequence[str]
    soak: bool = True
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


def drop_b(hosts: Hosts) -> None:
    hosts.drop(1, "tcp dport 16379")


CASES = (
    Case(
        "bus-port-dropped-for-everyone",
        "redis70",
        drop_b,
        *("bus-unreachable", "b", "a", (bus(2), LINKS, SILENT)),
        soak=False,
    ),
    Case(
        "bus-port-dropped-for-everyone-valkey",
        "valkey91",
        drop_b,
        *("bus-unreachable", "b", "a", (bus(2), LINKS, SILENT)),
    ),
    Case(
        "bus-port-dropped-for-everyone-before-cluster-links",
        "redis62",
        drop_b,
        *("bus-unreachable", "b", "a", (bus(2), HANDSHAKE, SILENT)),
        soak=False,
    ),
    Case(
        "bus-port-rejected",
        "redis70",
        lambda hosts: hosts.drop(1, "tcp dport 16379", verdict="reject with tcp reset"),
        *("bus-unreachable", "b", "a", (bus(2), LINKS, REFUSED)),
    ),
    Case(
        "bus-port-dropped-from-one-node-only",
        "redis70",
        lambda hosts: hosts.drop(1, "ip saddr 10.213.0.1 tcp dport 16379"),
        *("bus-unreachable", "b", "a", (bus(2), LINKS, OPEN)),
    ),
    Case(
        "the-way-back-is-dropped",
        "redis70",
        lambda hosts: hosts.drop(0, "ip saddr 10.213.0.2 tcp dport 16379"),
        *("bus-unreachable", "a", "b", (bus(1), LINKS, OPEN)),
    ),
    Case(
        "no-node-reaches-the-hub",
        "redis70",
        lambda hosts: hosts.drop(0, "tcp dport 16379"),
        *("bus-unreachable", "a", None, (bus(1), LINKS, SILENT)),
    ),
    Case(
        "the-hub-reaches-no-node",
        "redis70",
        lambda hosts: hosts.drop(0, "tcp dport 16379", out=True),
        *("bus-outgoing-blocked", "a", None, (bus(2), bus(3), bus(4), LINKS, OPEN)),
        soak=False,
    ),
    Case(
        "all-bus-ports-dropped",
        "redis70",
        everywhere,
        *("bus-unreachable", "b", "a", (bus(2), bus(3), bus(4), LINKS, SILENT)),
    ),
    Case(
        "one-pair-both-ways",
        "redis70",
        between_b_and_c,
        *("bus-unreachable", "b", "c", (bus(2), bus(3), FAIL, OPEN)),
        soak=False,
        boost=True,
    ),
    Case(
        "announced-address-that-leads-nowhere",
        "redis70",
        nothing,
        *("announced-unreachable", "b", None, ("10.99.0.9:16379", "10.213.0.2:6379", LINKS, SILENT)),
        soak=False,
        extra={1: ["--cluster-announce-ip", "10.99.0.9"]},
    ),
    Case(
        "a-bus-port-that-only-the-node-tells",
        "redis70",
        lambda hosts: hosts.drop(1, "tcp dport 17999"),
        *("bus-unreachable", "b", "a", ("10.213.0.2:17999", LINKS, SILENT)),
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


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=case.name, marks=[pytest.mark.soak] if case.soak else []) for case in CASES],
)
def test_the_run_ends_in_time_and_names(case: Case, outcomes: Mapping[str, Future[Outcome]]) -> None:
    need(case.kind)
    outcome = outcomes[case.name].result()
    document: dict[str, Any] = outcome.json()
    assert outcome.exit == document["exit"] == 4, outcome
    assert outcome.named() == [("out-of-time", None, None), (case.code, case.node, case.peer)]
    problem = document["errors"][1]
    assert [words for words in case.shown if words not in problem["message"]] == [], outcome
    assert problem["hint"]
    assert document["seconds"] <= TIMEOUT + 2
