"""Tests on hosts of their own. CI sets CLUSTERBOOT_REQUIRE_NETNS=1 and fails where hosts cannot be made."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import pytest

from tests.harness import netns, servers

_HERE = Path(__file__).parent


@functools.cache
def _absent() -> str | None:
    try:
        netns.check()
    except netns.Unavailable as reason:
        return str(reason)
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.network)


@pytest.fixture(scope="session", autouse=True)
def _hosts_can_be_made() -> None:
    reason = _absent()
    if reason is not None:
        if os.environ.get("CLUSTERBOOT_REQUIRE_NETNS") == "1":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)


def need(kind: str) -> str:
    """Return `kind`; without such a server the test fails where all must be, and is skipped elsewhere."""
    try:
        servers.binary(kind)
    except servers.Missing as reason:
        if os.environ.get("CLUSTERBOOT_REQUIRE_SERVERS") == "1":
            pytest.fail(str(reason), pytrace=False)
        pytest.skip(str(reason))
    return kind
