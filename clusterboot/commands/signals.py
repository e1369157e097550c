"""Signals that end a command: work in an event loop is cancelled, other work gets an exception."""

from __future__ import annotations

import signal
from collections.abc import Coroutine, Sequence
from typing import Any, NoReturn, TypeVar

from clusterboot.errors import SIGNALS, Exit, Interrupted, Problem

T = TypeVar("T")

# The signals that `_interrupt` handled.
_caught: list[int] = []


def ending_signals() -> tuple[signal.Signals, ...]:
    """Return the signals that end a command after its clean-up; without SIGHUP if it is ignored (nohup)."""
    numbers = [signal.Signals(number - 128) for number in SIGNALS]
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return tuple(number for number in numbers if not (ignored and number is signal.SIGHUP))


def catch_signals() -> None:
    """Let signals raise Interrupted in work outside of an event loop, such as starting servers."""
    for number in ending_signals():
        signal.signal(number, _interrupt)


def _interrupt(number: int, _: object) -> NoReturn:
    _caught.append(number)
    # Only once: a key held down must not cut the clean-up short.
    for other in ending_signals():
        signal.signal(other, signal.SIG_IGN)
    raise interrupted(number)


def check_interrupted() -> None:
    """Raise Interrupted if it was swallowed because a finalizer was running (sys.unraisablehook)."""
    if _caught:
        raise interrupted(_caught[0])


def run_async(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end; a signal that ends a command cancels it, so that its clean-up runs.

    Raises Interrupted after a signal, once the clean-up is done. A second signal changes nothing.
    """
    # Imported late: --version needs none of it, and `run` starts its servers first.
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
        stopped = interrupted(caught[0], cut_short.problems)
        stopped.warnings, stopped.outcome = cut_short.warnings, cut_short.outcome
        raise stopped from None


def interrupted(number: int, left: Sequence[Problem] = ()) -> Interrupted:
    """Return the error for a command that a signal ended; `left` is what it could not restore or finish."""
    unrestored = any(problem.code == "not-given-back" for problem in left)
    restored = "" if unrestored else "; no setting of any node is left changed"
    problem = Problem(
        "interrupted",
        f"stopped by {signal.Signals(number).name}{restored}.",
        hint="run the same command again: it goes on from here",
        exit=Exit(128 + number),
    )
    return Interrupted(problem, *left)
