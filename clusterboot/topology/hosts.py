"""What a host may look like: a name, an IPv4 or an IPv6 address."""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from clusterboot.topology.report import may_hold_secret, quoted

EXAMPLES = "127.0.0.1:7001, 127.0.0.1:7001-7006 or redis-{0..5}.svc:6379"
"""Nodes in short form, for messages."""
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_DOTTED = re.compile(r"[0-9.]+")


class AddressError(ValueError):
    """An address that cannot be used; the text is a sentence for the user."""


@lru_cache(maxsize=4096)
def check_host(host: str) -> str:
    """Return `host` as a topology keeps it: IPv6 in its shortest form, everything else as written.

    Raises AddressError when `host` (no brackets, no port) is no host name (RFC 1123, underscores
    allowed), no IPv4 and no IPv6 address, or an address that no single node can have.
    """
    if may_hold_secret(host):
        raise AddressError("a host holds no '@'; user name and password go under 'auth'")
    if not host:
        raise AddressError("the host is empty; a host is a name or an IP address")
    if "://" in host or "/" in host:
        raise AddressError(f"a host is a name or an IP address, without scheme or path, not {quoted(host)}")
    if "{" in host or "}" in host:
        form = "the short form, as in redis-{0..5}.svc:6379"
        raise AddressError(f"{quoted(host)} is a range, which needs {form}")
    if "[" in host or "]" in host:
        raise AddressError(f"a host comes without brackets and without a port, not {quoted(host)}")
    if ":" in host:
        return _check_ipv6(host)
    if _DOTTED.fullmatch(host):
        return _check_ipv4(host)
    if not host.isascii():
        raise AddressError(f"write the host {quoted(host)} in its ASCII form, which starts with xn--")
    labels = host.removesuffix(".").split(".")
    if len(host) > 253 or not all(map(_LABEL.fullmatch, labels)):
        raise AddressError(
            f"{quoted(host)} is not a host name: between dots are 1 to 63 letters, digits, '-' or '_' "
            "and do not start or end with '-'; 253 characters in all"
        )
    return host


def _check_ipv4(host: str) -> str:
    if host.isdecimal():
        example = f"127.0.0.1:{host}" if len(host) < 6 else EXAMPLES
        raise AddressError(f"{quoted(host)} is no host; a node is host:port, as in {example}")
    octets = host.split(".")
    if len(octets) != 4 or not all(octets):
        raise AddressError(f"{quoted(host)} is not an IPv4 address, which has four numbers")
    for octet in octets:
        if len(octet) > 1 and octet.startswith("0"):
            # inet_aton reads such numbers as octal, other parsers as decimal.
            raise AddressError(
                f"{quoted(host)} has a leading zero in {quoted(octet)}, which programs read differently"
            )
        if len(octet) > 3 or int(octet) > 255:
            raise AddressError(f"{quoted(host)} is not an IPv4 address: {quoted(octet)} is above 255")
    address = IPv4Address(host)
    if address.is_unspecified or address.is_multicast or host == "255.255.255.255":
        raise AddressError(f"{quoted(host)} is not the address of one node")
    return host


def _check_ipv6(host: str) -> str:
    front, _, back = host.rpartition(":")
    if back.isdecimal() and ":" not in front:
        raise AddressError(f"a host comes without a port; write host: {front} and port: {back}")
    if "%" in host:
        message = "has a scope after '%', which CLUSTER MEET refuses; use an address without one"
        raise AddressError(f"{quoted(host)} {message}")
    if not is_ipv6(host):
        raise AddressError(f"{quoted(host)} is not an IPv6 address")
    address = IPv6Address(host)
    if address.is_unspecified or address.is_multicast:
        raise AddressError(f"{quoted(host)} is not the address of one node")
    return address.compressed


def is_ipv6(text: str) -> bool:
    """Return whether `text` is an IPv6 address (without brackets)."""
    try:
        IPv6Address(text)
    except AddressValueError:
        return False
    return True
