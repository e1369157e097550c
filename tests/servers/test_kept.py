"""What a running cluster has otherwise than the file, and keeps: Ready, with a warning, and untouched."""

from __future__ import annotations

from tests.harness.cli import clusterboot
from tests.servers.conftest import Take


def test_a_primary_that_was_failed_over_by_hand_is_ready_with_a_warning(nodes: Take) -> None:
    six = nodes(6)
    six.configure({"cluster-node-timeout": "2000"})  # for the news of the new roles to spread sooner
    file = six.file(replicas=1)
    six.ready_up(file)
    primary = six.addresses[0]
    replica = next(
        index
        for index in range(3, 6)
        if six.id(0) in six.ok(index, "CLUSTER", "NODES").split("myself", 1)[1].split("\n")[0]
    )
    six.ok(replica, "CLUSTER", "FAILOVER")
    six.until(lambda: "role:slave" in six.ok(0, "INFO", "replication"), "the roles are swapped")
    six.until(lambda: six.why_not_ready() is None, "all nodes agree on the new roles")
    six.forget()

    outcome = six.ready_up(file, "-o", "json")
    assert six.changes() == {}
    name = six.addresses[replica]
    assert outcome.named("warnings") == [("failed-over", primary, name)]
    rows = {row["name"]: (row["role"], row["primary"]) for row in outcome.json()["nodes"]}
    assert rows[primary] == ("replica", name)
    assert rows[name] == ("primary", None)

    text = six.ready_up(file)
    assert name in text.err
    assert text.out.startswith("● Already Ready: ")


def test_slots_that_were_moved_stay_where_they_are_served(any_nodes: Take) -> None:
    two = any_nodes(2)
    file = two.file()
    two.ready_up(file)
    for index in (1, 0):
        two.ok(index, "CLUSTER", "SETSLOT", "0", "NODE", two.id(1))
    two.until(lambda: two.why_not_ready() is None, "both nodes agree on the slot")
    two.forget()
    document = two.ready_up(file, "-o", "json").json()
    assert two.changes() == {}
    assert [row["slots"] for row in document["nodes"]] == ["1-8191", "0,8192-16383"]


def test_a_reshard_that_was_cut_off_is_told_and_left_alone(any_nodes: Take) -> None:
    two = any_nodes(2)
    file = two.file()
    two.ready_up(file)
    two.ok(0, "CLUSTER", "SETSLOT", 0, "MIGRATING", two.id(1))
    two.ok(1, "CLUSTER", "SETSLOT", 0, "IMPORTING", two.id(0))
    two.forget()
    for outcome in (two.ready_up(file, "-o", "json"), clusterboot("status", file, "-o", "json")):
        assert outcome.exit == 0
        assert ("slots-open", two.addresses[0], None) in outcome.named("warnings")
    assert two.changes() == {}
