"""What is said of a node that does not answer, answers slowly, or is not ready to answer yet. Pure."""

from __future__ import annotations

from clusterboot.errors import Exit, Problem
from clusterboot.wire.replies import explain


def loading(name: str) -> Problem:
    """Return that a node is loading its data.

    Valkey 9.1 answers INFO and CLUSTER meanwhile, with what its nodes.conf has; its bus is silent. All
    others answer LOADING to both.
    """
    return explain("LOADING", name, ("CLUSTER", "INFO"))


def slow(name: str) -> Problem:
    """Return that a node was reached and had not answered everything when the deadline came."""
    return Problem(
        "answers-slowly",
        f"{name} takes connections but had not answered everything when the time was up.",
        node=name,
        hint="the process or its host is overloaded, or the way to it is slow: look at it there, or give it "
        "longer with --timeout",
        exit=Exit.NODE,
    )


def stopped(name: str) -> Problem:
    """Return that a node which answered in this run did not answer when asked once more at its end."""
    return Problem(
        "not-answering",
        f"{name} answered before in this run and did not when it was asked once more at its end.",
        node=name,
        hint="the process or its host is stopped, stuck or cut off: look at it there; if it is only slow, "
        "--timeout gives it longer",
        exit=Exit.NODE,
    )
