"""Protected mode, which only shows from another host: without a password a server answers its own only."""

from __future__ import annotations

import pytest

from tests.harness.netns import Hosts
from tests.network.conftest import need


@pytest.mark.parametrize("kind", ["redis62", "redis70", "valkey91"])
def test_a_node_in_protected_mode_is_named_before_anything_is_changed(kind: str) -> None:
    # The last of several settings counts.
    with Hosts(need(kind), 2, extra={1: ["--protected-mode", "yes"]}) as hosts:
        outcome = hosts.clusterboot("up", hosts.topology(), "-o", "json", timeout=20)
        assert outcome.exit == 5, outcome
        assert [(e["code"], e["node"], e["message"], e["hint"]) for e in outcome.json()["errors"]] == [
            (
                "protected-mode",
                "b",
                "b is in protected mode and answers only clients on its own host.",
                "set a password there, or 'bind' and 'protected-mode no' on a private network",
            )
        ]
        assert "cluster_known_nodes:1\r\n" in hosts.call(0, "CLUSTER", "INFO")
