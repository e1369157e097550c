"""Connecting to the nodes of a topology: time limit, passwords and connections."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from clusterboot.errors import Problem, usage_error, warning

if TYPE_CHECKING:
    from clusterboot.loop.standby import Standby
    from clusterboot.topology import Credential, Node, Topology
    from clusterboot.wire.client import Fleet

# Seconds for connecting if starting clusterboot took all the time.
_MIN_SECONDS = 0.25


@dataclass(frozen=True)
class ConnectOptions:
    """The flags of all commands that connect to nodes: the time limit in seconds, and --ask-pass."""

    timeout: float | None = None
    ask_pass: bool = False

    def seconds(self, topology: Topology) -> float:
        """Return the time limit: the one given, else one second per node and at least 60."""
        return self.timeout if self.timeout is not None else max(60.0, len(topology.reached))


@dataclass(frozen=True)
class Deadline:
    """The time limit of one command in seconds, from the creation of this object; its parts share it."""

    seconds: float
    _start: float = field(default_factory=time.monotonic)

    def spent(self) -> float:
        """Return the seconds that have passed."""
        return time.monotonic() - self._start

    def left(self) -> float:
        """Return the seconds that are left, at least 0.1."""
        return max(0.1, self.seconds - self.spent())


@contextlib.asynccontextmanager
async def connected(
    topology: Topology, credentials: Mapping[str, Credential], seconds: float | None = None
) -> AsyncIterator[Fleet]:
    """Yield a fleet and close it; `seconds` limit its connects and requests to nodes that do not answer."""
    import asyncio

    # The clock runs while redis-py is imported, which takes seconds on a busy machine.
    clock = asyncio.get_running_loop().time
    start = clock()
    from clusterboot.wire.client import Fleet

    deadline = None
    if seconds is not None:
        # Before the deadline of the run, which can then still name the nodes that did not answer.
        deadline = max(start + 0.9 * seconds, clock() + min(0.9 * seconds, _MIN_SECONDS))
    fleet = Fleet(topology, _credential(topology, credentials), deadline)
    try:
        yield fleet
    finally:
        await fleet.close()


def _credential(topology: Topology, credentials: Mapping[str, Credential]) -> Callable[[Node], Credential]:
    """Return what gives the credential of a node; one that is known only by its id has that of most nodes."""
    most = Counter(credentials[node.name] for node in topology.nodes if node.name in credentials).most_common(
        1
    )
    return lambda node: credentials[node.name] if node.name in credentials else most[0][0]


def standby(
    topology: Topology, credentials: Mapping[str, Credential], seconds: float, *, bounded: bool = True
) -> Standby:
    """Return the helper process for a run of `seconds`, not started yet.

    A run that is not `bounded` may take longer: then it is the time without a sign of life from this process.
    """
    from clusterboot.loop.standby import Standby

    # Longer than a run may take: it also acts if the run is stopped (SIGSTOP).
    return Standby(topology, credentials, seconds + 10.0, beats=not bounded)


def security_warnings(topology: Topology, file: Path) -> tuple[Problem, ...]:
    """Return warnings about passwords that other users can read and certificates that are not verified."""
    from clusterboot.disk import credentials

    warnings = credentials.warnings(topology, str(file))
    if topology.tls is not None and not topology.tls.verify:
        warnings += (
            warning(
                "tls-unverified",
                "certificates are not verified (tls.verify: false): an attacker on the network can read and "
                "change all traffic, including passwords.",
                hint="set tls.ca instead",
            ),
        )
    return warnings


def passwords(topology: Topology, options: ConnectOptions) -> Mapping[str, Credential]:
    """Return user names and passwords by node name; with --ask-pass, also the one typed at the prompt.

    Call it once per command: a password file may be a pipe. Raises UsageError with every password that is
    missing, and when --ask-pass has no terminal.
    """
    from clusterboot.disk import credentials

    return credentials.load(topology, _prompt() if options.ask_pass else None)


def _prompt() -> str:
    if not sys.stdin.isatty():
        raise usage_error(
            "--ask-pass needs a terminal.", "set password_env or password_file in the topology instead"
        )
    import getpass

    try:
        password = getpass.getpass("Password: ", stream=sys.stderr)
    except EOFError:
        password = ""
    if not password:
        raise usage_error("no password was entered.", "enter it at the prompt, or leave out --ask-pass")
    return password
