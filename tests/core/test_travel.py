"""How slots travel between versions."""

from __future__ import annotations

import pytest

from clusterboot.core.travel import cannot, method
from clusterboot.core.views import View, parse_nodes

_ME = "{id:040x} 192.0.2.1:7001@17001 myself,master - 0 0 1 connected 0-99"


def view(name: str, version: str) -> View:
    kind, _, number = version.partition(" ")
    info = {"redis_version": "7.2.4" if kind == "valkey" else number, "run_id": "1"}
    if kind == "valkey":
        info["valkey_version"] = number
    return View(name, "192.0.2.1", parse_nodes(_ME.format(id=1)), info)


@pytest.mark.parametrize(
    ("source", "target", "how"),
    [
        ("valkey 9.0.0", "valkey 9.0.1", "atomic"),
        ("valkey 9.1.2", "valkey 9.1.0", "atomic"),
        ("valkey 9.0.0", "valkey 9.1.2", "atomic"),
        ("valkey 8.1.0", "valkey 9.1.2", "copy"),
        ("redis 7.0.15", "valkey 9.1.2", "copy"),
        ("redis 6.2.14", "redis 7.0.15", "copy"),
        ("redis 8.4.0", "redis 8.4.0", "copy"),
        ("redis 3.2.0", "valkey 8.0.1", "copy"),
    ],
)
def test_atomic_only_between_servers_with_jobs(source: str, target: str, how: str) -> None:
    a, b = view("a", source), view("b", target)
    assert cannot(a, b) is None
    assert method(a, b) == how


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("valkey 9.1.2", "valkey 9.0.1"),
        ("valkey 9.1.2", "valkey 8.0.1"),
        ("valkey 9.1.2", "redis 8.0.6"),
        ("valkey 9.0.0", "redis 7.0.15"),
        ("redis 8.0.6", "valkey 9.1.2"),
        ("redis 7.0.15", "redis 6.2.14"),
    ],
)
def test_data_that_the_target_would_not_read_is_refused(source: str, target: str) -> None:
    problem = cannot(view("a", source), view("b", target))
    assert problem is not None
    assert (problem.code, problem.node, problem.peer) == ("versions-cannot-move", "a", "b")
    assert problem.message == (
        f"slots cannot move from a to b: {target} does not read the data format of {source}."
    )


def test_an_unknown_version_is_tried() -> None:
    unknown = View("b", "192.0.2.1", parse_nodes(_ME.format(id=2)), {"role": "master"})
    for known in ("valkey 9.1.2", "redis 6.2.14"):
        assert cannot(view("a", known), unknown) is None
        assert cannot(unknown, view("a", known)) is None
        assert method(view("a", known), unknown) == "copy"
