"""The boost on the model: what is lowered and what is not, said and owed; nudging, easing and restoring."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Mapping
from typing import Any

import pytest

from clusterboot.core.borrowed import own_to_hold, to_hold
from clusterboot.core.results import BoostReport
from clusterboot.core.timers import (
    BARRIER,
    DELAY,
    LOAD,
    MIGRATION,
    NO_FAILOVER,
    NUDGE_SECONDS,
    TIMEOUT,
    kept,
    lowered,
    mark,
)
from clusterboot.core.views import View
from clusterboot.errors import Exit, Interrupted, NodeFailed, OutOfTime
from clusterboot.loop.boost import GRACE, Boost
from clusterboot.loop.configure import Configurator
from clusterboot.loop.observe import survey
from clusterboot.wire.replies import Rejected
from tests.harness import virtual
from tests.harness.scripted import OLD, Act
from tests.loop.test_order import Fleet, Helper, Old

AWAY = [Act("silence")] * 999
Work = Callable[[Boost, Mapping[str, View]], Generator[Any, Any, None]]


def play(fleet: Fleet, work: Work, helper: Helper | None = None) -> Boost:
    """Look at all nodes of a fleet, and await what `work` yields, one after the other."""

    async def main() -> Boost:
        boost = Boost(fleet, fleet.nodes, helper)
        steps = work(boost, (await survey(fleet, fleet.nodes)).views)
        answer = None
        while True:
            try:
                answer = await steps.send(answer)
            except StopIteration:
                return boost

    return virtual.run(main())


def now() -> float:
    return asyncio.get_running_loop().time()


def timeouts(fleet: Fleet, name: str) -> list[str]:
    """The timeouts that a node was given, in order."""
    sets = [
        sent.command for sent in fleet.sent if sent.node == name and sent.command[:2] == ("CONFIG", "SET")
    ]
    return [words[words.index(TIMEOUT) + 1] for words in sets if TIMEOUT in words]


def test_a_boost_tells_what_it_lowered_and_restored() -> None:
    fleet = Fleet("abc")

    def work(boost: Boost, views: Mapping[str, View]) -> Any:
        assert (yield boost.lower(views)) == 0.537
        assert boost.owes
        low = {**lowered(3), BARRIER: mark(OLD)}
        assert boost.report() == BoostReport(used=True, settings=low, nodes=3, restored=0, reason=None)
        assert (yield boost.restore()) is True
        assert boost.report() == BoostReport(used=True, settings=low, nodes=3, restored=3, reason=None)
        yield boost.restore()
        assert boost.report().restored == 3, "as before"

    boost = play(fleet, work)
    assert (fleet.lowered, boost.left, boost.warnings) == ([], None, [])


def test_marks_that_differ_are_not_told_and_what_nobody_gains_by_is_not_lowered() -> None:
    fleet = Fleet("ab")
    fleet.nodes["b"].config[TIMEOUT] = "8000"
    for node in fleet.nodes.values():
        node.config[LOAD] = "swapdb"

    def work(boost: Boost, views: Mapping[str, View]) -> Any:
        assert (yield boost.lower(views)) == 0.537
        settings = boost.report().settings
        assert settings[BARRIER] == "another on each node"
        assert LOAD not in settings
        assert {node.config[LOAD] for node in fleet.nodes.values()} == {"swapdb"}

    play(fleet, work)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({DELAY: "32"}, f"b has {DELAY} 32, which a mark cannot keep"),
        ({TIMEOUT: None}, f"b has {TIMEOUT} hidden, which a mark cannot keep"),
    ],
)
def test_what_does_not_fit_at_the_moment_of_lowering_is_left_and_named(
    settings: Mapping[str, str | None], reason: str
) -> None:
    fleet = Fleet("ab")
    b = fleet.nodes["b"]

    def work(boost: Boost, views: Mapping[str, View]) -> Any:
        b.config = {key: value for key, value in {**OLD, **settings}.items() if value is not None}
        before = dict(b.config)
        assert (yield boost.lower(views)) == 15.0
        assert b.config == before
        assert kept(fleet.nodes["a"].config) == OLD
        assert (boost.report().nodes, boost.report().reason) == (1, reason)

    play(fleet, work)


def test_a_node_that_refuses_to_be_lowered_owes_nothing_and_is_named() -> None:
    fleet = Fleet("ab")
    fleet.instead = lambda name, command: (
        Rejected("ERR no") if (name, *command[:2]) == ("b", "CONFIG", "SET") else None
    )

    def work(boost: Boost, views: Mapping[str, View]) -> Any:
        assert (yield boost.lower(views)) == 15.0
        assert boost.report().nodes == 1
        assert boost.report().reason == f"b refused CONFIG SET {BARRIER}: ERR no"

    play(fleet, work)


def test_a_node_that_takes_a_part_and_the_mark_is_owed() -> None:
    fleet = Fleet("ab")

    def refuse(name: str, command: Any) -> Any:
        """Of what is set at once it leaves the delay out."""
        if (name, *command[:2]) == ("b", "CONFIG", "SET") and DELAY in command:
            words = [*command[2:]]
            at = words.index(DELAY)
            fleet.nodes["b"].config |= dict(zip(words[::2], words[1::2], strict=True)) | {DELAY: "5"}
            assert words[at + 1] == "0"
            return "OK"
        return None

    fleet.instead = refuse

    def work(boost: Boost, views: Mapping[str, View]) -> Any:
        assert (yield boost.lower(views)) == 0.537
        assert boost.report().nodes == 2
        assert boost.report().reason == f"b refused CONFIG SET {DELAY}"

    play(fleet, work)


def test_what_somebody_sets_between_lowering_and_reading_back_stays_and_the_rest_is_owed() -> None:
    fleet = Fleet("ab")
    by_hand = {NO_FAILOVER: "no", TIMEOUT: "1500"}

    def lower(name: str, command: Any) -> Any:
        if (name, *command[:2]) == ("b", "CONFIG", "SET") and "yes" in command:
            words = [*command[2:]]
            fleet.nodes["b"].config |= dict(zip(words[::2], words[1::2], strict=True)) | by_hand
            return "OK"
        return None

    fleet.instead = lower

    def work(boost: Boost, views: Mapping[str, View]) -> Any:
        yield boost.lower(views)
        yield boost.restore()
        assert fleet.nodes["b"].config == OLD | by_hand

    play(fleet, work)


def test_on_older_servers_too_what_somebody_sets_in_between_stays() -> None:
    fleet = Fleet("ab")
    by_hand = {NO_FAILOVER: "no", TIMEOUT: "1500"}

    def old(name: str, command: Any) -> Any:
        """One setting in a command; by hand comes right after the last one of the boost."""
        if command[0] == "CONFIG" and len(command) > (3 if command[1] == "GET" else 4):
            return Rejected("ERR Wrong number of arguments for CONFIG")
        if (name, *command[:3]) == ("b", "CONFIG", "SET", TIMEOUT) and command[3] == "537":
            fleet.nodes["b"].config |= by_hand
            return "OK"
        return None

    fleet.instead = old

    def work(boost: Boost, views: Mapping[str, View]) -> Any:
        yield boost.lower(views)
        yield boost.restore()
        assert fleet.nodes["b"].config == OLD | by_hand

    play(fleet, work)


def test_a_node_that_falls_silent_while_it_is_lowered_is_named() -> None:
    fleet = Fleet("ab")

    def work(boost: Boost, views: Mapping[str, View]) -> Any:
        fleet.then("b", *AWAY)
        assert (yield boost.lower(views)) == 15.0
        assert (boost.report().nodes, boost.report().reason) == (1, "b is away.")

    play(fleet, work)


def test_what_another_run_left_is_restored_at_once_where_a_node_has_keys() -> None:
    fleet = Fleet("abc")
    fleet.low()
    fleet.keys = {"b"}

    def work(boost: Boost, views: Mapping[str, View]) -> Any:
        boost.notice(views)
        assert boost.owes
        assert (yield boost.decline("b already serves", views)) == 15.0
        assert fleet.lowered == []
        told = BoostReport(used=False, settings={}, nodes=3, restored=3, reason="b already serves")
        assert boost.report() == told
        yield boost.restore()
        assert boost.report() == told, "as before"

    play(fleet, work)


def test_a_run_that_is_cut_short_knows_what_it_has_lowered_where_the_mark_is_gone() -> None:
    fleet = Fleet("abc")

    def work(boost: Boost, views: Mapping[str, View]) -> Any:
        yield boost.lower(views)
        fleet.nodes["b"].config[BARRIER] = "3"
        yield boost.restore_within_grace()
        assert fleet.nodes["b"].config == OLD | {BARRIER: "3"}
        assert boost.left is None

    play(fleet, work)


@pytest.mark.parametrize("silent", [True, False])
def test_a_signal_while_a_run_is_cut_short_does_not_stop_restoring(*, silent: bool) -> None:
    fleet = Fleet("abc")

    def work(boost: Boost, views: Mapping[str, View]) -> Any:
        yield boost.lower(views)
        if silent:
            fleet.then("b", *AWAY)
        task = asyncio.ensure_future(boost.restore_within_grace())
        yield asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(Interrupted if silent else asyncio.CancelledError):
            yield from _awaited(task)
        assert fleet.lowered == (["b"] if silent else [])
        assert (boost.left is not None) == silent

    play(fleet, work)


def test_a_node_that_cannot_be_reached_is_left_with_the_reason() -> None:
    fleet = Fleet("abc")

    def work(boost: Boost, views: Mapping[str, View]) -> Any:
        yield boost.lower(views)
        fleet.then("b", *[Act("lost")] * 999)
        yield boost.restore_within_grace()
        assert boost.left is not None
        assert boost.left.message == "b may still have lowered settings, with elections off: b is away."

    play(fleet, work)


@pytest.mark.parametrize(("low", "keys"), [(True, False), (False, True)])
def test_otherwise_a_run_that_declines_changes_nothing(*, low: bool, keys: bool) -> None:
    fleet = Fleet("abc")
    if low:
        fleet.low()
    fleet.keys = {"b"} if keys else set()
    before = {name: dict(node.config) for name, node in fleet.nodes.items()}

    def work(boost: Boost, views: Mapping[str, View]) -> Any:
        boost.notice(views)
        boost.notice({})  # what was found is not forgotten
        assert (yield boost.decline("switched off", views)) == (0.537 if low else 15.0)
        assert {name: node.config for name, node in fleet.nodes.items()} == before
        assert boost.report().reason == "switched off"
        assert boost.owes == low

    play(fleet, work)
    assert fleet.changes == []


def test_a_silent_node_does_not_hold_up_a_run_that_declines() -> None:
    fleet = Fleet("abc")
    fleet.low()
    fleet.keys = {"b"}

    def work(boost: Boost, views: Mapping[str, View]) -> Any:
        boost.notice(views)
        fleet.then("c", *AWAY)
        began = now()
        assert (yield boost.decline("b already serves", views)) == 15.0
        assert now() - began == 5.0
        assert fleet.lowered == ["c"]

    play(fleet, work)


MANY = tuple(f"n{number}" for number in range(81))


def test_large_clusters_are_nudged_and_a_node_of_a_lower_timeout_is_not() -> None:
    fleet = Fleet(MANY)
    fleet.nodes["n5"].config[TIMEOUT] = "2037"

    def work(boost: Boost, views: Mapping[str, View]) -> Any:
        assert (yield boost.nudge()) is False, "before anything is lowered"
        assert (yield boost.lower(views)) == 14.037
        began = now()
        assert (yield boost.nudge()) is True
        assert NUDGE_SECONDS <= now() - began < NUDGE_SECONDS + 0.1
        assert {name: timeouts(fleet, name) for name in MANY} == {
            **{name: ["14037", "2037", "14037"] for name in MANY},
            "n5": ["2037"],
        }

    play(fleet, work)


def test_small_clusters_are_not_nudged() -> None:
    fleet = Fleet("abc")

    def work(boost: Boost, views: Mapping[str, View]) -> Any:
        yield boost.lower(views)
        assert (yield boost.nudge()) is False
        assert timeouts(fleet, "a") == ["537"]

    play(fleet, work)


def test_timeouts_are_eased_fourfold_each_time_as_far_as_their_own() -> None:
    fleet = Fleet("abc")
    fleet.nodes["b"].config[TIMEOUT] = "5000"
    fleet.nodes["c"].config[TIMEOUT] = "537"

    def work(boost: Boost, views: Mapping[str, View]) -> Any:
        assert (yield boost.ease()) is None, "before anything is lowered"
        yield boost.lower(views)
        assert (yield boost.ease()) == 2.037
        assert boost.report().settings[TIMEOUT] == "2037"
        assert (yield boost.ease()) == 8.037
        assert [timeouts(fleet, name)[1:] for name in "abc"] == [["2037", "8037"], ["2037", "5000"], []]
        assert all(kept(node.config) for node in fleet.nodes.values())

    play(fleet, work)


@pytest.mark.parametrize("acts", [AWAY, [Act("lost")], [Act(after=3.0)] * 3])
def test_a_node_that_is_silent_or_slow_or_restored_is_not_eased(acts: list[Act]) -> None:
    fleet = Fleet("ab")

    def work(boost: Boost, views: Mapping[str, View]) -> Any:
        yield boost.lower(views)
        fleet.nodes["a"].config |= {TIMEOUT: "15000"}  # another run is restoring it
        fleet.then("b", *acts)
        began = now()
        assert (yield boost.ease()) is None
        assert now() - began <= 5.0
        assert boost.report().settings[TIMEOUT] == "537"
        assert fleet.nodes["a"].config[TIMEOUT] == "15000"

    play(fleet, work)


def test_what_another_run_left_and_this_one_lowered_as_well_is_its_own() -> None:
    fleet = Fleet("abc")
    fleet.low()

    def work(boost: Boost, views: Mapping[str, View]) -> Any:
        boost.notice(views)
        yield boost.lower(views)
        yield boost.restore()

    boost = play(fleet, work)
    assert (fleet.lowered, boost.warnings) == ([], [])


def test_what_was_restored_for_another_run_is_said() -> None:
    fleet = Fleet("abc")
    for name in "ab":
        fleet.nodes[name].config |= {**lowered(3), BARRIER: mark(OLD) or ""}

    def work(boost: Boost, views: Mapping[str, View]) -> Any:
        boost.notice(views)
        yield boost.restore()

    (said,) = play(fleet, work).warnings
    assert (said.code, said.node, said.exit) == ("lowered-timers-found", "a", Exit.DONE)
    assert said.message == (
        "2 nodes had lowered settings of another run, active or interrupted; they are restored on a and b."
    )


@pytest.mark.parametrize("helped", [True, False])
def test_what_cannot_be_restored_is_an_error_that_says_who_goes_on(*, helped: bool) -> None:
    fleet = Fleet("abc")
    helper = Helper(fleet) if helped else None

    def work(boost: Boost, views: Mapping[str, View]) -> Any:
        yield boost.lower(views)
        fleet.instead = lambda name, command: (
            Rejected("ERR no") if (name, *command[:2]) == ("b", "CONFIG", "SET") else None
        )
        with pytest.raises(NodeFailed) as raised:
            yield from _awaited(boost.restore())
        assert raised.value.problems == (boost.left,)

    boost = play(fleet, work, helper)
    assert boost.left is not None
    assert (boost.left.code, boost.left.node, boost.left.exit) == ("not-given-back", "b", Exit.NODE)
    assert boost.left.message == (
        f"b may still have lowered settings, with elections off: b refused CONFIG SET {TIMEOUT}: ERR no."
    )
    assert boost.left.hint is not None
    assert boost.left.hint.startswith("wait for a helper process") == helped
    assert boost.left.hint.endswith("run 'clusterboot up', which restores them")
    assert helper is None or helper.dismissed == []


def test_a_node_that_does_not_answer_is_waited_for_as_long_as_the_caller_does() -> None:
    fleet = Fleet("abc")

    def work(boost: Boost, views: Mapping[str, View]) -> Any:
        yield boost.lower(views)
        fleet.then("b", *[Act("silence")] * 200)
        began = now()
        assert (yield boost.restore()) is False, "not all was calm"
        assert now() - began > 45, "longer than twice the timeout"

    boost = play(fleet, work)
    assert (fleet.lowered, boost.left) == ([], None)


def _awaited(work: Any) -> Any:
    """Await within `play`, so that what it raises comes out here."""
    task = asyncio.ensure_future(work)
    yield asyncio.wait([task])
    return task.result()


def test_a_run_that_is_cut_short_restores_what_it_can_in_time() -> None:
    fleet = Fleet("abc")

    def work(boost: Boost, views: Mapping[str, View]) -> Any:
        yield boost.lower(views)
        fleet.then("b", *AWAY)
        began = now()
        yield boost.restore_within_grace()
        assert now() - began <= GRACE + 0.01
        assert fleet.lowered == ["b"]
        began = now()
        yield boost.restore_within_grace()
        assert now() == began, "only once"

    play(fleet, work)


def test_what_is_left_is_told_with_any_end() -> None:
    fleet = Fleet("ab")

    def work(boost: Boost, views: Mapping[str, View]) -> Any:
        ended = OutOfTime()
        assert boost.to_raise(ended) is ended
        yield boost.lower(views)
        fleet.then("b", *AWAY)
        yield boost.restore_within_grace()
        left = boost.left
        assert left is not None
        told = NodeFailed(left)
        assert boost.to_raise(told) is told
        interrupted = boost.to_raise(asyncio.CancelledError())
        assert isinstance(interrupted, Interrupted)
        assert interrupted.problems == (left,)
        assert boost.warnings == []
        assert boost.to_raise(ended) is ended
        assert [(each.code, each.exit) for each in boost.warnings] == [("not-given-back", Exit.DONE)]

    play(fleet, work)


def test_a_lowered_node_whose_reply_was_lost_is_owed() -> None:
    fleet = Fleet("a")

    def work(boost: Boost, views: Mapping[str, View]) -> Any:
        fleet.then("a", Act(), Act("lost"))
        yield boost.lower(views)
        assert fleet.lowered == ["a"]
        assert boost.owes
        yield boost.restore()

    play(fleet, work)
    assert fleet.lowered == []


def test_own_values_are_those_of_the_moment_in_which_they_are_lowered() -> None:
    fleet = Fleet("ab")

    def work(boost: Boost, views: Mapping[str, View]) -> Any:
        fleet.nodes["b"].config[TIMEOUT] = "8000"
        yield boost.lower(views)
        assert kept(fleet.nodes["b"].config) == {**OLD, TIMEOUT: "8000"}
        yield boost.restore()

    play(fleet, work)
    assert fleet.nodes["b"].config == {**OLD, TIMEOUT: "8000"}


def test_a_node_that_somebody_restored_meanwhile_is_not_lowered_again() -> None:
    fleet = Fleet("ab")

    def work(boost: Boost, views: Mapping[str, View]) -> Any:
        yield boost.lower(views)
        fleet.nodes["b"].config = dict(OLD)
        assert (yield boost.ease()) == 2.037
        assert fleet.lowered == ["a"]

    play(fleet, work)


def test_a_node_that_says_ok_and_sets_nothing_counts_as_what_it_is() -> None:
    fleet = Fleet("ab")
    fleet.low()
    low = dict(fleet.nodes["b"].config)
    fleet.instead = lambda name, command: "OK" if (name, *command[:2]) == ("b", "CONFIG", "SET") else None

    def work(boost: Boost, views: Mapping[str, View]) -> Any:
        yield boost.restore_within_grace()

    boost = play(fleet, work)
    assert fleet.nodes["b"].config == low
    assert boost.left is not None
    assert boost.left.node == "b"
    assert f"b refused CONFIG SET {TIMEOUT}" in boost.left.message


def test_on_an_old_server_what_was_set_is_taken_back_the_timeout_first() -> None:
    """Else it would stand low for a moment, with elections on and without a mark."""
    fleet = Old("a")
    fleet.instead = lambda name, command: (
        Rejected("ERR Invalid argument") if command == ("CONFIG", "SET", DELAY, "0") else None
    )

    def work(boost: Boost, views: Mapping[str, View]) -> Any:
        assert (yield boost.lower(views)) == 15.0
        assert boost.report().reason == f"a refused CONFIG SET {DELAY}: ERR Invalid argument"
        assert not boost.owes

    play(fleet, work)
    sets = [sent.command[2] for sent in fleet.sent if sent.command[:2] == ("CONFIG", "SET")]
    assert sets == [BARRIER, NO_FAILOVER, DELAY, LOAD, TIMEOUT, *(TIMEOUT, LOAD, NO_FAILOVER, BARRIER)]
    assert fleet.lowered == []


def test_settings_that_make_no_sense_are_none() -> None:
    fleet = Fleet("a")
    fleet.instead = lambda name, command: (
        [TIMEOUT, "5000", BARRIER] if command[:2] == ("CONFIG", "GET") else None
    )
    assert virtual.run(Configurator(fleet).read("a")) == ({TIMEOUT: "5000"}, [])


def _held(fleet: Fleet) -> dict[str, set[str]]:
    """The nodes that are held, with the settings that are off."""
    off = {NO_FAILOVER: "yes", MIGRATION: "no"}
    found = {
        name: {key for key in off if node.config.get(key) == off[key]} for name, node in fleet.nodes.items()
    }
    return {name: keys for name, keys in found.items() if keys}


def _serving(names: str) -> Fleet:
    fleet = Fleet(names)
    for node in fleet.nodes.values():
        node.config = {**OLD, MIGRATION: "yes"}
    return fleet


def test_nodes_are_held_one_setting_after_the_other_and_released_alone() -> None:
    fleet = _serving("abc")
    helper = Helper(fleet)
    own = dict(fleet.nodes["a"].config)

    def work(boost: Boost, views: Mapping[str, View]) -> Any:
        yield boost.hold("ab", migration=True)
        yield boost.hold("b", elections=True)
        assert _held(fleet) == {"a": {MIGRATION}, "b": {MIGRATION, NO_FAILOVER}}
        assert boost.owes
        yield boost.release("b")
        assert _held(fleet) == {"a": {MIGRATION}}
        assert fleet.nodes["b"].config == own
        assert (boost.owes, helper.dismissed) == (True, []), "the helper stays for what is held"
        yield boost.release("bc")
        yield boost.restore()
        assert (_held(fleet), boost.owes, len(helper.dismissed)) == ({}, False, 1)
        assert all(node.config == own for node in fleet.nodes.values())
        yield boost.hold("c", elections=True)
        assert (_held(fleet), boost.owes) == ({"c": {NO_FAILOVER}}, True), "the same run may hold again"
        yield boost.restore_within_grace()
        assert fleet.nodes["c"].config == own
        assert boost.report() == BoostReport(used=False, settings={}), "no timer was lowered"
        assert boost.warnings == []

    play(fleet, work, helper)
    first = next(at for at, sent in enumerate(fleet.sent) if sent.command[:2] == ("CONFIG", "SET"))
    assert helper.started[0] < first, "the helper is there before anything is held"


def test_lowered_nodes_that_were_restored_may_be_held_and_the_report_stays() -> None:
    fleet = _serving("ab")

    def work(boost: Boost, views: Mapping[str, View]) -> Any:
        yield boost.lower(views)
        yield boost.restore()
        report = boost.report()
        assert (report.used, report.nodes, report.restored, boost.owes) == (True, 2, 2, False)
        fleet.nodes["a"].config[DELAY] = "0"
        yield boost.hold("a", elections=True)
        yield boost.restore()
        assert boost.report() == report
        assert fleet.nodes["a"].config == {**OLD, MIGRATION: "yes", DELAY: "0"}, "set by hand in between"

    play(fleet, work)


def test_what_cannot_be_held_is_said_and_not_owed() -> None:
    fleet = _serving("abc")
    fleet.nodes["a"].config[BARRIER] = "1200000000"
    del fleet.nodes["c"].config[MIGRATION]
    fleet.instead = lambda name, command: (
        Rejected("ERR no") if (name, *command[:2]) == ("b", "CONFIG", "SET") else None
    )

    def work(boost: Boost, views: Mapping[str, View]) -> Any:
        yield boost.hold("abc", migration=True)
        assert not boost.owes
        assert [(said.code, said.node, said.exit) for said in boost.warnings] == [
            ("not-held", "a", Exit.DONE),
            ("not-held", "b", Exit.DONE),
        ]
        assert boost.warnings[0].message == (
            "replica migration of a cannot be switched off for the time of a change: "
            f"a has {BARRIER} 1200000000, which a mark cannot keep."
        )

    play(fleet, work)


def test_without_a_helper_that_starts_nodes_are_held_all_the_same_and_that_is_said() -> None:
    fleet = _serving("a")

    def work(boost: Boost, views: Mapping[str, View]) -> Any:
        yield boost.hold("a", elections=True)
        assert _held(fleet) == {"a": {NO_FAILOVER}}
        assert [said.code for said in boost.warnings] == ["no-helper"]

    play(fleet, work, Helper(fleet, fails=True))


def test_a_node_that_falls_silent_keeps_what_is_held_and_is_named() -> None:
    fleet = _serving("ab")

    async def main() -> NodeFailed:
        boost = Boost(fleet, fleet.nodes, None)
        await boost.hold("ab", elections=True)
        fleet.then("b", *AWAY)
        with pytest.raises(NodeFailed) as failed:
            await boost.release("ab")
        assert boost.owes
        return failed.value

    (problem,) = virtual.run(main()).problems
    assert _held(fleet) == {"b": {NO_FAILOVER}}
    assert problem.code == "not-given-back"
    assert problem.message.startswith("b may still have elections or replica migration off: ")


def test_a_member_that_another_run_held_and_that_is_in_no_topology_is_restored() -> None:
    fleet = _serving("abz")
    own = dict(fleet.nodes["z"].config)
    fleet.nodes["z"].config |= to_hold(own_to_hold(own, elections=True, migration=True), own) or {}

    async def main() -> Boost:
        boost = Boost(fleet, "ab", None)
        boost.notice((await survey(fleet, "abz")).views)
        await boost.restore()
        return boost

    boost = virtual.run(main())
    assert fleet.nodes["z"].config == own
    assert [said.code for said in boost.warnings] == ["lowered-timers-found"]
