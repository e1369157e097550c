"""Addresses in a topology file: hosts, and the short form host:port, with ranges, with a bus port.

127.0.0.1:7001-7006   redis-{0..5}.redis.svc:6379   [::1]:7001@17001   h:7001-7006@17101-17106
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from itertools import product
from math import prod

from clusterboot.topology.report import may_hold_secret, quoted

MAX_PORT = 65535
EXAMPLES = "127.0.0.1:7001, 127.0.0.1:7001-7006 or redis-{0..5}.svc:6379"
"""Nodes in short form, for messages."""

_MAX_LENGTH = 1000
_AUTH = "user name and password go under 'auth'"
_PORTS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
_BRACES = re.compile(r"\{([^{}]*)\}")
_NUMBERS = re.compile(r"([0-9]{1,9})\.\.([0-9]{1,9})")
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_DOTTED = re.compile(r"[0-9.]+")


class AddressError(ValueError):
    """An address that cannot be used; the text is a sentence for the user."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """What a short form stands for: every host with every port, bus ports in step with ports.

    `host` has {} in place of each of `numbers`: a range, and the number of digits to pad to (0: none).
    """

    host: str
    numbers: tuple[tuple[range, int], ...]
    ports: range
    bus_ports: range | None

    @property
    def count(self) -> int:
        """How many addresses this stands for, computed without making them."""
        return prod(len(numbers) for numbers, _ in self.numbers) * len(self.ports)

    def addresses(self) -> Iterator[tuple[str, int, int | None]]:
        """Yield host, port and bus port (None where the text has none): hosts in order, then their ports.

        Raises AddressError at the first host that is not valid.
        """
        spelled = [[str(number).zfill(digits) for number in numbers] for numbers, digits in self.numbers]
        bus_ports = self.bus_ports or [None] * len(self.ports)
        for numbers in product(*spelled):
            host = check_host(self.host.format(*numbers))
            for port, bus_port in zip(self.ports, bus_ports, strict=True):
                yield host, port, bus_port


def parse(text: str) -> Pattern:
    """Return the pattern of a short form; raises AddressError."""
    if len(text) > _MAX_LENGTH:
        raise AddressError(f"an address is at most {_MAX_LENGTH} characters long")
    if "://" in text:
        scheme, _, rest = text.partition("://")
        if may_hold_secret(rest):
            raise AddressError(f"a node is host:port without a scheme or credentials; {_AUTH}")
        address = rest.strip("/").split("/")[0]
        raise AddressError(f"a node is host:port; write {quoted(address)} without {quoted(scheme + '://')}")
    front, at, bus = text.rpartition("@")
    if not at:
        front = text
    elif may_hold_secret(front) or ":" not in front or not _PORTS.fullmatch(bus):
        # The text before the @ may be a password: it is not repeated.
        raise AddressError(f"only a bus port may follow '@', as in 10.0.0.1:7001@17001; {_AUTH}")
    host, port = _split(front)
    ports = _ports(port, "port")
    bus_ports = _ports(bus, "bus port") if at else None
    if bus_ports is not None and len(bus_ports) != len(ports):
        raise AddressError(_different_lengths(ports, bus_ports))
    pieces = _BRACES.split(host)  # text and ranges in turn
    if any("{" in text or "}" in text for text in pieces[::2]):
        raise AddressError(f"{quoted(host)} has a brace without its partner; a range is {{0..5}}")
    template, numbers = "{}".join(pieces[::2]), tuple(map(_numbers, pieces[1::2]))
    for end in (0, -1):  # an invalid host is usually at one end of a range
        check_host(template.format(*(str(values[end]).zfill(digits) for values, digits in numbers)))
    return Pattern(template, numbers, ports, bus_ports)


def reference(text: str) -> tuple[str, int] | None:
    """Return the key (see `key`) of the one address that `text` stands for; None if it is not one address."""
    try:
        pattern = parse(text)
        return key(*next(pattern.addresses())[:2]) if pattern.count == 1 else None
    except AddressError:
        return None


def key(host: str, port: int) -> tuple[str, int]:
    """Return a key that is equal for all spellings of one address: the host in lower case, and the port."""
    return host.lower(), port


def _split(front: str) -> tuple[str, str]:
    """Split host:port or [host]:port, without the brackets."""
    if front.startswith("["):
        host, closed, rest = front[1:].partition("]")
        if not closed or not rest.startswith(":"):
            raise AddressError(f"{quoted(front)} has no port; an IPv6 address is written [::1]:7001")
        if ":" not in host:
            raise AddressError(f"brackets are for IPv6 addresses, as in [::1]:7001; {quoted(host)} is none")
        return host, rest[1:]
    host, colon, port = front.rpartition(":")
    if not colon:
        raise AddressError(f"{quoted(front)} has no port; a node is host:port, as in {EXAMPLES}")
    if ":" in host:
        if _is_ipv6(front) or _is_ipv6(host):
            raise AddressError(f"{quoted(front)} needs brackets around the IPv6 address, as in [::1]:7001")
        raise AddressError(f"{quoted(front)} has more than one ':'; a node is host:port, as in {EXAMPLES}")
    return host, port


def _ports(text: str, what: str) -> range:
    match = _PORTS.fullmatch(text)
    if match is None:
        if _BRACES.search(text):
            form = "a range of ports is written 7001-7006, without braces"
            raise AddressError(f"{form}; {quoted(text)} is none")
        wanted = f"a number from 1 to {MAX_PORT} or a range such as 7001-7006"
        raise AddressError(f"the {what} must be {wanted}, not {quoted(text)}")
    low, high = int(match[1]), int(match[2] or match[1])
    for spelled in filter(None, match.groups()):
        if spelled.startswith("0") and spelled != "0":
            raise AddressError(f"the {what} {quoted(spelled)} has a leading zero; write {int(spelled)}")
        if not 1 <= int(spelled) <= MAX_PORT:
            raise AddressError(f"the {what} must be from 1 to {MAX_PORT}, not {spelled}")
    if low > high:
        raise AddressError(f"the {what} range {text} runs backwards; write {high}-{low}")
    return range(low, high + 1)


def _different_lengths(ports: range, bus_ports: range) -> str:
    if len(ports) == 1:
        return f"one port needs one bus port, not {len(bus_ports)}"
    last = bus_ports[0] + len(ports) - 1
    example = f", as in @{bus_ports[0]}-{last}" if last <= MAX_PORT else ""
    return f"{len(ports)} ports need a range of as many bus ports{example}, not {len(bus_ports)}"


def _numbers(piece: str) -> tuple[range, int]:
    match = _NUMBERS.fullmatch(piece)
    if match is None:
        wanted = "a range of numbers such as {0..5} or {00..11}"
        raise AddressError(f"braces hold {wanted}, not {quoted(piece)}")
    low, high = int(match[1]), int(match[2])
    if low > high:
        raise AddressError(f"the range {{{piece}}} runs backwards; write {{{match[2]}..{match[1]}}}")
    padded = any(len(end) > 1 and end.startswith("0") for end in match.groups())
    return range(low, high + 1), max(map(len, match.groups())) if padded else 0


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
    if not _is_ipv6(host):
        raise AddressError(f"{quoted(host)} is not an IPv6 address")
    address = IPv6Address(host)
    if address.is_unspecified or address.is_multicast:
        raise AddressError(f"{quoted(host)} is not the address of one node")
    return address.compressed


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except AddressValueError:
        return False
    return True
