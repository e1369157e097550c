"""Restoring lowered settings, on a model with a clock of its own: when what is restored, and what waits.

Servers show what the order is good for (tests/servers/test_boost.py); here every moment can be chosen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from clusterboot.core.borrowed import own_to_hold, to_hold
from clusterboot.core.timers import BARRIER, DELAY, LOAD, MIGRATION, NO_FAILOVER, TIMEOUT, kept, to_lower
from clusterboot.errors import Exit, NodeFailed, Problem
from clusterboot.loop.restore import CALM_SECONDS, Restoring
from clusterboot.wire.replies import Command, Rejected, Reply
from tests.harness import virtual

OWN = {TIMEOUT: "5000", DELAY: "5", LOAD: "disabled", NO_FAILOVER: "no", BARRIER: "1"}
PRIMARIES = {"a": None, "b": None, "c": None, "d": "a", "e": "b", "f": "c"}
ALWAYS = (0.0, float("inf"))
# Twice the own timeout and a second, from when timeouts are restored.
BOUND = CALM_SECONDS + 2 * 5 + 1


@dataclass
class Model:
    """Six nodes that a run has left lowered; times are in seconds since the start."""

    failing: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    silent: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    seen_by: frozenset[str] = frozenset(PRIMARIES)
    old: bool = False
    refuses: Mapping[str, str] = field(default_factory=dict)
    odd: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    flag: str = "fail"
    slow: Mapping[str, float] = field(default_factory=dict)
    deaf: str = ""  # who does not answer CONFIG SET
    at: dict[float, Callable[[Model], None]] = field(default_factory=dict)
    syncing: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        low = to_lower(OWN, 537)
        assert low is not None
        self.config = {name: {**OWN, **low} for name in PRIMARIES}
        self.set: list[tuple[float, str, str, str]] = []
        self.asked: set[Command] = set()
        self.ended = 0.0
        self.ids = {name: f"{index:040x}" for index, name in enumerate(PRIMARIES, 1)}

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time() - 1000.0

    def ip(self, name: str) -> str:
        return "192.0.2.1"

    def add(self, node: object) -> None:
        raise AssertionError(node)

    def _is(self, when: Mapping[str, tuple[float, float]], name: str) -> bool:
        since, until = when.get(name, (0.0, 0.0))
        return since <= self.now < until

    async def ask(self, name: str, *commands: Command, timeout: float = 5.0) -> list[Reply]:
        self.asked |= set(commands)
        await asyncio.sleep(self.slow.get(name, 0.001))
        for moment in [each for each in self.at if each <= self.now]:
            self.at.pop(moment)(self)
        if self._is(self.silent, name) or (name in self.deaf and commands[0][1] == "SET"):
            await asyncio.sleep(timeout)
            raise NodeFailed(Problem("not-answering", f"{name} is silent.", node=name, exit=Exit.NODE))
        return [self._do(name, command) for command in commands]

    def _do(self, name: str, command: Command) -> Reply:
        match command:
            case ("CLUSTER", _) if self._is(self.odd, name):
                return Rejected("ERR something that nobody has ever seen")
            case ("CONFIG", "GET", *keys) if len(keys) == 1 or not self.old:
                own = self.config[name]
                return [word for key in keys if key in own for word in (key, own[key])]
            case ("CONFIG", "SET", *words) if len(words) == 2 or not self.old:
                if self.refuses.get(name) in words:
                    return Rejected("ERR Invalid argument")
                for key, value in zip(words[::2], words[1::2], strict=True):
                    self.config[name][key] = value
                    self.set.append((self.now, name, key, value))
                return "OK"
            case ("CONFIG", *_):
                return Rejected("ERR Wrong number of arguments for CONFIG get")
            case ("INFO", "replication"):
                link = "down" if self._is(self.syncing, name) else "up"
                return (
                    f"role:slave\r\nmaster_link_status:{link}\r\n" if PRIMARIES[name] else "role:master\r\n"
                )
            case ("CLUSTER", "INFO"):
                trouble = name in self.seen_by and any(self._is(self.failing, other) for other in PRIMARIES)
                what = "pfail" if self.flag == "fail?" else "fail"
                return f"cluster_state:ok\r\ncluster_slots_{what}:{5461 if trouble else 0}\r\n"
            case ("CLUSTER", "NODES"):
                return "".join(self._line(name, other) for other in PRIMARIES)
        return Rejected("ERR unknown command")

    def _line(self, teller: str, name: str) -> str:
        primary = PRIMARIES[name]
        fails = name != teller and teller in self.seen_by and self._is(self.failing, name)
        flags = ("myself," if name == teller else "") + ("slave" if primary else "master")
        head = self.ids[primary] if primary else "-"
        return f"{self.ids[name]} 192.0.2.1:1@2 {flags}{f',{self.flag}' * fails} {head} 0 0 1 connected\n"

    def when(self, name: str, key: str) -> float:
        """When a setting of a node was last set to its own value."""
        return max(time for time, *rest in self.set if rest == [name, key, OWN[key]])


def restore(
    model: Model,
    *,
    linger: float = 0.0,
    within: float = 200.0,
    calm: float = CALM_SECONDS,
    lowered: Mapping[str, Mapping[str, str]] | None = None,
) -> Restoring:
    """Run a `Restoring` over the model, cancelled `within` seconds."""

    async def work() -> Restoring:
        restoring = Restoring(model, PRIMARIES, lowered)
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await restoring.run(calm=calm, linger=linger)
        model.ended = model.now
        return restoring

    return virtual.run(work())


@pytest.mark.parametrize("old", [False, True])
def test_in_calm_all_is_restored_at_once_and_elections_after_every_timeout(old: bool) -> None:
    model = Model(old=old)
    restoring = restore(model)
    assert all(config == OWN for config in model.config.values())
    assert sorted(restoring.restored) == list(PRIMARIES)
    assert restoring.left == {}
    assert not restoring.waited
    assert ("CLUSTER", "NODES") not in model.asked, "a long reply, and of no use in calm"
    assert model.ended < 0.2
    first_election = min(model.when(name, NO_FAILOVER) for name in PRIMARIES)
    assert max(time for time, _, key, _ in model.set if key == TIMEOUT and time < first_election) > 0
    timeouts = [min(t for t, n, key, _ in model.set if (n, key) == (name, TIMEOUT)) for name in PRIMARIES]
    assert max(timeouts) < first_election


def test_timeouts_wait_for_calm_for_a_moment() -> None:
    model = Model(failing={"a": (0.0, 0.7)})
    assert restore(model).waited
    assert all(config == OWN for config in model.config.values())
    assert 0.7 <= min(time for time, *_ in model.set) < 0.9


def test_a_silent_node_is_no_calm() -> None:
    """It is not found failing yet when it has just stopped."""
    model = Model(silent={"a": (0.0, 1.05)})  # longer than the first look waits for it
    restore(model)
    assert all(config == OWN for config in model.config.values())
    assert min(time for time, *_ in model.set) >= 1.05


def test_a_node_that_does_not_say_whether_anything_fails_is_no_calm() -> None:
    model = Model(odd={"a": (0.0, 0.7)})
    restore(model)
    assert all(config == OWN for config in model.config.values())
    assert 0.7 <= min(time for time, *_ in model.set) < 0.9


def test_who_does_not_wait_for_calm_waits_for_elections_all_the_same() -> None:
    model = Model(failing={"a": (0.0, 3.0)})
    assert restore(model, calm=0.0).waited
    assert model.when("a", NO_FAILOVER) < 0.1
    assert 3.0 <= model.when("d", NO_FAILOVER) < 3.3


def test_a_slow_answer_is_one_and_nobody_is_waited_for_when_none_answers() -> None:
    model = Model(slow={"a": 0.5})
    assert restore(model).left == {}
    nobody = Model(silent=dict.fromkeys(PRIMARIES, ALWAYS))
    assert sorted(restore(nobody).left) == list(PRIMARIES)
    assert nobody.ended < 3.0


@pytest.mark.parametrize("seen_by", [frozenset(PRIMARIES), frozenset("b"), frozenset("f")])
def test_only_the_replica_of_a_failing_primary_waits_until_no_node_finds_it_failing(
    seen_by: frozenset[str],
) -> None:
    model = Model(failing={"a": (0.0, 8.0)}, seen_by=seen_by)
    restore(model)
    assert all(config == OWN for config in model.config.values())
    for name in "abcef":
        assert CALM_SECONDS <= model.when(name, NO_FAILOVER) < CALM_SECONDS + 0.3
    assert 8.0 <= model.when("d", NO_FAILOVER) < 8.3
    assert model.when("d", TIMEOUT) >= model.when("d", NO_FAILOVER), "in one step with the rest"


def test_a_primary_that_one_node_suspects_is_failing() -> None:
    model = Model(failing={"a": (0.0, 8.0)}, seen_by=frozenset("f"), flag="fail?")
    restore(model)
    assert 8.0 <= model.when("d", NO_FAILOVER) < 8.3


def test_a_node_whose_primary_is_not_known_waits_as_long_as_any_fails() -> None:
    model = Model(failing={"a": (0.0, 6.0)}, odd={"e": (0.0, 5.0)})
    restore(model)
    assert 5.0 <= model.when("e", NO_FAILOVER) < 5.3


def test_what_a_node_had_before_it_fell_silent_is_not_taken_for_what_it_has() -> None:
    """It was started again, or its values were set by hand meanwhile."""
    own = {**OWN, TIMEOUT: "7000"}
    model = Model(
        failing={"a": (0.0, 5.0)},
        silent={"d": (1.45, 2.45)},  # so that it answers again right after a look that it has missed
        at={2.0: lambda model: model.config["d"].update(own)},
    )
    restore(model)
    assert model.config["d"] == own
    assert not [name for _, name, *_ in model.set if name == "d"]


def test_the_replica_of_a_dead_primary_waits_for_twice_the_timeout_and_no_longer() -> None:
    model = Model(failing={"a": ALWAYS})
    restore(model)
    assert all(config == OWN for config in model.config.values())
    assert BOUND <= model.when("d", NO_FAILOVER) < BOUND + 0.3


def test_a_node_that_answers_late_is_restored_while_somebody_lingers() -> None:
    silent = {"a": (0.0, 40.0)}
    model = Model(silent=silent)
    assert restore(model, linger=60).left == {}
    assert model.config["a"] == OWN
    again = Model(silent=silent)
    left = restore(again).left
    assert list(left) == ["a"]
    assert "a" in left["a"]
    assert again.ended < BOUND + 1
    assert all(again.config[name] == OWN for name in "bcdef")


def test_a_silent_node_holds_up_nobody_else() -> None:
    model = Model(silent={"a": ALWAYS})
    restore(model)
    assert max(model.when(name, NO_FAILOVER) for name in "bcdef") < CALM_SECONDS + 1.5


def test_a_node_that_does_not_answer_what_is_set_holds_up_nobody_for_long() -> None:
    model = Model(deaf="a")
    assert list(restore(model).left) == ["a"]
    assert max(model.when(name, NO_FAILOVER) for name in "bcdef") < 1.5


def test_what_is_not_marked_is_not_touched() -> None:
    model = Model()
    own = {**OWN, NO_FAILOVER: "yes", TIMEOUT: "2037"}
    model.config["b"] = dict(own)
    restore(model)
    assert model.config["b"] == own
    assert not [name for _, name, *_ in model.set if name == "b"]


def test_a_value_that_is_set_by_hand_in_between_stays() -> None:
    model = Model(failing={"a": (0.0, 5.0)}, at={3.0: lambda model: model.config["d"].update({DELAY: "2"})})
    restore(model)
    assert model.config["d"] == OWN | {DELAY: "2"}


@pytest.mark.parametrize(
    "by_hand",
    [{BARRIER: "3"}, {BARRIER: "3", TIMEOUT: "8000"}, {NO_FAILOVER: "no", TIMEOUT: "8000"}, dict(OWN)],
    ids=["mark", "mark and timeout", "all but the mark", "started again"],
)
def test_a_run_that_goes_on_restores_a_node_whose_mark_is_gone(by_hand: dict[str, str]) -> None:
    """It knows the own values of what it has lowered, and waits with elections as for all others."""
    model = Model(failing={"a": (0.0, 8.0)})
    model.config["d"].update(by_hand)
    restoring = restore(model, lowered=dict.fromkeys(PRIMARIES, OWN))
    assert model.config == {**dict.fromkeys(PRIMARIES, OWN), "d": {**OWN, **by_hand}}
    assert sorted(restoring.restored) == list(PRIMARIES)
    assert restoring.left == {}
    if NO_FAILOVER not in by_hand:
        assert model.when("d", NO_FAILOVER) >= 8.0


def test_a_node_whose_mark_is_gone_and_that_refuses_is_named() -> None:
    model = Model(refuses={"c": BARRIER})
    model.config["c"].update({BARRIER: "3"})
    restoring = restore(model, lowered=dict.fromkeys(PRIMARIES, OWN))
    assert list(restoring.left) == ["c"]
    assert restoring.left["c"].startswith("c refused CONFIG SET ")
    assert sorted(restoring.restored) == list("abdef")


def test_another_run_that_lowers_in_between_leaves_no_node_low_without_a_mark() -> None:
    low = to_lower(OWN, 537)
    assert low is not None
    model = Model(failing={"a": (0.0, 5.0)}, at={3.0: lambda model: model.config["d"].update(low)})
    restore(model)
    assert model.config["d"] == OWN


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("key", [TIMEOUT, DELAY, NO_FAILOVER, BARRIER])
def test_a_node_that_refuses_is_named_and_stays_marked(old: bool, key: str) -> None:
    model = Model(old=old, refuses={"c": key})
    restoring = restore(model)
    assert list(restoring.left) == ["c"]
    assert restoring.left["c"].startswith("c refused CONFIG SET ")
    assert all(model.config[name] == OWN for name in "abdef")
    assert kept(model.config["c"]) == OWN, "the next run can still restore it"


def _holds(model: Model, *names: str, elections: bool = True, migration: bool = True) -> dict[str, str]:
    """Let only these nodes be held, and no timer be lowered; returns the own values of all."""
    own = {**OWN, MIGRATION: "yes"}
    model.config = {name: dict(own) for name in PRIMARIES}
    for name in names:
        held = own_to_hold(own, elections=elections, migration=migration)
        model.config[name] |= to_hold(held, own) or {}
    return own


@pytest.mark.parametrize("old", [False, True])
def test_what_is_held_comes_back_at_once(old: bool) -> None:
    model = Model(old=old)
    own = _holds(model, "a", "d")
    restoring = restore(model)
    assert all(config == own for config in model.config.values())
    assert (sorted(restoring.restored), restoring.left, restoring.waited) == (["a", "d"], {}, False)
    assert {key for _, _, key, _ in model.set} == {NO_FAILOVER, MIGRATION, BARRIER}
    assert model.ended < 0.2


def test_elections_that_are_held_wait_for_the_sync_of_their_node_alone() -> None:
    model = Model(syncing={"d": (0.0, 4.0), "e": (0.0, 4.0)})
    own = _holds(model, "d", "f")
    model.config["e"] |= to_hold(own_to_hold(own, elections=False, migration=True), own) or {}
    restoring = restore(model)
    assert all(config == own for config in model.config.values())
    assert 4.0 <= model.when("d", NO_FAILOVER) < 4.3
    assert model.when("f", NO_FAILOVER) < 0.2
    assert min(time for time, name, *_ in model.set if name == "e") < 0.2, "migration waits for nothing"
    assert restoring.waited


def test_and_for_the_sync_no_longer_than_for_a_failing_primary() -> None:
    model = Model(syncing={"d": ALWAYS})
    _holds(model, "d")
    restore(model)
    assert 2 * 5 + 1 <= model.when("d", NO_FAILOVER) < 2 * 5 + 1.3
    model = Model(syncing={"d": ALWAYS})
    _holds(model, "d")
    assert restore(model, within=2.0).left == {"d": "the sync of d is not done"}


def test_a_lowered_replica_out_of_sync_is_not_waited_for() -> None:
    model = Model(syncing={"d": ALWAYS})
    assert not restore(model).waited


def test_cut_off_it_tells_what_is_left() -> None:
    model = Model(failing={"a": ALWAYS})
    restoring = restore(model, within=1.0)
    assert set(restoring.left) == set(PRIMARIES)
    assert restoring.restored == []
    model = Model(failing={"a": ALWAYS})
    restoring = restore(model, within=2.5)
    assert set(restoring.left) == {"d"}
    assert "failing" in restoring.left["d"]
    assert sorted(restoring.restored) == ["a", "b", "c", "e", "f"]
