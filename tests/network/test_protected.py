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
        assert outcome.named() == [("protected-mode", "b", None)]
        assert "cluster_known_nodes:1\r\n" in hosts.call(0, "CLUSTER", "INFO")
