"""Addresses: host and port, the default bus port, loopback. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

BUS_OFFSET = 10000
"""A server's bus port is by default its client port + 10000 (CLUSTER_PORT_INCR)."""

_IPV4_LOOPBACK = re.compile(r"127(\.[0-9]{1,3}){3}")


class Endpoint(NamedTuple):
    """A host and a port (of clients or of the bus); as text "host:port", with IPv6 in brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def is_loopback_address(ip: str) -> bool:
    """Return whether `ip`, a numeric address (IPv6 in its shortest form), is 127.0.0.0/8 or ::1."""
    return ip.partition("%")[0] == "::1" or _IPV4_LOOPBACK.fullmatch(ip) is not None


def is_loopback(host: str) -> bool:
    """Return whether `host`, a name or an address, can only mean the machine that dials it."""
    return host.lower().removesuffix(".") == "localhost" or is_loopback_address(host)
