"""How many connections this process may hold: one per node, often more than a shell allows at first."""

from __future__ import annotations

import resource

from clusterboot.errors import Exit, NodeFailed, Problem

# What else is open: the streams, the event loop, record files, probes of bus ports, name servers.
_ELSE = 100


def allow(connections: int) -> None:
    """Raise the soft limit on open files as far as needed; NodeFailed where the hard one is too low."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + _ELSE
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    except (ValueError, OSError) as refused:
        raise NodeFailed(
            Problem(
                "too-few-open-files",
                f"{connections} nodes need {needed} open files at once, and this process may have no more "
                f"than {soft if hard == resource.RLIM_INFINITY else hard}.",
                hint=f"raise the limit first, as with 'ulimit -n {needed}' or LimitNOFILE= of a service",
                exit=Exit.NODE,
            )
        ) from refused
