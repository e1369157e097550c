"""What is said of blocked bus ports and wrong announcements, from views as real networks give them.

tests/network shows that servers give such views: at their own timeout, after MEETs from a to the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import pytest

from clusterboot.core.views import View
from clusterboot.diagnosis.bus import Evidence
from tests.diagnosis.test_diagnose import misses_all, told, views

B, C, D = (("10.0.0.2", 16379), ("10.0.0.3", 16379), ("10.0.0.4", 16379))
NO_LINK = {"a": {B: False, C: False, D: False}}
ALONE = dict.fromkeys("acd", "")
FROM_HERE = "most likely a firewall or a missing route between the nodes themselves"


def b_is_missed(**more: Mapping[str, str]) -> dict[str, View]:
    """Node a is shaking hands with b, of which c and d have not heard."""
    return views(4, **{"a": {"b": "handshake"}, "b": ALONE, "c": {"b": ""}, "d": {"b": ""}, **more})


@pytest.mark.parametrize(
    ("evidence", "seen", "likely"),
    [
        (
            Evidence(links=NO_LINK, ports={B: "silent"}),
            "a gets no connection to it (CLUSTER LINKS)",
            "from here it does not answer either: most likely a firewall drops the packets",
        ),
        (  # before Redis 7
            Evidence(ports={B: "silent"}),
            "a has a handshake with it that does not end (CLUSTER NODES)",
            "from here it does not answer either: most likely a firewall drops the packets",
        ),
        (
            Evidence(links=NO_LINK, ports={B: "refused"}),
            "a gets no connection to it (CLUSTER LINKS)",
            "from here it refuses connections too: most likely nothing listens there, or a firewall rejects "
            "them",
        ),
        (
            Evidence(links=NO_LINK, ports={B: "open"}),
            "a gets no connection to it (CLUSTER LINKS)",
            f"from here it takes connections: {FROM_HERE}",
        ),
    ],
    ids=["dropped", "dropped, without CLUSTER LINKS", "rejected", "dropped from one node only"],
)
def test_a_bus_port_that_is_blocked(evidence: Evidence, seen: str, likely: str) -> None:
    assert told(b_is_missed(), evidence, [("a", "b")]) == [
        ("bus-unreachable", f"a cannot reach b on its bus port 10.0.0.2:16379: {seen}; {likely}.")
    ]


def test_a_bus_port_that_only_the_node_knows() -> None:
    found = b_is_missed()
    peers = tuple(replace(peer, bus_port=17999) if peer.handshake else peer for peer in found["a"].peers)
    found["a"] = replace(found["a"], peers=peers)
    assert told(found, Evidence(links={"a": {("10.0.0.2", 17999): False}}), [("a", "b")]) == [
        (
            "bus-unreachable",
            "a cannot reach b on its bus port 10.0.0.2:17999 (17999 as it reports itself, not port + 10000): "
            "a gets no connection to it (CLUSTER LINKS).",
        )
    ]


@pytest.mark.parametrize("outcome", ["open", "silent"])
def test_a_hub_that_reaches_no_node(outcome: Literal["open", "silent"]) -> None:
    found = views(4, a=misses_all("a", 4, "handshake"), **{name: misses_all(name, 4) for name in "bcd"})
    evidence = Evidence(links=NO_LINK, ports=dict.fromkeys((B, C, D), outcome))
    places = "10.0.0.2:16379, 10.0.0.3:16379 and 10.0.0.4:16379: a gets no connection to them (CLUSTER LINKS)"
    assert told(found, evidence, [("a", name) for name in "bcd"]) == [
        {
            "open": (
                "bus-outgoing-blocked",
                f"a can reach no other node on the cluster bus, {places}; from here they take connections: "
                f"{FROM_HERE}.",
            ),
            "silent": (
                "bus-unreachable",
                f"a cannot reach b, c and d on their bus ports {places}; from here they do not answer "
                "either: most likely a firewall drops the packets.",
            ),
        }[outcome]
    ]


def test_a_pair_that_is_blocked_both_ways() -> None:
    found = views(4, b={"c": "fail?"}, c={"b": "fail?"})
    assert told(found, Evidence(ports={B: "open", C: "open"})) == [
        (
            "bus-unreachable",
            "b and c cannot reach each other on their bus ports 10.0.0.2:16379 and 10.0.0.3:16379: b lists c "
            "as fail? (CLUSTER NODES), c lists b as fail? (CLUSTER NODES); from here they take connections: "
            f"{FROM_HERE}.",
        )
    ]


def test_an_announced_address_that_leads_nowhere() -> None:
    found = b_is_missed()
    found["b"] = replace(found["b"], ip="10.0.0.9", config={"cluster-announce-ip": "10.0.0.2"})
    assert told(found, Evidence(links=NO_LINK, ports={B: "silent"}), [("a", "b")]) == [
        (
            "announced-unreachable",
            "a cannot reach b at 10.0.0.2:16379, the address that it announces; clusterboot reached it at "
            "10.0.0.9:6379: a gets no connection to it (CLUSTER LINKS); from here it does not answer either.",
        )
    ]
