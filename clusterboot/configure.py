"""Reading and setting several settings of a node in one step.

Servers since Redis 7.0 take several settings in one CONFIG GET or CONFIG SET, all or none. For older ones
MULTI and EXEC stand around one command each, which keeps others out and yet carries out the rest where one
is refused; and where a user may not run MULTI, they are carried out one by one. So older servers get the
settings in two stages, and the second one only when the first is there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from clusterboot.observe import Asker
from clusterboot.replies import Command, Rejected, Reply
from clusterboot.timers import SETTINGS

_MULTI: Command = ("MULTI",)
_EXEC: Command = ("EXEC",)


class Configurator:
    """Reads and sets what `timers.SETTINGS` names."""

    def __init__(self, fleet: Asker) -> None:
        self._fleet = fleet
        self._old: set[str] = set()  # nodes that take one setting in a command

    async def read(
        self, name: str, *more: Command, timeout: float = 5.0
    ) -> tuple[dict[str, str], list[Reply]]:
        """Return the settings of a node, without those that it does not have, and the replies to `more`.

        Raises NodeFailed when the node does not answer within `timeout` seconds.
        """
        if name not in self._old:
            first, *rest = await self._fleet.ask(name, ("CONFIG", "GET", *SETTINGS), *more, timeout=timeout)
            if not isinstance(first, Rejected):
                return _pairs([first]), rest
        gets = _one_by_one([("CONFIG", "GET", setting) for setting in SETTINGS])
        replies = await self._fleet.ask(name, *gets, *more, timeout=timeout)
        found = _pairs(replies[: len(gets)])
        if found:
            self._old.add(name)
        return found, replies[len(gets) :]

    async def put(
        self,
        name: str,
        settings: Mapping[str, str],
        *,
        first: Collection[str] = (),
        timeout: float = 5.0,
    ) -> tuple[dict[str, str], str | None]:
        """Set `settings`; return all settings as they are then, and why one is not as wanted, or None.

        Older servers get what is in `first` before the rest. A node that was never read counts as new.
        Raises NodeFailed as `read` does.
        """
        if name in self._old:
            early = {key: value for key, value in settings.items() if key in first}
            if early and len(early) < len(settings):
                now, refused = await self.put(name, early, timeout=timeout)
                if refused is not None:
                    return now, refused
            sets = _one_by_one([("CONFIG", "SET", *each) for each in settings.items()])
        else:
            sets = (("CONFIG", "SET", *(word for each in settings.items() for word in each)),)
        replies = await self._fleet.ask(name, *sets, timeout=timeout)
        now, _ = await self.read(name, timeout=timeout)
        wrong = next((key for key, value in settings.items() if now.get(key) != value), None)
        if wrong is None:
            return now, None
        refused = next((reply for reply in replies if isinstance(reply, Rejected)), None)
        return now, f"{name} refused CONFIG SET {wrong}" + (f": {refused}" if refused else "")


def _one_by_one(commands: Sequence[Command]) -> tuple[Command, ...]:
    return (_MULTI, *commands, _EXEC)


def _pairs(replies: Sequence[Reply]) -> dict[str, str]:
    """The settings in replies of CONFIG GET, also where EXEC has put several of them into one."""
    found: dict[str, str] = {}
    for reply in replies:
        if not isinstance(reply, list):
            continue
        if any(isinstance(part, list) for part in reply):
            found |= _pairs(reply)
        else:
            found |= {str(key): str(value) for key, value in zip(reply[::2], reply[1::2], strict=False)}
    return {key: value for key, value in found.items() if key in SETTINGS}
