"""A node that the others were told to forget less than a minute ago: met again, or told who refuses it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness.cli import clusterboot
from tests.harness.ready import why_not_ready
from tests.harness.servers import Servers

Start = Callable[..., Servers]


def _named(nodes: Servers, folder: Path, **keys: object) -> Path:
    file = folder / "t.yaml"
    listed = [{"name": "abcd"[i], "host": "127.0.0.1", "port": port} for i, port in enumerate(nodes.ports)]
    file.write_text(nodes.topology(nodes=listed, **keys))
    return file


@pytest.mark.parametrize("server_kind", ["redis62", "redis70"], indirect=True)
def test_knowledge_on_one_side_only_is_repaired_while_others_connect_the_two(
    servers: Start, server_kind: str, tmp_path: Path
) -> None:
    """Gossip about d is not listened to for a minute; a MEET is, and nobody has to wait."""
    nodes = servers(server_kind, 4, node_timeout=1000)
    file = _named(nodes, tmp_path, replicas=1)
    assert clusterboot("up", file).exit == 0
    gone = nodes.call(3, "CLUSTER", "MYID")
    own = next(line for line in nodes.call(3, "CLUSTER", "NODES").split("\n") if "myself" in line).split()[3]
    # A primary, but not its own: whoever serves nothing would be taken for one that joins.
    primary = next(index for index in (0, 1) if nodes.call(index, "CLUSTER", "MYID") != own)
    assert nodes.call(primary, "CLUSTER", "FORGET", gone) == "OK"
    document = clusterboot("up", file, "-o", "json", "--timeout", "40", timeout=60).json()
    assert document["exit"] == 0, document
    done = [(s["kind"], s["node"], s["peer"]) for s in document["steps"]]
    assert set(done) == {("meet", "d", "abcd"[primary])}
    assert document["repaired"] == len(done)
    assert why_not_ready(nodes.addresses) is None


@pytest.mark.parametrize("server_kind", ["valkey91"], indirect=True)
def test_who_was_told_to_forget_a_node_is_named_and_no_firewall(
    servers: Start, server_kind: str, tmp_path: Path
) -> None:
    """Here a MEET does not help: in every ping nodes tell each other which nodes they were told to forget."""
    nodes = servers(server_kind, 4)
    # It is brought in and dropped once a second: without slots it could be Ready for a moment.
    file = _named(nodes, tmp_path, replicas=1)
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
        if any(error["code"] == "forgotten" for error in rest):
            break  # all looks of a run may fall between two drops
    bus = nodes.ports[3] + 10000
    assert len(rest) == 1, outcome
    (error,) = rest
    assert (error["code"], error["peer"]) == ("forgotten", "d"), outcome
    told = "were told to forget a node (INFO commandstats): most likely d, which is then refused for 60 s"
    probe = f"from here its bus port 127.0.0.1:{bus} takes connections"
    # At which moment of its coming and going each node was looked at is not ours to choose.
    names = "(a|b|c|a and b|a and c|b and c|a, b and c)"
    how = (
        rf"{names} (does|do) not list d, which sees (it|them) \(CLUSTER NODES of both\)",
        rf"{names} lists? d and drops? it again \(CLUSTER NODES\)",
    )
    whole = (
        f"({'|'.join(how)})(; {re.escape(probe)})?; {names} (was|{re.escape(told)[:4]}){re.escape(told)[4:]}"
        r"(, or gossip about it is still under way)?\."
    )
    assert re.fullmatch(whole, error["message"]), outcome
