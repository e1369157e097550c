"""The frame around every command: its result goes to stdout, everything else to stderr.

With `-o json` stdout is exactly one document, on failure too. Tracebacks are shown only with --debug.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from clusterboot import render
from clusterboot.commands.signals import catch_signals
from clusterboot.commands.streams import ignoring_closed_pipe, unwritable, write, writing
from clusterboot.errors import SIGNALS, ClusterbootError, Exit, Problem, UsageError, worst

if TYPE_CHECKING:
    from rich.console import Console

    from clusterboot.render.json import Document

_ISSUES = "https://github.com/clusterboot/clusterboot/issues"


@dataclass
class Shell:
    """The global options, and the two streams."""

    json: bool = False
    quiet: bool = False
    debug: bool = False
    color: bool = True

    def console(self, *, stderr: bool = False) -> Console:
        """Return a console for stdout, or for stderr."""
        return render.page.console(stderr=stderr, no_color=not self.color)

    def result(self, document: Callable[[], Document], text: Callable[[Console], None]) -> None:
        """Print a result as JSON or text (not if quiet); raises UsageError if stdout cannot be written to."""
        if self.json:
            write(render.json.dumps(document()) + "\n")
        elif not self.quiet:
            with writing():
                text(self.console())

    def note(self, text: str) -> None:
        """Print one line to stderr, unless quiet."""
        if not self.quiet:
            self.console(stderr=True).print(text, markup=False, soft_wrap=True)

    def warn(self, problems: Sequence[Problem]) -> None:
        """Print warnings to stderr, unless quiet; with `-o json` they are in the document instead."""
        if problems and not self.json and not self.quiet:
            render.problems.warnings(self.console(stderr=True), problems)

    @staticmethod
    def summarise(text: Callable[[], str]) -> None:
        """Append Markdown to the job summary of GitHub Actions, if this is such a job."""
        file = os.environ.get("GITHUB_STEP_SUMMARY")
        if file and render.workflow.active():
            # A summary that cannot be written is no error.
            with suppress(OSError), open(file, "a", encoding="utf-8") as stream:  # noqa: PTH123
                stream.write(text())

    def fail(self, command: str, problems: Sequence[Problem], document: Document | None = None) -> Exit:
        """Print why a command failed, to stderr or as the one JSON document; return the exit status."""
        if render.workflow.active():
            for line in render.workflow.error_lines(problems):
                print(line, file=sys.stderr)
        if self.json:
            try:
                write(render.json.dumps(document or render.json.failure(command, problems)) + "\n")
            except UsageError as unwritten:
                # A command that failed for the same reason has reported it.
                self._print_errors(list(dict.fromkeys([*problems, *unwritten.problems])))
        else:
            self._print_errors(problems)
        return worst(problem.exit for problem in problems)

    def _print_errors(self, problems: Sequence[Problem]) -> None:
        # If stderr cannot be written to either, only the exit status is left.
        with ignoring_closed_pipe(), suppress(OSError):
            render.problems.errors(self.console(stderr=True), problems)

    def guard(self, command: str, work: Callable[[], int], *, failed: int | None = None) -> int:
        """Run a command and return its exit status; print its errors, and a defect as a request to report it.

        `failed`, if given, is the status of every error but a signal.
        """
        catch_signals()
        try:
            return work()
        except BrokenPipeError:
            raise
        except Exception as error:
            if self.debug:
                import traceback

                traceback.print_exc(file=sys.stderr)
            status = self.fail(command, _problems_of(error))
            return status if failed is None or status in SIGNALS else failed


def _problems_of(error: Exception) -> Sequence[Problem]:
    if isinstance(error, ClusterbootError):
        return error.problems
    if isinstance(error, ImportError):
        return [
            Problem(
                "installation-broken",
                f"this installation of clusterboot is broken: {error}.",
                hint="install it again: python -m pip install --force-reinstall clusterboot",
                exit=Exit.DEFECT,
            )
        ]
    return [
        Problem(
            "defect",
            f"this is a defect of clusterboot itself: {type(error).__name__}.",
            hint=f"run it again with --debug and report what it prints at {_ISSUES}",
            exit=Exit.DEFECT,
        )
    ]


def leave(status: int) -> NoReturn:
    """End the process with `status`, unless its output is lost: then with 2, and the reason on stderr."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        # Otherwise Python reports it when it closes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        # A command that failed has reported it.
        if status == Exit.DONE:
            status = Shell().fail("", unwritable(error).problems)
    # Not sys.exit: threads that wait for a name server must not delay the exit.
    os._exit(status)
