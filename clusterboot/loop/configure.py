"""Reading and setting several settings of a node in one step: all of them, or none.

Redis 7.0 and later take several settings in one CONFIG GET or CONFIG SET. Older servers take one per command,
so MULTI and EXEC keep other clients out. If one is refused there, the others are set, and restored here.
Where a user may not run MULTI, the commands run one by one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from clusterboot.core.timers import SETTINGS
from clusterboot.loop.observe import Asker
from clusterboot.wire.replies import Command, Rejected, Reply

# In the error reply of all servers that take one setting in a command.
_TOO_MANY = "number of arguments"


class Configurator:
    """Reads and sets the settings in `timers.SETTINGS`."""

    def __init__(self, fleet: Asker) -> None:
        self._fleet = fleet
        self._old: set[str] = set()  # nodes that take one setting in a command

    async def read(
        self, name: str, *more: Command, ahead: Sequence[Command] = ()
    ) -> tuple[dict[str, str], list[Reply]]:
        """Return the settings, and the replies to `ahead` (sent before) and `more`; raises as `Asker.ask`."""
        if name not in self._old:
            get = ("CONFIG", "GET", *SETTINGS)
            replies = await self._fleet.ask(name, *ahead, get, *more)
            reply = replies.pop(len(ahead))
            if not (isinstance(reply, Rejected) and _TOO_MANY in reply.lower()):
                return _pairs([reply]), replies
            self._old.add(name)
            ahead = ()
        gets = _together([("CONFIG", "GET", setting) for setting in SETTINGS])
        replies = await self._fleet.ask(name, *ahead, *gets, *more)
        end = len(ahead) + len(gets)
        return _pairs(replies[len(ahead) : end]), replies[: len(ahead)] + replies[end:]

    async def put(self, name: str, settings: Mapping[str, str]) -> tuple[dict[str, str], str | None]:
        """Set `settings`; returns all settings as they are then, and why these are not set, or None.

        A node that was never read counts as one since Redis 7.0. Raises as `Asker.ask` does.
        """
        before: Mapping[str, str] = {}
        sets: Sequence[Command] = [("CONFIG", "SET", *(word for each in settings.items() for word in each))]
        if name in self._old:
            before, _ = await self.read(name)
            sets = _sets(settings)
        now, replies = await self.read(name, ahead=sets)
        wrong = next((key for key, value in settings.items() if now.get(key) != value), None)
        if wrong is None:
            return now, None
        # A value that was set by hand at this moment stays.
        took = [key for key in settings if now.get(key) == settings[key] != before.get(key, settings[key])]
        if took:
            # An older server took a part: it is restored in reverse order, so that the mark goes last.
            changed = {key: before[key] for key in reversed(took)}
            now, _ = await self.read(name, ahead=_sets(changed))
        refused = next((reply for reply in replies if isinstance(reply, Rejected)), None)
        return now, f"{name} refused CONFIG SET {wrong}" + (f": {refused}" if refused else "")


def _sets(settings: Mapping[str, str]) -> tuple[Command, ...]:
    return _together([("CONFIG", "SET", *each) for each in settings.items()])


def _together(commands: Sequence[Command]) -> tuple[Command, ...]:
    return (("MULTI",), *commands, ("EXEC",))


def _pairs(replies: Sequence[Reply]) -> dict[str, str]:
    """Return the settings in replies to CONFIG GET, also those that EXEC has put into one reply."""
    settings: dict[str, str] = {}
    for reply in replies:
        if not isinstance(reply, list):
            continue
        if any(isinstance(part, list) for part in reply):
            settings |= _pairs(reply)
        else:
            settings |= {str(key): str(value) for key, value in zip(reply[::2], reply[1::2], strict=False)}
    return {key: value for key, value in settings.items() if key in SETTINGS}
