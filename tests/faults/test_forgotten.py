"""A node that the others were told to forget less than a minute ago comes back: who refuses it is said."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from tests.harness.cli import clusterboot
from tests.harness.servers import Servers

Start = Callable[..., Servers]


def test_who_was_told_to_forget_a_node_is_named_and_no_firewall(
    servers: Start, server_kind: str, tmp_path: Path
) -> None:
    nodes = servers(server_kind, 4)
    file = tmp_path / "t.yaml"
    listed = [{"name": "abcd"[i], "host": "127.0.0.1", "port": port} for i, port in enumerate(nodes.ports)]
    # Valkey brings the node in and drops it once a second: without slots it could be Ready for a moment.
    mesh = server_kind != "valkey91"
    file.write_text(nodes.topology(nodes=listed, **({"slots": "none"} if mesh else {"replicas": 1})))
    assert clusterboot("up", file).exit == 0
    # The replica of a, which the others can forget as well.
    gone = nodes.call(3, "CLUSTER", "MYID")
    for index in range(3):
        assert nodes.call(index, "CLUSTER", "FORGET", gone) == "OK"
    assert nodes.call(3, "CLUSTER", "RESET", "SOFT") == "OK"
    for _ in range(3):
        outcome = clusterboot("up", file, "-o", "json", "--timeout", "3", timeout=20)
        assert outcome.exit == 4, outcome
        first, *rest = outcome.json()["errors"]
        assert first["code"] == "out-of-time"
        if any(error["code"] == "forgotten" for error in rest) or server_kind != "valkey91":
            break  # on Valkey all looks of a run may fall between two drops
    bus = nodes.ports[3] + 10000
    if server_kind == "redis62":
        # It cannot say what it was told: only that is said which is known.
        assert [(e["code"], e["node"], e["peer"], e["message"]) for e in rest] == [
            ("not-seen", name, "d", f"{name} does not see d.") for name in "bc"
        ]
        assert {e["hint"] for e in rest} == {
            "gossip may still be under way, and a node that was told to forget another (CLUSTER FORGET) "
            "refuses it for 60 s: wait a minute and run 'clusterboot up' again"
        }
        return
    assert len(rest) == 1, outcome
    (error,) = rest
    assert (error["code"], error["peer"]) == ("forgotten", "d"), outcome
    told = "were told to forget a node (INFO commandstats): most likely d, which is then refused for 60 s."
    probe = f"from here its bus port 127.0.0.1:{bus} takes connections"
    if server_kind == "redis70":
        assert (error["node"], error["message"]) == (
            "b",
            f"b and c do not list d, which sees them (CLUSTER NODES of both); {probe}; b and c {told}",
        )
        assert error["hint"] == (
            "wait a minute and run 'clusterboot up' again: it goes on from here; if it still says this, let "
            f"TCP port {bus} of d through for b and c"
        )
        return
    # At which moment of its coming and going each node was looked at is not ours to choose.
    names = "(a|b|c|a and b|a and c|b and c|a, b and c)"
    how = (
        rf"{names} (does|do) not list d, which sees (it|them) \(CLUSTER NODES of both\)",
        rf"{names} lists? d and drops? it again \(CLUSTER NODES\)",
    )
    whole = (
        f"({'|'.join(how)})(; {re.escape(probe)})?; {names} (was|{re.escape(told)[:4]}){re.escape(told)[4:]}"
    )
    assert re.fullmatch(whole, error["message"]), outcome
