"""A file that grew: only what is new is added, while a client goes on working without one error."""

from __future__ import annotations

from typing import Any

from tests.conftest import ONE_KIND
from tests.servers.clients import refused, writing
from tests.servers.conftest import Take
from tests.servers.pool import TIMERS, Nodes

# The soak has the other kinds.
NORMAL_KINDS = {"redis62"}

# Lower than the defaults, with which a newcomer is ok only after five seconds, and a first sync begins.
_TIMERS = {**TIMERS, "cluster-node-timeout": "2000", "repl-diskless-sync-delay": "0"}


def _long(nodes: Nodes, count: int, **last: object) -> list[dict[str, Any]]:
    """The first `count` nodes in the long form: three primaries, their replicas, and one with `last`."""
    found: list[dict[str, Any]] = [
        {"name": f"n{index}", "host": "127.0.0.1", "port": port}
        for index, port in enumerate(nodes.ports[:count])
    ]
    for index, node in enumerate(found):
        node |= {"role": "primary"} if index < 3 else {"replica_of": f"n{index - 3}"}
    if last:
        found[-1] = {"name": "new", "host": "127.0.0.1", "port": nodes.ports[count - 1], **last}
    return found


def _grow(seven: Nodes, **last: object) -> dict[str, Any]:
    """Form six nodes, grow to seven while a client writes; return the document of the second `up`."""
    six = Nodes(seven.servers, 6, seven.folder)
    seven.configure(_TIMERS)
    six.ready_up(six.file("six.yaml", nodes=_long(seven, 6)))
    grown = seven.file("seven.yaml", nodes=_long(seven, 7, **last))
    for index in range(7):
        seven.ok(index, "CONFIG", "RESETSTAT")
    seven.forget()
    with writing(six):
        document = seven.ready_up(grown, "-o", "json").json()
    assert refused(seven) == {}
    # The timers of a cluster that serves, and of whoever joins it, are never touched.
    assert seven.sent("CONFIG") == []
    assert seven.all_timers() == [_TIMERS] * 7
    assert document["boost"]["used"] is False
    planned = [step["kind"] for step in document["steps"] if not step["extra"]]
    assert planned == (["meet", "replicate"] if "replica_of" in last else ["meet"])
    # Extra MEETs come from the newcomer, or go to it, beyond the one of the plan, and are counted apart.
    meets = {index: [c for c in sent if c[1] == "MEET"] for index, sent in seven.changes().items()}
    own = meets.pop(6, [])
    told = [meet for sent in meets.values() for meet in sent]
    assert ["CLUSTER", "MEET", "127.0.0.1", str(seven.ports[6])] in meets[0]
    assert {meet[3] for meet in told} == {str(seven.ports[6])}
    assert len(own) + len(told) - 1 == document["extra_meets"]
    return dict(document)


def test_only_the_replica_that_was_added_is_joined_while_a_client_writes(nodes: Take) -> None:
    seven = nodes(7)
    _grow(seven, replica_of="n1")
    assert seven.sent("CLUSTER", "REPLICATE") == [["CLUSTER", "REPLICATE", seven.id(1)]]
    assert seven.sent("CLUSTER", "ADDSLOTS") + seven.sent("CLUSTER", "ADDSLOTSRANGE") == []
    assert seven.sent("CLUSTER", "SET-CONFIG-EPOCH") == []


@ONE_KIND
def test_only_the_primary_without_slots_that_was_added_is_joined_while_a_client_writes(nodes: Take) -> None:
    seven = nodes(7)
    _grow(seven, role="primary", slots="none")
    assert {command[1] for command in seven.sent("CLUSTER")} == {"MEET"}


def test_a_primary_added_without_a_word_about_slots_gets_none_of_those_that_are_served(
    any_nodes: Take,
) -> None:
    seven = any_nodes(7)
    seven.configure(_TIMERS)
    seven.up(seven.file("six.yaml", nodes=seven.addresses[:6]))
    seven.forget()
    seven.ready_up(seven.file("seven.yaml"))
    assert {command[1] for command in seven.sent("CLUSTER")} == {"MEET"}
