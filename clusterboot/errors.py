"""Problems that are reported, and the exceptions that carry them. Pure.

An exception ends a command; the worst of its problems decides the exit status (docs/json.md lists them all).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from typing import ClassVar, Self


class Exit(IntEnum):
    """The exit statuses of all commands; `run` returns the status of its command instead."""

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


SIGNALS = (Exit.SIGINT, Exit.SIGTERM, Exit.SIGHUP, Exit.SIGQUIT, Exit.SIGUSR1)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: a reason in a verdict, a warning, or part of an exception.

    `code` is stable, for scripts. `message` is one sentence that names the node; `hint` is the next step.
    `node` and `peer` are names in the topology, or addresses without one. `exit` is the exit status for this
    problem alone. `file`, `line` and `column` (from 1) are its place in a topology file.
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


warning = partial(Problem, exit=Exit.DONE)
refusal = partial(Problem, exit=Exit.REFUSED)
not_ready = partial(Problem, exit=Exit.NOT_READY)


class ClusterbootError(Exception):
    """Ends a command without success; takes the problems that were found together, in order.

    A run of `up` adds its `warnings`, and as `outcome` the `results.UpResult` so far.
    """

    exit_status: ClassVar[Exit] = Exit.DEFECT

    @classmethod
    def of(cls, code: str, message: str, *, node: str | None = None, hint: str | None = None) -> Self:
        """Return the error for one problem, with the exit status of this class."""
        return cls(Problem(code, message, node=node, hint=hint, exit=cls.exit_status))

    def __init__(self, *problems: Problem) -> None:
        super().__init__("; ".join(problem.message for problem in problems))
        self.problems = problems
        self.warnings: tuple[Problem, ...] = ()
        self.outcome: object = None

    @property
    def exit(self) -> Exit:
        """The exit status: that of the worst problem."""
        return worst(problem.exit for problem in self.problems)


class UsageError(ClusterbootError):
    """Flags or arguments that do not fit (exit status 2)."""

    exit_status = Exit.USAGE


def usage_error(message: str, hint: str) -> UsageError:
    """Return the error for flags or arguments that do not fit."""
    return UsageError.of("usage", message, hint=hint)


class TopologyError(ClusterbootError):
    """A topology file that cannot be used (2); `problems` has every problem of the file."""


class Refused(ClusterbootError):
    """Going on would be unsafe (3); nothing was changed."""

    exit_status = Exit.REFUSED


class OutOfTime(ClusterbootError):
    """The deadline came before the goal (4)."""

    exit_status = Exit.NOT_READY


class NodeFailed(ClusterbootError):
    """A node cannot be reached, authenticated or used as a cluster node, or refused a step (5)."""

    exit_status = Exit.NODE


class Interrupted(ClusterbootError):
    """Signal n ended the run (128 + n); settings that it could not restore are among the problems."""


def worst(exits: Iterable[Exit]) -> Exit:
    """Return the status for all `exits` together, the first in the order below; DONE for none."""
    found = set(exits)
    order = (Exit.DEFECT, *SIGNALS, Exit.USAGE, Exit.NODE, Exit.REFUSED, Exit.NOT_READY)
    return next((status for status in order if status in found), Exit.DONE)


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
