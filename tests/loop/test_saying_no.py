"""Servers that answer and say no, and nodes of which only one knows the other: real ones, whole messages."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tests.harness.cli import Outcome, clusterboot
from tests.harness.ready import why_not_ready
from tests.harness.resp import Connection
from tests.harness.servers import Servers

Start = Callable[..., Servers]


def write(path: Path, nodes: Servers, **keys: object) -> Path:
    listed = [{"name": "abcdef"[i], "host": "127.0.0.1", "port": port} for i, port in enumerate(nodes.ports)]
    file = path / "t.yaml"
    file.write_text(nodes.topology(nodes=listed, **keys))
    file.chmod(0o600)
    return file


def told(outcome: Outcome) -> list[tuple[str | None, ...]]:
    return [(e["code"], e["node"], e["message"], e["hint"]) for e in outcome.json()["errors"]]


def test_a_node_without_a_connection_to_spare_is_named(
    servers: Start, server_kind: str, tmp_path: Path
) -> None:
    nodes = servers(server_kind, 2)
    with ExitStack() as open_ones:
        held = open_ones.enter_context(Connection(nodes.addresses[1]))
        # So few that this connection is all that there may be.
        assert held.call("CONFIG", "SET", "maxclients", "1") == "OK"
        outcome = clusterboot("up", write(tmp_path, nodes), "-o", "json")
        assert outcome.exit == 5, outcome
        assert told(outcome) == [
            (
                "max-clients",
                "b",
                "b takes no more connections: its maxclients is reached.",
                "close clients or raise maxclients on it",
            )
        ]
    assert not nodes.changing(0)


def test_each_of_two_wrong_passwords_has_its_own_sentence(
    servers: Start, server_kind: str, tmp_path: Path
) -> None:
    nodes = servers(server_kind, 2, password="right")
    assert told(clusterboot("up", write(tmp_path, nodes), "-o", "json")) == [
        (
            "auth-required",
            name,
            f"{name} asks for a password, and the topology gives none.",
            "set auth.password_env (or password_file) in the topology, or use --ask-pass",
        )
        for name in "ab"
    ]
    assert told(clusterboot("up", write(tmp_path, nodes, auth={"password": "wrong"}), "-o", "json")) == [
        (
            "wrong-password",
            name,
            f"{name} does not accept the user name or password.",
            "check auth of this node in the topology; each node may have its own",
        )
        for name in "ab"
    ]
    assert not nodes.changing(0)
    assert not nodes.changing(1)


def test_knowledge_on_one_side_only_is_repaired_without_asking(
    servers: Start, server_kind: str, tmp_path: Path
) -> None:
    nodes = servers(server_kind, 2)
    file = write(tmp_path, nodes, slots="none")
    assert clusterboot("up", file).exit == 0
    assert nodes.call(0, "CLUSTER", "FORGET", nodes.call(1, "CLUSTER", "MYID")) == "OK"
    outcome = clusterboot("up", file, "-o", "json")
    assert outcome.exit == 0, outcome
    meets = [(step["kind"], step["node"], step["peer"]) for step in outcome.json()["steps"]]
    # Valkey sends that MEET by itself when it finds no link from a peer, and may have been first.
    assert meets == [("meet", "a", "b")] or (server_kind == "valkey91" and not meets), outcome
    assert why_not_ready(nodes.addresses, mesh_only=True) is None
