"""stdin, stdout and stderr: closed ones, full disks, readers that have gone away."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from clusterboot.errors import UsageError


def open_streams() -> None:
    """Replace closed standard streams (`>&-`), None in Python: the next file would get their number.

    Writing to stdout then fails, as in other programs.
    """
    for number, flags in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, flags), True)  # the lowest free number
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115


def write(text: str) -> None:
    """Write to stdout as UTF-8, in every locale; raises UsageError if it cannot be written."""
    with writing():
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode())
        sys.stdout.buffer.flush()


@contextmanager
def writing() -> Iterator[None]:
    """Turn an error of stdout, such as a full disk, into UsageError; a reader that has gone is no error."""
    try:
        with ignoring_closed_pipe():
            yield
    except OSError as error:
        raise unwritable(error) from error


@contextmanager
def ignoring_closed_pipe() -> Iterator[None]:
    """Ignore a closed pipe (`| head`), for which rich exits with 1; the exit status stays the command's."""
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


def unwritable(error: OSError) -> UsageError:
    """Return the error for a stdout that cannot be written to."""
    return UsageError.of(
        "output-unwritable",
        f"cannot write the output: {error.strerror or error}.",
        hint="what the command did is done; send its output elsewhere",
    )


def reader_gone() -> bool:
    """Return whether the reader of stdout has gone away, without writing to it."""
    watched = select.poll()
    watched.register(sys.stdout, 0)  # errors are always reported
    return bool(watched.poll(0))
