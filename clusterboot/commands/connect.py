"""Reaching the nodes of a topology: the deadline, the password from the prompt, the connections."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from clusterboot.errors import Exit, Problem, UsageError

if TYPE_CHECKING:
    from clusterboot.loop.standby import Standby
    from clusterboot.topology import Topology
    from clusterboot.wire.client import Credential, Fleet


@dataclass(frozen=True)
class Reach:
    """How commands that talk to nodes do it: the deadline in seconds, and a password from the prompt."""

    timeout: float | None = None
    ask_pass: bool = False

    def deadline(self, topology: Topology) -> float:
        """Return the deadline: the one given, else a second per node and at least a minute."""
        return self.timeout if self.timeout is not None else max(60.0, len(topology.nodes))

    @cached_property
    def _began(self) -> float:
        return time.monotonic()

    def spent(self) -> float:
        """Return the seconds since this was first asked: the parts of one command share its deadline."""
        return time.monotonic() - self._began

    def left(self, topology: Topology) -> float:
        """Return how much of the deadline is left, and a moment at least."""
        return max(0.1, self.deadline(topology) - self.spent())


@contextlib.asynccontextmanager
async def connected(
    topology: Topology, credentials: Mapping[str, Credential], seconds: float | None = None
) -> AsyncIterator[Fleet]:
    """Yield a fleet, and close it; `seconds` bound every connect and request."""
    import asyncio

    from clusterboot.wire.client import Fleet

    # Before the deadline of the whole, so that the end of it can still name who did not answer.
    deadline = asyncio.get_running_loop().time() + 0.9 * seconds if seconds is not None else None
    fleet = Fleet(topology, lambda node: credentials[node.name], deadline)
    try:
        yield fleet
    finally:
        await fleet.close()


def standby(topology: Topology, credentials: Mapping[str, Credential], seconds: float) -> Standby:
    """Return the helper of a run of `seconds`, not started yet."""
    from clusterboot.loop.standby import Standby

    # Longer than a run may take: one that is stopped and not gone ends here as well.
    return Standby(topology, credentials, seconds + 10.0)


def careless(topology: Topology, file: Path) -> tuple[Problem, ...]:
    """Return warnings about passwords that others can read and certificates that nobody checks."""
    from clusterboot.disk import credentials

    found = credentials.warnings(topology, str(file))
    if topology.tls is not None and not topology.tls.verify:
        found += (
            Problem(
                "tls-unverified",
                "certificates are not checked (tls.verify: false): anybody on the way can read and change "
                "everything, passwords included.",
                hint="give tls.ca instead",
                exit=Exit.DONE,
            ),
        )
    return found


def passwords(topology: Topology, reach: Reach) -> Mapping[str, Credential]:
    """Return user names and passwords by node name, with the one from the prompt where --ask-pass is given.

    To be called once in a command: what names a password may be a pipe. Raises UsageError with every
    password that is missing.
    """
    from clusterboot.disk import credentials

    return credentials.load(topology, _ask(reach))


def _ask(reach: Reach) -> str | None:
    """Return the password typed at the prompt with --ask-pass, else None; UsageError without a terminal."""
    if not reach.ask_pass:
        return None
    if not sys.stdin.isatty():
        raise usage("--ask-pass needs a terminal", "use password_env or password_file in the topology")
    import getpass

    try:
        password = getpass.getpass("Password: ", stream=sys.stderr)
    except EOFError:
        password = ""
    if not password:
        raise usage("no password was typed", "type it, or leave out --ask-pass")
    return password


def usage(message: str, hint: str) -> UsageError:
    """Return the error for flags that do not fit, with the next step."""
    return UsageError(Problem("usage", f"{message}.", hint=hint, exit=Exit.USAGE))
