"""What a run has come to, in words."""

from __future__ import annotations

from clusterboot.core.events import Looked, Phase
from clusterboot.render.reporter import RunReporter
from tests.render.paper import local, verdict


def test_one_node_is_not_counted_as_nodes() -> None:
    run = RunReporter(lambda: 0.0)
    run(Phase("mesh"))
    run(Looked(verdict(local(1))))
    assert run.summary() == "0 of 0 links, 1 of 1 node ready"
