"""An event loop with a clock of its own: nothing is waited for, time jumps to the next timer.

    with virtual.run(main()) …

A test of minutes takes milliseconds, and what it shows does not depend on the machine. Work for
threads is done at once, and no connection can be made: there is no outside.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

# So many rounds of the loop without a step of the clock are a loop that never waits.
_MOST_ROUNDS = 50_000


class Stuck(AssertionError):
    """Nothing will ever happen any more, or everything happens at one moment."""


class _Selector(selectors.DefaultSelector):
    def __init__(self, advance: Callable[[float | None], None]) -> None:
        super().__init__()
        self._advance = advance

    def select(self, timeout: float | None = None) -> Any:
        self._advance(timeout)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """The loop; `time()` starts at 1,000 seconds."""

    def __init__(self) -> None:
        self._now = 1000.0
        self._rounds = 0
        super().__init__(_Selector(self._advance))

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._now

    def _advance(self, timeout: float | None) -> None:
        if timeout is None:
            raise Stuck("the loop waits for something that never comes")
        if timeout > 0:
            self._now += timeout
            self._rounds = 0
        else:
            self._rounds += 1
            if self._rounds > _MOST_ROUNDS:
                raise Stuck("the loop goes round and round without waiting")

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """Do the work at once, in this thread."""
        done: asyncio.Future[Any] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:
            done.set_exception(error)
        return done

    async def create_connection(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse: there is nobody outside."""
        await asyncio.sleep(0.001)
        raise ConnectionRefusedError(111, "Connection refused")


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on a loop of its own."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
