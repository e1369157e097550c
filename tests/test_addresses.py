"""Addresses as text, and what counts as this machine."""

from __future__ import annotations

import pytest

from clusterboot.addresses import Endpoint, is_loopback, is_loopback_address


def test_an_address_is_written_with_brackets_around_ipv6() -> None:
    assert [str(Endpoint(host, 7001)) for host in ("10.0.0.1", "::1", "redis-0")] == [
        *("10.0.0.1:7001", "[::1]:7001", "redis-0:7001")
    ]


@pytest.mark.parametrize(
    ("host", "name", "address"),
    [
        ("127.0.0.1", True, True),
        ("127.8.9.10", True, True),
        ("::1", True, True),
        ("::1%lo", True, True),
        ("localhost", True, False),
        ("LOCALHOST.", True, False),
        ("128.0.0.1", False, False),
        ("10.127.0.1", False, False),
        ("::2", False, False),
        ("localhost.example", False, False),
        ("127.example.com", False, False),
        ("0.0.0.0", False, False),
        ("127.1", False, False),
        ("redis-0", False, False),
    ],
)
def test_what_counts_as_loopback(host: str, *, name: bool, address: bool) -> None:
    assert (is_loopback(host), is_loopback_address(host)) == (name, address)
