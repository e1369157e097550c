"""Fresh nodes for tests of whole commands: `nodes(6)` of each kind of server, or `any_nodes(6)` of one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness import servers as harness
from tests.servers.pool import Nodes, Pool

Take = Callable[[int], Nodes]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave to the soak the kinds of servers that a module does not name in NORMAL_KINDS, if it has that."""
    for item in items:
        kinds = getattr(getattr(item, "module", None), "NORMAL_KINDS", None)
        kind = getattr(item, "callspec", None) and item.callspec.params.get("server_kind")
        if kinds is not None and kind is not None and kind not in kinds:
            item.add_marker(pytest.mark.soak)


@pytest.fixture(scope="session")
def pool() -> Iterator[Pool]:
    with Pool() as found:
        yield found


@pytest.fixture
def nodes(server_kind: str, pool: Pool, tmp_path: Path) -> Take:
    """Fresh nodes of each kind of server in turn: `nodes(6)`, once per test."""
    return lambda count: pool.take(server_kind, count, tmp_path)


@pytest.fixture
def any_nodes(any_server: str, pool: Pool, tmp_path: Path) -> Take:
    """Fresh nodes of one kind, for behaviour that is not the server's: `any_nodes(6)`, once per test."""
    return lambda count: pool.take(any_server, count, tmp_path)


@pytest.fixture(scope="session")
def require() -> Callable[[str], str]:
    """Return a kind of server that must be here: fails where all must be, else skips with the reason."""

    def need(kind: str) -> str:
        try:
            harness.binary(kind)
        except harness.Missing as reason:
            if os.environ.get("CLUSTERBOOT_REQUIRE_SERVERS") == "1":
                pytest.fail(str(reason), pytrace=False)
            pytest.skip(str(reason))
        return kind

    return need
