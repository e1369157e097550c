"""Addresses in short form: host:port, with ranges, with a bus port.

127.0.0.1:7001-7006   redis-{0..5}.redis.svc:6379   [::1]:7001@17001   h:7001-7006@17101-17106
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import prod

from clusterboot.topology.hosts import EXAMPLES, AddressError, check_host, is_ipv6
from clusterboot.topology.report import may_hold_secret, quoted

MAX_PORT = 65535

_MAX_LENGTH = 1000
_AUTH = "user name and password go under 'auth'"
_PORTS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
_BRACES = re.compile(r"\{([^{}]*)\}")
_NUMBERS = re.compile(r"([0-9]{1,9})\.\.([0-9]{1,9})")


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
        """How many addresses this stands for; none of them is made to count them."""
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
        # Nothing is repeated: what stands before the @ may be a password.
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
    for end in (0, -1):  # a range that leads out of the valid hosts usually does so at one of its ends
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
    """Return what all spellings of one address share: hosts compare without regard to case."""
    return host.lower(), port


def _split(front: str) -> tuple[str, str]:
    """Split host:port or [host]:port; the host comes without brackets."""
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
        if is_ipv6(front) or is_ipv6(host):
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
