"""`up` to the full mesh: the plan that it sends is minimal, and sent once."""

from __future__ import annotations

from typing import Literal

import pytest

from tests.servers.conftest import Take
from tests.servers.pool import Nodes


@pytest.mark.parametrize(("strategy", "how"), [("star", "--meet-only"), ("chain", "slots: none")])
def test_six_fresh_nodes_become_a_mesh_with_five_meets_and_a_second_run_sends_none(
    nodes: Take, strategy: Literal["star", "chain"], how: str
) -> None:
    six = nodes(6)
    keys = {"slots": "none"} if how == "slots: none" else {}
    flags = ["--meet-only"] if how == "--meet-only" else []
    file = six.file(plan={"strategy": strategy}, **keys)

    first = six.up(file, *flags)
    assert six.why_not_ready(mesh_only=True) is None
    assert "A full mesh" in first.out
    sent = {index: [c for c in found if c[1] == "MEET"] for index, found in six.changes().items()}
    hosts = {0: range(1, 6)} if strategy == "star" else {index: [index + 1] for index in range(5)}
    expected = {
        index: [["CLUSTER", "MEET", "127.0.0.1", str(six.ports[peer])] for peer in peers]
        for index, peers in hosts.items()
    }
    assert {index: meets for index, meets in sent.items() if meets} == expected
    assert len(six.sent("CLUSTER", "MEET")) == 5
    # Nothing but MEETs, and timers borrowed and put back: a mesh has no slots, epochs or replicas.
    assert len(six.sent("CLUSTER")) == 5

    six.forget()
    second = six.up(file, *flags)
    assert six.changes() == {}
    assert "Already a full mesh" in second.out


def test_a_seventh_node_costs_exactly_one_meet_from_the_hub_of_a_star(nodes: Take) -> None:
    _add_a_seventh(nodes(7), "star", sender=0)


def test_a_seventh_node_costs_exactly_one_meet_from_the_end_of_a_chain(any_nodes: Take) -> None:
    _add_a_seventh(any_nodes(7), "chain", sender=5)


def _add_a_seventh(seven: Nodes, strategy: str, sender: int) -> None:
    grown = seven.file("grown.yaml", plan={"strategy": strategy}, slots="none")
    six = seven.file("six.yaml", nodes=seven.addresses[:6], plan={"strategy": strategy}, slots="none")
    seven.up(six)
    seven.forget()
    seven.up(grown)
    assert seven.why_not_ready(mesh_only=True) is None
    assert seven.sent("CLUSTER") == [["CLUSTER", "MEET", "127.0.0.1", str(seven.ports[6])]]
    assert [i for i, found in seven.changes().items() if any(c[1] == "MEET" for c in found)] == [sender]


def test_two_groups_of_three_that_know_each_other_need_exactly_one_meet(nodes: Take) -> None:
    six = nodes(6)
    for members in ((0, 1, 2), (3, 4, 5)):
        six.join(members)
    six.forget()
    outcome = six.up(six.file(slots="none"), "-o", "json")
    assert six.why_not_ready(mesh_only=True) is None
    assert len(six.sent("CLUSTER", "MEET")) == 1
    document = outcome.json()
    assert (document["ready"], document["mesh"], document["repaired"]) == (False, True, 0)
    assert [step["kind"] for step in document["steps"]] == ["meet"]


def test_a_hub_that_the_file_names_meets_all_others(any_nodes: Take) -> None:
    six = any_nodes(6)
    six.up(six.file(plan={"hub": six.addresses[4]}, slots="none"))
    found = {index: len([c for c in sent if c[1] == "MEET"]) for index, sent in six.changes().items()}
    assert found == {0: 0, 1: 0, 2: 0, 3: 0, 4: 5, 5: 0}


def test_the_strategy_flag_wins_over_the_file(any_nodes: Take) -> None:
    three = any_nodes(3)
    three.up(three.file(slots="none"), "--strategy", "chain")
    found = {index: len([c for c in sent if c[1] == "MEET"]) for index, sent in three.changes().items()}
    assert found == {0: 1, 1: 1, 2: 0}
