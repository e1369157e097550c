"""What a run has come to, in words."""

from __future__ import annotations

from clusterboot.core.events import Looked, Phase
from clusterboot.render.run_state import Progress
from tests.render.paper import local, verdict


def test_one_node_is_not_counted_as_nodes() -> None:
    progress = Progress(0.0)
    progress.take(Phase("mesh"), 0.0)
    progress.take(Looked(verdict(local(1))), 0.0)
    assert progress.summary() == "0 of 0 links, 1 of 1 node complete"
