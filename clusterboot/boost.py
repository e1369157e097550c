"""Borrowed timers: lowered on a cluster that does not serve yet, and put back before the run ends.

Elections stay off (cluster-replica-no-failover) for as long as timeouts are low, and until nobody finds
anybody failing afterwards. What is lowered, how far, and what an interrupted run left behind: `timers`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Protocol

from clusterboot.errors import Exit, NodeFailed, Problem
from clusterboot.nodes import View, number, parse_fields
from clusterboot.observe import CLUSTER_INFO, Asker
from clusterboot.replies import Command, Rejected, Reply
from clusterboot.results import BoostReport
from clusterboot.timers import (
    DEFAULTS,
    LOAD,
    NO_FAILOVER,
    NUDGE_SECONDS,
    RUN_ID,
    TIMEOUT,
    Settings,
    eased,
    left_behind,
    loan,
    lowered,
    nudged,
    ours,
)
from clusterboot.wording import count


class Ledger(Protocol):
    """Where borrowed settings are written down before they are changed: survives a SIGKILL."""

    def recall(self) -> Mapping[str, Settings]:
        """Return the old settings by node address that earlier runs have not put back."""

    def remember(self, settings: Mapping[str, Settings]) -> None:
        """Write down old settings by node address; raises OSError when that is impossible."""

    def forget(self, addresses: Iterable[str]) -> None:
        """Cross out the addresses whose settings are back."""


class Boost:
    """What was borrowed from which node in this run, and the way back."""

    def __init__(self, fleet: Asker, addresses: Mapping[str, str], ledger: Ledger) -> None:
        """Take the addresses by node name; the ledger keeps settings by address, since names may change."""
        self._fleet = fleet
        self._addresses = addresses
        self._ledger = ledger
        self._old: dict[str, dict[str, str]] = {}
        self._recorded: Mapping[str, Settings] = {}
        self._set: dict[str, str] = {}
        self._restored = 0
        self._reason: str | None = None
        self._guessed: set[str] = set()
        self.warnings: list[Problem] = []

    def take_over(self, views: Mapping[str, View]) -> None:
        """Take what an earlier run left lowered as borrowed by this one, so that it is put back."""
        self._recorded = self._ledger.recall()
        marked = any(ours(view.config) for view in views.values())
        for name, view in views.items():
            record = self._recorded.get(self._addresses[name], {})
            old, guessed = left_behind(view, record, marked=marked)
            if old:
                self._old[name] = old
            if guessed:
                self._guessed.add(name)

    @property
    def owes(self) -> bool:
        """Whether there is something to put back."""
        return bool(self._old)

    async def decline(self, reason: str, views: Mapping[str, View]) -> float:
        """Borrow nothing, and say why in the report; returns the node timeout in force now, in seconds.

        Where somebody holds keys the cluster is in use, and this run may take long: what an earlier run
        left low is raised at once. Elections are allowed again at the end, and what can only be guessed
        waits until then as well: the run that knows may still be at work.
        """
        self._reason = reason
        known = {name: old for name, old in self._old.items() if name not in self._guessed}
        if not any(view.keys for view in views.values()):
            known = {}
        failed = await self._put(_timers(known), seconds=2.0)
        raised = [number(known[name].get(TIMEOUT, "")) / 1000 for name in known.keys() - failed.keys()]
        return max([*raised, *(view.node_timeout for view in views.values())])

    async def borrow(self, views: Mapping[str, View]) -> float:
        """Lower the timers of all nodes; returns the node timeout in force now, in seconds.

        A node that refuses CONFIG SET keeps its own and is told of in the report.
        """
        fresh = await self._look_again()
        self._set = lowered(len(views))
        low = int(self._set[TIMEOUT])
        outdated: list[str] = []
        for name, view in views.items():
            if name not in self._old:
                self._old[name] = loan(view, fresh.get(name, view.config))
                # What an interrupted run wrote down of a server that was there before this one.
                own = {RUN_ID: view.run_id, **self._old[name]}
                recorded = self._recorded.get(self._addresses[name], {})
                if any(recorded.get(key, value) != value for key, value in own.items()):
                    outdated.append(self._addresses[name])
        if not any(LOAD in old for old in self._old.values()):
            del self._set[LOAD]
        records = {
            self._addresses[name]: {RUN_ID: views[name].run_id, **old} for name, old in self._old.items()
        }
        try:
            if outdated:
                await asyncio.to_thread(self._ledger.forget, outdated)
            await asyncio.to_thread(self._ledger.remember, records)
        except OSError as failed:
            self._old = {name: old for name, old in self._old.items() if ours(views[name].config)}
            self._reason = f"the old timers cannot be written down: {failed.strerror or failed}"
            return max(view.node_timeout for view in views.values())

        async def one(name: str) -> float:
            old = self._old[name]
            keep_timeout = number(old.get(TIMEOUT, "")) <= low and not ours(views[name].config)
            wanted = {k: v for k, v in self._set.items() if k in old and not (k == TIMEOUT and keep_timeout)}
            try:
                replies = await self._fleet.ask(name, *(("CONFIG", "SET", k, v) for k, v in wanted.items()))
            except NodeFailed as failed:
                self._reason = failed.problems[0].message
                return views[name].node_timeout
            for (setting, _), reply in zip(wanted.items(), replies, strict=True):
                if isinstance(reply, Rejected):
                    self._reason = f"{name} refused CONFIG SET {setting}"
            return views[name].node_timeout if keep_timeout else low / 1000

        return max(await asyncio.gather(*(one(name) for name in views)))

    async def nudge(self) -> bool:
        """Let every node of a large cluster ping almost all others at once; False where that is not needed.

        A ping carries roles, and a node sends one to whomever nobody has vouched for during half its
        timeout (clusterProcessGossipSection renews pong_received). With a timeout that stays low all nodes
        vouch for all others all the time, and a view can stay stale for minutes; one that is low for a
        moment after some quiet seconds makes them ask for themselves.
        """
        low = nudged(len(self._addresses))
        if low is None or TIMEOUT not in self._set:
            return False
        back = int(self._set[TIMEOUT])

        async def one(name: str, own: int) -> None:
            await self._ask(name, ("CONFIG", "SET", TIMEOUT, low), seconds=5.0)
            await asyncio.sleep(NUDGE_SECONDS)
            await self._ask(name, ("CONFIG", "SET", TIMEOUT, str(min(back, own))), seconds=5.0)

        own = {name: number(old.get(TIMEOUT, "")) for name, old in self._old.items()}
        high = {name: str(min(back, value)) for name, value in own.items() if value > int(low)}
        await asyncio.gather(*(one(name, own[name]) for name in await self._still(high)))
        return True

    async def ease(self) -> float | None:
        """Raise the lowered timeouts fourfold, since nothing moves: nodes short of CPU lose their links.

        Returns the node timeout then in force, in seconds, or None where none was lowered.
        """
        lowered_to = int(self._set.get(TIMEOUT, "0"))
        timeout = eased(lowered_to)
        own = {name: number(old.get(TIMEOUT, "")) for name, old in self._old.items()}
        wanted = {name: min(timeout, value) for name, value in own.items() if value > lowered_to > 0}
        wanted = {name: wanted[name] for name in await self._still(dict.fromkeys(wanted, str(lowered_to)))}
        if not wanted:
            return None
        self._set[TIMEOUT] = str(timeout)
        await asyncio.gather(
            *(
                self._ask(name, ("CONFIG", "SET", TIMEOUT, str(value)), seconds=5.0)
                for name, value in wanted.items()
            )
        )
        return max(wanted.values()) / 1000

    async def give_back(self, *, patient: bool) -> BoostReport:
        """Put every old value back and read it back; elections are allowed again last.

        `patient` waits for as long as the caller lets it until nobody lists a failing node; without
        it the flag stays where somebody does, and the report says so.
        """
        # Cut short, the run has a second or two left in all, however many nodes have stopped answering.
        seconds = 2.0 if patient else max(0.3, len(self._old) / 1000)
        if patient and self._guessed:
            # Two runs find the cluster Ready at the same moment: the one that knows goes first.
            await asyncio.sleep(0.5)
        await self._look_again(seconds)
        self._warn_of_guesses()
        failed = await self._put(_timers(self._old), seconds)
        while self._old:
            calm = await self._calm(seconds)
            if calm or not patient:
                break
            await asyncio.sleep(0.1)
        last = {
            name: {NO_FAILOVER: old[NO_FAILOVER]} for name, old in self._old.items() if NO_FAILOVER in old
        }
        if self._old and not calm:
            failed |= dict.fromkeys(last, f"{NO_FAILOVER} stays on while somebody lists a failing node")
        else:
            failed |= await self._put(last, seconds)
        back = [name for name in self._old if name not in failed]
        self._restored = len(back)
        await asyncio.to_thread(self._ledger.forget, [self._addresses[name] for name in back])
        if failed:
            name, self._reason = next(iter(failed.items()))
            self._warn_not_back(f"{len(failed)} of {count(len(self._old), 'node')}", name)
        return self.report()

    def abandon(self) -> BoostReport:
        """Stop putting things back because there is no time left; says so."""
        if self._old:
            self._reason = "there was no time to put them back"
            self._warn_not_back("some nodes may", next(iter(self._old)))
        return self.report()

    def _warn_not_back(self, who: str, name: str) -> None:
        self.warnings.append(
            Problem(
                "not-given-back",
                f"{who} lack their old timers: {name}: {self._reason}.",
                node=name,
                hint="run 'clusterboot up' again: it puts them back",
                exit=Exit.DONE,
            )
        )

    def _warn_of_guesses(self) -> None:
        for name in sorted(self._guessed & self._old.keys()):
            self.warnings.append(
                Problem(
                    "lowered-timers-found",
                    f"{name} still has the timers that an interrupted run lowered, and no record "
                    f"says what they were: they are set to the servers' defaults ({TIMEOUT} 15000).",
                    node=name,
                    hint="set other values again if its configuration has other ones",
                    exit=Exit.DONE,
                )
            )

    def report(self) -> BoostReport:
        """Return what was changed and put back so far."""
        return BoostReport(
            used=bool(self._set) and bool(self._old),
            settings=self._set,
            nodes=len(self._old),
            restored=self._restored,
            reason=self._reason,
        )

    async def _look_again(self, seconds: float = 2.0) -> dict[str, dict[str, str]]:
        """Leave alone what the run that lowered it has put back itself: only it knew the old values.

        Two runs at once from different machines have no record in common. Whoever is first to end sets
        defaults where it can only guess, and the owner of the true values still comes. Returns the
        settings of the nodes that are left alone, as they are now.
        """
        fresh: dict[str, dict[str, str]] = {}

        async def one(name: str) -> None:
            old = self._old[name]
            replies = await self._ask(name, *(("CONFIG", "GET", key) for key in DEFAULTS), seconds=seconds)
            now = {
                key: str(reply[1])
                for key, reply in zip(DEFAULTS, replies if not isinstance(replies, str) else (), strict=False)
                if isinstance(reply, list) and len(reply) == 2
            }
            if TIMEOUT not in now or (ours(now) and TIMEOUT in old):
                return
            if TIMEOUT in old:
                # Elections come last: they may still be off, and are not to stay off.
                self._old[name] = {NO_FAILOVER: old[NO_FAILOVER]} if NO_FAILOVER in old else {}
            if now.get(NO_FAILOVER) != "yes" or not self._old[name]:
                del self._old[name]
                self._guessed.discard(name)
                fresh[name] = now

        await asyncio.gather(*(one(name) for name in sorted(self._guessed & self._old.keys())))
        return fresh

    async def _put(self, wanted: Mapping[str, Settings], seconds: float) -> dict[str, str]:
        """Set and read back; returns why for each node where it did not work."""

        async def one(name: str, settings: Settings) -> str | None:
            sets = [("CONFIG", "SET", key, value) for key, value in settings.items()]
            gets = [("CONFIG", "GET", key) for key in settings]
            replies = await self._ask(name, *sets, *gets, seconds=seconds)
            if isinstance(replies, str):
                # A kept connection may have died while the node was restarted: once more on a new one.
                replies = await self._ask(name, *sets, *gets, seconds=seconds / 2)
            if isinstance(replies, str):
                return replies
            for (key, value), reply in zip(settings.items(), replies[len(sets) :], strict=True):
                if not isinstance(reply, list) or len(reply) != 2 or str(reply[1]) != value:
                    return f"{key} is not {value}"
            return None

        names = [name for name, settings in wanted.items() if settings]
        results = await asyncio.gather(*(one(name, wanted[name]) for name in names))
        return {name: why for name, why in zip(names, results, strict=True) if why is not None}

    async def _calm(self, seconds: float) -> bool:
        """Whether no node finds a primary failing: only then may elections be allowed again."""

        async def one(name: str) -> bool:
            replies = await self._ask(name, CLUSTER_INFO, seconds=seconds)
            if isinstance(replies, str):
                return False
            fields = parse_fields(replies[0] if isinstance(replies[0], str) else "")
            return all(fields.get(f"cluster_slots_{what}", "0") == "0" for what in ("pfail", "fail"))

        return all(await asyncio.gather(*(one(name) for name in self._old)))

    async def _still(self, timeouts: Mapping[str, str]) -> list[str]:
        """Return the nodes that have the timeout which this run has set: another run may have raised it."""
        command = ("CONFIG", "GET", TIMEOUT)
        replies = await asyncio.gather(*(self._ask(name, command, seconds=5.0) for name in timeouts))
        return [
            name
            for (name, timeout), reply in zip(timeouts.items(), replies, strict=True)
            if not isinstance(reply, str) and isinstance(reply[0], list) and reply[0][1:] == [timeout]
        ]

    async def _ask(self, name: str, *commands: Command, seconds: float) -> list[Reply] | str:
        """The replies of a node, connecting included within `seconds`; else why there are none."""
        try:
            async with asyncio.timeout(seconds):
                return await self._fleet.ask(name, *commands)
        except NodeFailed as failed:
            return failed.problems[0].message.removesuffix(".")
        except TimeoutError:
            return f"{name} did not answer within {seconds:g} s"


def _timers(old: Mapping[str, Settings]) -> dict[str, Settings]:
    """Everything of `old`, by node name, but what allows elections: that comes last."""
    return {
        name: {key: value for key, value in settings.items() if key != NO_FAILOVER}
        for name, settings in old.items()
    }
