"""Whatever nodes answer, or do not: `up` ends by its deadline, and touches nothing after a refusal."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from clusterboot import bootstrap
from clusterboot.core.events import Event
from clusterboot.core.results import UpResult
from clusterboot.core.timers import TIMEOUT as TIMER
from clusterboot.core.timers import kept, lowered, to_lower
from clusterboot.errors import ClusterbootError, Exit
from clusterboot.topology import load
from clusterboot.wire.replies import Rejected
from tests.core.world import examples
from tests.harness import virtual
from tests.harness.scripted import OLD, Act, ScriptedFleet, Sent
from tests.harness.servers import PROBES

NAMES = ("a", "b", "c", "d")
TOPOLOGY = load(
    "version: 1\nreplicas: 1\nnodes:\n"
    + "".join(f"  - {{name: {name}, host: 192.0.2.{i + 1}, port: 6379}}\n" for i, name in enumerate(NAMES)),
    "t.yaml",
)
TIMEOUT = 12.0
GRACE = 2.0

_CHANGES = {
    "MEET",
    "REPLICATE",
    "ADDSLOTS",
    "ADDSLOTSRANGE",
    "SET-CONFIG-EPOCH",
    "FORGET",
    "RESET",
    "FAILOVER",
}

ERRORS = (
    "ERR Unknown node 0000000000000000000000000000000000000002",
    "ERR Slot 5 is already busy",
    "ERR To set a master the node must be empty and without assigned slots.",
    "ERR This instance has cluster support disabled",
    "ERR unknown command 'CLUSTER'",
    "NOAUTH Authentication required.",
    "NOPERM this user has no permissions to run the 'cluster|meet' command",
    "LOADING Redis is loading the dataset in memory",
    "MISCONF Errors writing to the AOF file",
    "CLUSTERDOWN The cluster is down",
    "ERR Invalid node address specified: x:0",
    "ERR something that nobody has ever seen",
    "",
)
REPLIES = st.one_of(
    st.none(),
    st.integers(),
    st.text(max_size=60),
    st.sampled_from(["OK", "cluster_state:ok", "0 1 2 3 4 5 6 7", "-", "role:slave\r\n"]),
    st.lists(st.text(max_size=10), max_size=3),
)
ACTS = st.one_of(
    st.builds(Act, after=st.floats(0.0005, 6.0)),
    st.just(Act()),
    st.just(Act("silence")),
    st.builds(Act, kind=st.just("lost"), after=st.floats(0.0005, 1.0)),
    st.builds(Act, kind=st.just("reject"), index=st.integers(0, 9), text=st.sampled_from(ERRORS)),
    st.builds(Act, kind=st.just("nonsense"), index=st.integers(0, 9), reply=REPLIES),
)
# Nodes answer well for a while, most often: what goes wrong in the first look ends the run at once.
_SCRIPT = st.builds(lambda good, acts: [Act()] * good + acts, st.integers(0, 20), st.lists(ACTS, max_size=20))
SCRIPTS = st.fixed_dictionaries({}, optional=dict.fromkeys(NAMES, _SCRIPT))


def attempt(fleet: ScriptedFleet, timeout: float = TIMEOUT) -> tuple[float, UpResult | ClusterbootError]:
    """Run `up` and return how long it took (virtual seconds) and how it ended."""

    def report(event: Event) -> None:
        del event

    async def main() -> tuple[float, UpResult | ClusterbootError]:
        asked = bootstrap.Request(TOPOLOGY, fleet, report, timeout=timeout)
        began = asyncio.get_running_loop().time()
        ended: UpResult | ClusterbootError
        try:
            ended = await bootstrap.up(asked)
        except ClusterbootError as failed:
            ended = failed
        return asyncio.get_running_loop().time() - began, ended

    return virtual.run(main())


def changes(sent: Sent) -> bool:
    """Whether a command changes a node; probes that every server refuses do not."""
    words = sent.command
    return words[0] == "CLUSTER" and words[1] in _CHANGES and words not in PROBES


def check(fleet: ScriptedFleet, ended: UpResult | ClusterbootError) -> None:
    """What must hold however the run went."""
    final = [
        sent
        for sent in fleet.sent
        if isinstance(sent.reply, Rejected) and not sent.reply.transient and changes(sent)
    ]
    moment = min((sent.answered for sent in final), default=float("inf"))
    for sent in fleet.sent:
        if sent.time > moment:
            assert not changes(sent), f"{sent} after a refusal at {moment}"
            if sent.command[:2] == ("CONFIG", "SET"):
                values = dict(zip(sent.command[2::2], sent.command[3::2], strict=True))
                assert values.items() <= OLD.items(), f"{sent} lowers a timer after a refusal"
    if isinstance(ended, ClusterbootError) and ended.exit is Exit.REFUSED:
        assert not [sent for sent in fleet.sent if changes(sent)], "refused, and yet something was changed"
    for name, node in fleet.nodes.items():
        if node.config != OLD:
            assert kept(node.config) == OLD, f"{name} keeps {node.config}, and nobody knows what it had"
            said = getattr(ended, "problems", getattr(ended, "warnings", ()))
            assert said, f"{name} is left lowered and nobody says so"


@given(SCRIPTS)
@example({})
@example({name: [Act("silence")] * 9 for name in NAMES})
@settings(examples(150), suppress_health_check=[HealthCheck.too_slow])
def test_up_ends_by_its_deadline_and_changes_nothing_after_a_refusal(
    script: Mapping[str, list[Act]],
) -> None:
    fleet = ScriptedFleet(NAMES, script)
    seconds, ended = attempt(fleet)
    assert seconds <= TIMEOUT + GRACE
    check(fleet, ended)


def test_up_on_the_model_without_faults_is_ready() -> None:
    fleet = ScriptedFleet(NAMES, {})
    seconds, ended = attempt(fleet)
    assert isinstance(ended, UpResult)
    assert ended.ready
    assert seconds < 1
    wanted = to_lower(OLD, int(lowered(len(NAMES))[TIMER]))
    assert wanted is not None
    assert [s.command for s in fleet.sent if set(wanted.values()) <= set(s.command)], "all of it in one step"
    assert all(node.config == OLD for node in fleet.nodes.values())


@given(SCRIPTS)
@settings(examples(40), suppress_health_check=[HealthCheck.too_slow])
def test_the_next_up_is_ready_once_the_nodes_answer_again(script: Mapping[str, list[Act]]) -> None:
    fleet = ScriptedFleet(NAMES, script)
    attempt(fleet)
    fleet.forget_the_script()
    _, ended = attempt(fleet, timeout=60)
    assert isinstance(ended, UpResult), ended
    assert ended.ready
    assert all(node.config == OLD for node in fleet.nodes.values())
