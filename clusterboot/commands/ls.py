"""`ls`: the spawned clusters, and which of their servers run."""

from __future__ import annotations

from clusterboot import render
from clusterboot.commands.shell import Shell
from clusterboot.errors import Exit


def ls(shell: Shell) -> Exit:
    """List the spawned clusters, and which of their servers run."""
    from clusterboot.core.results import ClusterRow, LsResult, ServerRow
    from clusterboot.local.spawned import spawned_clusters

    clusters, problems = spawned_clusters()
    rows = []
    for cluster in clusters:
        servers = tuple(
            ServerRow(str(node.endpoint), node.process.pid if node.process else None, node.running)
            for node in cluster.nodes
        )
        version = cluster.nodes[0].version if cluster.nodes else None
        rows.append(ClusterRow(cluster.name, str(cluster.file), version, servers))
    result = LsResult(tuple(rows), warnings=problems)
    shell.warn(result.warnings)
    shell.result(lambda: render.json.ls(result), lambda console: render.text.ls(console, result))
    return Exit.DONE
