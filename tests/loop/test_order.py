"""What comes before what in a run: on the model, where every moment can be chosen and every command is seen.

Nothing is sent before all that forbids it was looked for; nothing is lowered before it can be restored, and
whatever ends the run restores it. tests/mutants/rules.py takes these rules out one by one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest

from clusterboot import bootstrap
from clusterboot.core.events import Event, Warned
from clusterboot.core.results import UpResult
from clusterboot.core.timers import BARRIER, NO_FAILOVER, to_lower
from clusterboot.errors import ClusterbootError, NodeFailed, Problem, Refused
from clusterboot.loop.reset import reset
from clusterboot.topology import Topology, load
from clusterboot.wire.replies import Command, Rejected, Reply
from tests.harness import virtual
from tests.harness.scripted import OLD, Act, FakeNode, ScriptedFleet
from tests.harness.servers import PROBES
from tests.loop.test_any_script import NAMES, TOPOLOGY

_LOOKS = ("INFO", "NODES", "LINKS", "GET", "COUNTKEYSINSLOT")
_STRANGER = f"{'f' * 40} 192.0.2.99:6379@16379 master - 0 0 9 connected\n"


@dataclass
class Helper:
    """Notes when it is started and dismissed, among the commands that are sent."""

    fleet: ScriptedFleet
    fails: bool = False
    started: list[int] = field(default_factory=list)
    dismissed: list[int] = field(default_factory=list)

    async def start(self) -> None:
        if self.fails:
            raise OSError(11, "Resource temporarily unavailable")
        self.started.append(len(self.fleet.sent))

    def dismiss(self) -> None:
        self.dismissed.append(len(self.fleet.sent))


class Fleet(ScriptedFleet):
    """The model; `instead` answers first where it has something to say, `keys` holds who has keys."""

    def __init__(self, names: Iterable[str] = NAMES, **script: list[Act]) -> None:
        super().__init__(names, script)
        self.instead: Callable[[str, Command], Reply] = lambda name, command: None
        self.keys: set[str] = set()

    def _do(self, name: str, command: Command) -> Reply:
        reply = self.instead(name, command)
        if reply is not None:
            return reply
        reply = super()._do(name, command)
        if command == ("INFO",) and name in self.keys:
            return f"{reply}db0:keys=7,expires=0\r\n"
        return reply

    def then(self, name: str, *acts: Act) -> None:
        """From now on do `acts`, one with each request."""
        self._script[name] = list(acts)

    def low(self) -> None:
        """All nodes are as a killed run has left them."""
        for node in self.nodes.values():
            node.config |= to_lower(OLD, 537) or {}

    @property
    def changes(self) -> list[Command]:
        """What was sent and changes something."""
        commands = [sent.command for sent in self.sent if sent.command not in PROBES]
        return [c for c in commands if not (set(c[:2]) & set(_LOOKS))]

    @property
    def lowered(self) -> list[str]:
        return [name for name, node in self.nodes.items() if node.config != OLD]


Ended = UpResult | ClusterbootError | asyncio.CancelledError


def up(
    fleet: Fleet, helper: Helper | None = None, topology: Topology = TOPOLOGY, **options: Any
) -> tuple[Ended, list[Problem]]:
    """Run `up`, and return how it ended and what it warned of; it is cancelled after `cancelled` seconds."""
    cancelled = options.pop("cancelled", None)

    async def main() -> tuple[Ended, list[Problem]]:
        warned: list[Problem] = []

        def report(event: Event) -> None:
            if isinstance(event, Warned):
                warned.append(event.problem)

        asked = bootstrap.Request(topology, fleet, report, **{"timeout": 12.0, **options}, helper=helper)
        task = asyncio.ensure_future(bootstrap.up(asked))
        if cancelled is not None:
            asyncio.get_running_loop().call_later(cancelled, task.cancel)
        try:
            return await task, warned
        except (ClusterbootError, asyncio.CancelledError) as ended:
            return ended, warned

    return virtual.run(main())


def codes(ended: Ended) -> list[str]:
    return [problem.code for problem in getattr(ended, "problems", ())]


def _forbidden(name: str, command: Command) -> Reply:
    denied = name == "c" and command[:2] == ("CLUSTER", "REPLICATE")
    return Rejected("NOPERM this user has no permissions to run the command") if denied else None


def _refused(what: str) -> Fleet:
    """Nodes that `up` refuses."""
    fleet = Fleet()
    a, b, *_ = fleet.nodes.values()
    if what == "keys-without-slots":
        fleet.keys = {"c"}
    elif what == "stranger":
        fleet.instead = lambda name, command: (
            fleet._line(a, a) + _STRANGER if (name, *command) == ("a", "CLUSTER", "NODES") else None
        )
    elif what == "no-permission":
        fleet.instead = _forbidden
    elif what == "keys-elsewhere":
        fleet.keys = {"a", "b"}
        a.slots, b.slots = set(range(8191)), set(range(8192, 16384))
        a.knows = b.knows = {"a", "b"}
        fleet.instead = lambda name, command: 1 if command[1:2] == ("COUNTKEYSINSLOT",) else None
    else:
        assert what == "not-answering"
        fleet.then("d", *[Act("silence")] * 50)
    return fleet


@pytest.mark.parametrize(
    "what", ["keys-without-slots", "stranger", "no-permission", "keys-elsewhere", "not-answering"]
)
def test_nothing_is_sent_and_no_helper_started_before_all_that_forbids_it_is_known(what: str) -> None:
    fleet = _refused(what)
    helper = Helper(fleet)
    ended, _ = up(fleet, helper)
    assert isinstance(ended, NodeFailed if what in ("no-permission", "not-answering") else Refused)
    assert set(codes(ended)) == {what}
    assert fleet.changes == []
    assert helper.started == []


@pytest.mark.parametrize("what", ["keys-without-slots", "no-permission"])
def test_a_refusal_first_restores_what_a_killed_run_has_left(what: str) -> None:
    fleet = _refused(what)
    fleet.low()
    ended, warned = up(fleet)
    assert codes(ended) == [what]
    assert fleet.lowered == []
    assert "lowered-timers-found" in {problem.code for problem in warned}
    assert {command[:2] for command in fleet.changes} == {("CONFIG", "SET")}


@pytest.mark.parametrize("low", [False, True])
@pytest.mark.parametrize("what", [None, "keys-without-slots"])
def test_a_dry_run_changes_nothing_and_says_what_is_lowered(low: bool, what: str | None) -> None:
    fleet = Fleet() if what is None else _refused(what)
    if low:
        fleet.low()
    helper = Helper(fleet)
    ended, warned = up(fleet, helper, dry_run=True)
    assert codes(ended) == [what] * (what is not None)
    assert fleet.changes == []
    assert helper.started == []
    assert ("lowered-timers-found" in {problem.code for problem in warned}) == low


def test_the_helper_is_ready_before_anything_is_lowered_and_dismissed_when_all_is_restored() -> None:
    fleet = Fleet()
    helper = Helper(fleet)
    ended, _ = up(fleet, helper)
    assert isinstance(ended, UpResult)
    assert ended.boost is not None
    assert ended.boost.used
    sets = [index for index, sent in enumerate(fleet.sent) if sent.command[:2] == ("CONFIG", "SET")]
    assert len(helper.started) == len(helper.dismissed) == 1
    assert helper.started[0] <= min(sets)
    assert helper.dismissed[0] > max(sets)
    assert fleet.lowered == []


def test_without_a_helper_that_starts_nothing_is_lowered() -> None:
    fleet = Fleet()
    ended, _ = up(fleet, Helper(fleet, fails=True), timeout=60.0)
    assert isinstance(ended, UpResult)
    assert ended.boost is not None
    assert not ended.boost.used
    assert ended.boost.reason == "no helper process can be started: Resource temporarily unavailable"
    assert not [command for command in fleet.changes if command[0] == "CONFIG"]


def test_without_a_boost_no_helper_is_started_and_no_setting_changed() -> None:
    fleet = Fleet()
    helper = Helper(fleet)
    ended, _ = up(fleet, helper, timeout=60.0, boost=False)
    assert isinstance(ended, UpResult)
    assert ended.boost is not None
    assert (ended.boost.used, ended.boost.reason) == (False, "switched off")
    assert not [command for command in fleet.changes if command[0] == "CONFIG"]
    assert helper.started == []


def test_a_run_that_did_a_part_tells_it_with_its_error() -> None:
    fleet = Fleet()
    fleet.low()
    denied = Rejected("ERR something that nobody has ever seen")
    fleet.instead = lambda name, command: denied if command[:2] == ("CLUSTER", "MEET") else None
    ended, warned = up(fleet)
    assert isinstance(ended, NodeFailed)
    assert isinstance(ended.outcome, UpResult)
    assert {done.step.kind for done in ended.outcome.steps} == {"epoch", "slots"}
    assert not ended.outcome.ready
    assert ended.warnings == ended.outcome.warnings == tuple(warned)


def test_a_run_that_did_nothing_has_no_outcome() -> None:
    ended, warned = up(_refused("stranger"), warnings=(Problem("tls-unverified", "told before."),))
    assert isinstance(ended, Refused)
    assert ended.outcome is None
    assert ended.warnings == tuple(warned)
    assert [problem.code for problem in warned] == ["tls-unverified"]


def test_a_run_that_is_cancelled_restores_and_dismisses_the_helper() -> None:
    for moment in range(1, 30, 2):
        fleet = Fleet()
        helper = Helper(fleet)
        up(fleet, helper, cancelled=moment / 1000)
        assert fleet.lowered == [], moment
        assert len(helper.started) == len(helper.dismissed), moment


def test_what_stays_lowered_is_said_whatever_ended_the_run_and_the_helper_goes_on() -> None:
    fleet = Fleet()
    helper = Helper(fleet)

    def refuse(name: str, command: Command) -> Reply:
        if command[:2] == ("CLUSTER", "MEET") and command not in PROBES:
            fleet.then("d", *[Act("silence")] * 99)
            return Rejected("ERR something that nobody has ever seen")
        return None

    fleet.instead = refuse
    ended, warned = up(fleet, helper)
    assert isinstance(ended, NodeFailed)
    assert fleet.lowered == ["d"]
    assert [problem.node for problem in warned if problem.code == "not-given-back"] == ["d"]
    assert helper.dismissed == []


class Old(Fleet):
    """Servers that take one setting in a command, and MULTI."""

    def _do(self, name: str, command: Command) -> Reply:
        if command[0] == "CONFIG" and len(command) > (3 if command[1] == "GET" else 4):
            return Rejected("ERR Wrong number of arguments for CONFIG")
        if command[0] in ("MULTI", "EXEC"):
            return "OK" if command[0] == "MULTI" else []
        return super()._do(name, command)


def test_old_servers_take_several_settings_between_multi_and_exec_the_mark_first() -> None:
    fleet = Old()
    ended, _ = up(fleet)
    assert isinstance(ended, UpResult)
    assert fleet.lowered == []
    sent = [s.command for s in fleet.sent if s.node == "a"]
    sets = [index for index, command in enumerate(sent) if command[:2] == ("CONFIG", "SET")]
    assert sent[sets[0] - 1] == ("MULTI",)
    assert [sent[index][2] for index in sets[:2]] == [BARRIER, NO_FAILOVER]
    for index in sets:
        before = [command for command in sent[:index] if command[0] in ("MULTI", "EXEC")]
        assert before[-1] == ("MULTI",), sent[index]
    assert sent.count(("EXEC",)) == sent.count(("MULTI",))


MANY = tuple(f"n{number}" for number in range(66))
LARGE = load(
    "version: 1\nreplicas: 1\nnodes:\n"
    + "".join(f"  - {{name: {name}, host: 192.0.2.{i + 1}, port: 6379}}\n" for i, name in enumerate(MANY)),
    "t.yaml",
)


def test_a_large_cluster_is_ready_in_one_snapshot_only() -> None:
    """All have full views but find slots failing; when they do so no longer, views are worse than before."""
    fleet = Fleet(MANY)
    fine, mended = 1000.5, 1001.5
    read: list[str] = []

    def instead(name: str, command: Command) -> Reply:
        now = asyncio.get_running_loop().time()
        if command == ("CLUSTER", "INFO"):
            state = "fail" if now < fine else "ok"
            return f"cluster_state:{state}\r\ncluster_known_nodes:{len(fleet.nodes[name].knows)}\r\n"
        if fine <= now < mended and command == ("CLUSTER", "NODES"):
            read.append(name)
            # Only those that are not read in the first round after that.
            if len(read) > len(MANY) // 2 + 5:
                me = fleet.nodes[name]
                return "".join(_cut(fleet, me, fleet.nodes[other]) for other in sorted(me.knows))
        return None

    fleet.instead = instead
    ended, _ = up(fleet, topology=LARGE, timeout=60.0)
    assert isinstance(ended, UpResult)
    assert ended.ready
    assert ended.seconds >= mended - 1000


def _cut(fleet: Fleet, teller: FakeNode, node: FakeNode) -> str:
    line = fleet._line(teller, node)
    return line.replace(" connected", " disconnected") if node.name == "n6" else line


@pytest.mark.parametrize("what", ["stranger", "has-keys", "no-permission", "not-answering"])
def test_nothing_is_reset_before_all_that_forbids_it_is_known(what: str) -> None:
    fleet = Fleet() if what in ("has-keys", "no-permission") else _refused(what)
    if what == "has-keys":
        fleet.keys = {"b"}
    elif what == "no-permission":
        fleet.instead = lambda name, command: (
            Rejected("NOPERM no permissions") if (name, *command[:2]) == ("c", "CLUSTER", "RESET") else None
        )

    async def main() -> None:
        with pytest.raises(ClusterbootError) as caught:
            await reset(TOPOLOGY, fleet, lambda event: None, None, flush=False, timeout=20.0)
        assert codes(caught.value) == [what]

    virtual.run(main())
    assert fleet.changes == []
