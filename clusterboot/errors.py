"""What can go wrong, once: problems that are reported, and the exceptions that carry them.

A `Problem` is data: it is what a verdict lists, what a warning says and what an exception carries.
An exception ends a command; its class decides the exit status (docs/json.md lists them all).

    ClusterbootError            1   a defect of clusterboot itself
    ├── UsageError              2   wrong flags or arguments
    ├── TopologyError           2   the topology file cannot be used; carries every problem of the file
    ├── Refused                 3   going on would be unsafe; nothing was changed
    ├── OutOfTime               4   the deadline came before Ready
    ├── NodeFailed              5   a node cannot be reached, authenticated or used, or refused a step
    └── Interrupted      128 + n  signal n; its problems also name every setting that is not restored
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum


class Exit(IntEnum):
    """The exit statuses of every command but `run`, which hands on the status of its own command."""

    DONE = 0
    DEFECT = 1
    USAGE = 2
    REFUSED = 3
    NOT_READY = 4
    NODE = 5
    SIGHUP = 129
    SIGINT = 130
    SIGQUIT = 131
    SIGUSR1 = 138
    SIGTERM = 143


# The signals that end a command, by the exit status that they end it with.
SIGNALS = (Exit.SIGINT, Exit.SIGTERM, Exit.SIGHUP, Exit.SIGQUIT, Exit.SIGUSR1)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, in words a user understands.

    `code` is stable and made for scripts; `message` is one sentence and names the node; `hint` is the
    next thing to do. `node` and `peer` are node names of the topology (or an address where there is
    no name). `exit` is the status with which this problem alone would end a command. `file`, `line`
    and `column` (both from 1) say where in a topology file the problem is.
    """

    code: str
    message: str
    node: str | None = None
    peer: str | None = None
    hint: str | None = None
    exit: Exit = Exit.DEFECT
    file: str | None = None
    line: int | None = None
    column: int | None = None


class ClusterbootError(Exception):
    """The root: anything that ends a command without success.

    Takes one problem or several that were found together; `problems` keeps their order. A run of `up` adds
    its `warnings`, and as `outcome` the `results.UpResult` of what it did before the error.
    """

    def __init__(self, *problems: Problem) -> None:
        super().__init__("; ".join(problem.message for problem in problems))
        self.problems = problems
        self.warnings: tuple[Problem, ...] = ()
        self.outcome: object = None

    @property
    def exit(self) -> Exit:
        """The exit status: a node that cannot be used (5) wins over a refusal (3)."""
        return worst(problem.exit for problem in self.problems)


class UsageError(ClusterbootError):
    """Flags or arguments that do not fit."""


class TopologyError(ClusterbootError):
    """A topology file that cannot be used; `problems` has every problem of the file."""


class Refused(ClusterbootError):
    """Going on would be unsafe; nothing was changed."""


class OutOfTime(ClusterbootError):
    """The deadline came before the goal."""


class NodeFailed(ClusterbootError):
    """A node cannot be reached, authenticated or used as a cluster node, or refused a step."""


class Interrupted(ClusterbootError):
    """A signal ended the run; whatever it lowered and could not restore is among the problems."""


def worst(exits: Iterable[Exit]) -> Exit:
    """Return the status that stands for all `exits` together; DONE when there are none.

    The order is that of the contract: a defect first, then 5 before 3, and 2 and 4 behind them.
    """
    found = set(exits)
    for status in (
        Exit.DEFECT,
        *SIGNALS,
        Exit.USAGE,
        Exit.NODE,
        Exit.REFUSED,
        Exit.NOT_READY,
    ):
        if status in found:
            return status
    return Exit.DONE


def from_problems(problems: Iterable[Problem]) -> ClusterbootError:
    """Return the exception whose class fits the worst of `problems`."""
    found = tuple(problems)
    kinds: dict[Exit, type[ClusterbootError]] = {
        Exit.USAGE: UsageError,
        Exit.REFUSED: Refused,
        Exit.NOT_READY: OutOfTime,
        Exit.NODE: NodeFailed,
        **dict.fromkeys(SIGNALS, Interrupted),
    }
    return kinds.get(worst(problem.exit for problem in found), ClusterbootError)(*found)
