"""The frame around every command: where output goes, how errors end it, what signals do.

Results go to stdout, everything else to stderr. With `-o json` stdout is exactly one document, on
failure too. A traceback is shown with --debug only.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from clusterboot.errors import SIGNALS, ClusterbootError, Exit, Interrupted, Problem, UsageError, worst

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")
Document = dict[str, Any]

_REPORT = "https://github.com/clusterboot/clusterboot/issues"


@dataclass
class Shell:
    """The global options, and the two streams."""

    json: bool = False
    quiet: bool = False
    debug: bool = False
    color: bool = True

    def console(self, *, stderr: bool = False) -> Console:
        """Return a console for stdout, or for stderr."""
        from clusterboot.render.page import console

        return console(stderr=stderr, no_color=not self.color)

    def result(self, document: Callable[[], Document], text: Callable[[Console], None]) -> None:
        """Print a result: as the one JSON document, or as text unless quiet.

        Raises UsageError where stdout takes nothing: a full disk, or a stream that is closed.
        """
        if self.json:
            from clusterboot.render.json import dumps

            write(dumps(document()) + "\n")
        elif not self.quiet:
            with unread(), _written():
                text(self.console())

    def note(self, text: str) -> None:
        """Print one line about the work to stderr, unless quiet."""
        if not self.quiet:
            self.console(stderr=True).print(text, markup=False, soft_wrap=True)

    def warn(self, problems: Sequence[Problem]) -> None:
        """Print warnings to stderr; in JSON they are in the document instead."""
        if problems and not self.json and not self.quiet:
            from clusterboot.render.problems import warnings

            warnings(self.console(stderr=True), problems)

    @staticmethod
    def summarise(text: Callable[[], str]) -> None:
        """Append Markdown to the summary of a job of GitHub Actions, where there is one."""
        from clusterboot.render import workflow

        file = os.environ.get("GITHUB_STEP_SUMMARY")
        if file and workflow.active():
            # Whatever keeps it from being written is no failure of the cluster.
            with suppress(OSError), open(file, "a", encoding="utf-8") as stream:  # noqa: PTH123
                stream.write(text())

    def fail(self, command: str, problems: Sequence[Problem], document: Document | None = None) -> Exit:
        """Print why a command failed, on stderr or as the one JSON document; return the exit status."""
        from clusterboot.render import workflow

        if workflow.active():
            for line in workflow.error_lines(problems):
                print(line, file=sys.stderr)
        if self.json:
            from clusterboot.render.json import dumps, failure

            try:
                write(dumps(document or failure(command, problems)) + "\n")
            except UsageError as unwritten:
                self._tell((*problems, *(unwritten.problems if problems != unwritten.problems else ())))
        else:
            self._tell(problems)
        return worst(problem.exit for problem in problems)

    def _tell(self, problems: Sequence[Problem]) -> None:
        from clusterboot.render.problems import errors

        # Where stderr takes nothing either, the status has to do.
        with unread(), suppress(OSError):
            errors(self.console(stderr=True), problems)

    def guard(self, command: str, work: Callable[[], Exit]) -> Exit:
        """Run a command: its own errors become messages, a defect becomes a request to report it."""
        for number in ending_signals():
            signal.signal(number, _interrupt)
        try:
            return work()
        except ClusterbootError as failed:
            if self.debug:
                _traceback()
            return self.fail(command, failed.problems)
        except (BrokenPipeError, KeyboardInterrupt):
            raise
        except ImportError as broken:
            if self.debug:
                _traceback()
            problem = Problem(
                "installation-broken",
                f"this installation of clusterboot is broken: {broken}.",
                hint="install it again: python -m pip install --force-reinstall clusterboot",
                exit=Exit.DEFECT,
            )
            return self.fail(command, [problem])
        except Exception as defect:
            if self.debug:
                _traceback()
            return self.fail(
                command,
                [
                    Problem(
                        "defect",
                        f"this is a defect of clusterboot itself: {type(defect).__name__}.",
                        hint=f"run it again with --debug and report what it prints at {_REPORT}",
                        exit=Exit.DEFECT,
                    )
                ],
            )


def write(text: str) -> None:
    """Write a result to stdout as UTF-8, whatever the locale says; UsageError where it takes nothing."""
    with unread(), _written():
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode())
        sys.stdout.buffer.flush()


def unwritable(error: OSError) -> UsageError:
    """Return what it means that stdout takes nothing."""
    return UsageError(
        Problem(
            "output-unwritable",
            f"cannot write the output: {error.strerror or error}.",
            hint="what the command did is done; send its output elsewhere",
            exit=Exit.USAGE,
        )
    )


@contextmanager
def _written() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise unwritable(error) from error


def open_streams() -> None:
    """Put something in the place of standard streams that are closed (`>&-`).

    Python has None for them, and the next file or socket would get their number. Writing to stdout
    fails then, as it does for other programs; for those who write nothing to it, nothing changes.
    """
    for number, flags in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, flags), True)  # the lowest number that is free
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115


@contextmanager
def unread() -> Iterator[None]:
    """Let a reader that has gone away (`| head`) be nobody's error: the status stays that of the command.

    rich ends the program with status 1 then, which would say that clusterboot has a defect.
    """
    try:
        yield
    except (BrokenPipeError, SystemExit):
        null = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                try:
                    stream.flush()
                except BrokenPipeError:
                    os.dup2(null, stream.fileno())


def reader_gone() -> bool:
    """Return whether whoever read stdout has gone away; for those who have nothing to write just now."""
    watched = select.poll()
    watched.register(sys.stdout, 0)  # what is wrong is told without being asked for
    return bool(watched.poll(0))


def _traceback() -> None:
    import traceback

    traceback.print_exc(file=sys.stderr)


def run_async(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end; a signal that ends a command cancels it, so that its clean-up runs.

    Raises Interrupted after a signal, once the clean-up is done; a second signal changes nothing.
    """
    # Here and not above: --version needs none of it, and `run` starts its servers first.
    import asyncio

    if _caught:
        main.close()
    check_interrupted()
    caught: list[signal.Signals] = []

    async def guarded() -> T:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None

        def stop(number: signal.Signals) -> None:
            if not caught:
                caught.append(number)
                task.cancel()

        for number in ending_signals():
            loop.add_signal_handler(number, stop, number)
        return await main

    try:
        return asyncio.run(guarded())
    except asyncio.CancelledError:
        if not caught:
            raise
        raise interrupted(caught[0]) from None
    except Interrupted as cut_short:
        raise interrupted(caught[0], cut_short.problems) from None


def ending_signals() -> tuple[signal.Signals, ...]:
    """Return the signals that end a command with clean-up; SIGHUP is not one where it is ignored (nohup)."""
    found = [signal.Signals(number - 128) for number in SIGNALS]
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return tuple(number for number in found if not (ignored and number is signal.SIGHUP))


def interrupted(number: int, left: Sequence[Problem] = ()) -> Interrupted:
    """Return what ends a command after a signal; `left` is what it could not restore."""
    caught = signal.Signals(number)
    done = "" if left else "; no setting of any node is left changed"
    problem = Problem(
        "interrupted",
        f"stopped by {caught.name}{done}.",
        hint="run the same command again: it goes on from here",
        exit=Exit(128 + number),
    )
    return Interrupted(problem, *left)


_caught: list[int] = []


def check_interrupted() -> None:
    """Raise Interrupted where a signal came and Python swallowed what `_interrupt` raised.

    It does so with every exception that is raised while a finalizer runs (sys.unraisablehook).
    """
    if _caught:
        raise interrupted(_caught[0])


def _interrupt(number: int, _: object) -> NoReturn:
    """End the work that runs outside of an event loop, such as starting servers, with its clean-up."""
    _caught.append(number)
    # Once: the clean-up itself must not be cut short by the same key held down.
    for other in ending_signals():
        signal.signal(other, signal.SIG_IGN)
    raise interrupted(number)


def leave(status: int) -> NoReturn:
    """End the process with `status`; a reader that has gone away is nobody's error."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        # Python would complain once more when it closes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        # Told already where something failed for it.
        if status == Exit.DONE:
            status = Shell().fail("", unwritable(error).problems)
    # Not sys.exit: threads that still wait for a name server must not hold the end.
    os._exit(status)
