"""The whole life of a cluster in the pure model: whatever the file asks for is reached, stage by stage."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterboot.core.adopt import Adopted, adopt
from clusterboot.core.leaving import Leaving, find, to_ask
from clusterboot.core.plan import plan
from clusterboot.core.shares import shares, wanted
from clusterboot.core.steps import Failover, Forget, MoveSlots, Replicate, Reset, Step
from clusterboot.core.views import View
from clusterboot.slots import ALL, COUNT, Slots, split, union
from clusterboot.topology import Node, Retire, Topology
from tests.core.world import Server, World, examples, node, stranger, topology


def running(primaries: int, replicas: int) -> World:
    """A cluster that serves: p1, p2, … with p1-1, p1-2, … as replicas."""
    world = World()
    for index, part in enumerate(split(ALL, [1.0] * primaries), 1):
        world.add(Server(f"p{index}", port=7000 + index, epoch=index, slots=part))
        for number in range(1, replicas + 1):
            world.add(Server(f"p{index}-{number}", port=7000 + 100 * number + index, primary=f"p{index}"))
    world.join(*world.servers)
    return world


def listed(world: World, name: str, **keys: object) -> Node:
    server = world[name]
    return replace(node("x", **keys), name=name, host=server.ip, port=server.port)


def leaves(world: World, name: str) -> Retire:
    return Retire(name, node=listed(world, name))


def add(world: World, *names: str) -> None:
    for name in names:
        world.add(Server(name, port=8000 + len(world.servers)))


def look(world: World, top: Topology) -> tuple[Topology, dict[str, View], Leaving]:
    views = world.views([each.name for each in top.nodes])
    answers = {each.name: world.view(each.name) for each in to_ask(top, views) if each.name in world.servers}
    leaving = find(top, views, answers, {})
    extended = leaving.extend(top)
    return extended, {**views, **{name: answers[name] for name in extended.leaving}}, leaving


def assess(world: World, top: Topology, *, rebalance: bool = True) -> tuple[Adopted, tuple[Step, ...]]:
    extended, views, leaving = look(world, top)
    adopted = adopt(extended, views, leaving.leavers, rebalance=rebalance)
    return adopted, plan(extended, adopted.target, views).steps


def live(world: World, top: Topology, *, most: int = 60, cut_off: bool = False) -> list[Step]:
    """Do all that `up --rebalance` does; returns the steps of the stages.

    With `cut_off` every run is killed after the first step of its stage.
    """
    done: list[Step] = []
    for _ in range(most):
        adopted, steps = assess(world, top)
        assert adopted.refusals == ()
        if steps:
            world.do(*steps)
            continue
        if not adopted.stages:
            return done
        stage = adopted.stages[0]
        if cut_off and not isinstance(stage[0], Forget | Reset):
            stage = stage[:1]
        world.do(*stage)
        done += stage
    raise AssertionError(f"no end: {done}")


def owners(world: World) -> dict[str, Slots]:
    return {name: server.slots for name, server in world.servers.items() if server.slots}


def moved(steps: list[Step]) -> int:
    return sum(len(step.slots) for step in steps if isinstance(step, MoveSlots))


def kinds(steps: list[Step]) -> list[str]:
    return list(dict.fromkeys(step.kind for step in steps))


def test_a_ready_cluster_is_left_alone() -> None:
    world = running(3, 1)
    top = topology(*(listed(world, name) for name in world.servers), replicas=1)
    assert live(world, top) == []


def test_a_grown_file_moves_a_share_to_each_newcomer_and_replicas_come_first() -> None:
    world = running(3, 1)
    old = list(world.servers)
    add(world, "n1", "n2")
    top = topology(*(listed(world, name) for name in (*old, "n1", "n2")), replicas=1)
    assert [each.code for each in assess(world, top, rebalance=False)[0].target.warnings] == [
        "primary-without-slots",
        "replica-same-host",
    ]
    steps = live(world, top)
    assert kinds(steps) == ["slots-move"]
    assert sorted(len(each) for each in owners(world).values()) == [4096] * 4
    assert moved(steps) == 4096


def test_a_primary_with_its_replica_leaves_and_is_drained_first() -> None:
    world = running(4, 1)
    names = [name for name in world.servers if not name.startswith("p4")]
    top = topology(
        *(listed(world, name) for name in names),
        replicas=1,
        retire=(leaves(world, "p4"), leaves(world, "p4-1")),
    )
    steps = live(world, top)
    assert kinds(steps) == ["slots-move", "forget", "reset"]
    assert [step.node for step in steps if isinstance(step, Reset)] == ["p4-1", "p4"]
    assert moved(steps) == 4096
    assert {step.node for step in steps if isinstance(step, Forget)} == set(names)
    assert union(owners(world).values()) == ALL


def test_the_replica_of_a_leaving_primary_goes_to_another_one_once_that_is_empty() -> None:
    world = running(4, 1)
    names = [name for name in world.servers if name != "p4"]
    top = topology(*(listed(world, name) for name in names), replicas=1, retire=(leaves(world, "p4"),))
    steps = live(world, top)
    assert kinds(steps) == ["slots-move", "replicate", "forget", "reset"]
    assert world["p4-1"].primary in ("p1", "p2", "p3")


def test_where_a_primary_would_be_missing_its_replica_takes_its_place_and_no_slot_moves() -> None:
    world = running(3, 1)
    add(world, "n1")
    names = ["p2", "p2-1", "p3", "p3-1", "p1-1", "n1"]
    top = topology(*(listed(world, name) for name in names), replicas=1, retire=(leaves(world, "p1"),))
    steps = live(world, top)
    assert kinds(steps) == ["failover", "forget", "reset"]
    assert Failover("p1-1", "p1") in steps
    assert world["n1"].primary == "p1-1"
    assert len(world["p1-1"].slots) == 5461


def test_a_dead_member_is_forgotten_by_its_id_and_a_newcomer_takes_its_place() -> None:
    world = running(3, 1)
    dead = stranger(1, flags=("master", "fail"))
    for server in world.servers.values():
        server.lines = (dead,)
    world["p1-1"].knows, world["p1-1"].primary, world["p1-1"].lines = set(), None, ()
    for server in world.servers.values():
        server.knows.discard("p1-1")
    top = topology(
        *(listed(world, name) for name in world.servers), replicas=1, retire=(Retire(dead.id, dead.id),)
    )
    adopted, _ = assess(world, top, rebalance=False)
    assert adopted.refusals == ()
    steps = live(world, top)
    assert kinds(steps) == ["forget"]
    assert world["p1-1"].primary == "p1"
    assert not any(server.lines for server in world.servers.values())


@pytest.mark.parametrize("half", [1, 3])
def test_a_node_that_only_some_have_forgotten_is_forgotten_by_the_rest_and_reset(half: int) -> None:
    world = running(4, 0)
    world["p1"].slots |= world["p4"].slots
    world["p4"].slots = Slots()
    top = topology(*(listed(world, f"p{n}") for n in (1, 2, 3)), retire=(leaves(world, "p4"),))
    for number in range(1, half + 1):
        world[f"p{number}"].knows.discard("p4")
    steps = live(world, top)
    assert kinds([step for step in steps if not isinstance(step, MoveSlots)])[-1] == "reset"
    assert not any("p4" in server.knows for server in world.servers.values())


def test_roles_that_the_file_swaps_are_swapped_by_a_failover() -> None:
    world = running(3, 1)
    roles = {"p1": "replica", "p1-1": "primary", "p2": "primary", "p3": "primary"}
    top = topology(
        *(listed(world, name, role=roles.get(name, "replica")) for name in world.servers), replicas=1
    )
    assert live(world, top) == [Failover("p1-1", "p1")]
    assert live(world, top) == []


def test_replicas_that_the_file_gives_another_primary_go_there_one_by_one() -> None:
    world = running(3, 1)
    follows = {"p1-1": "p2", "p2-1": "p1"}
    top = topology(*(listed(world, name, replica_of=follows.get(name)) for name in world.servers), replicas=1)
    steps = live(world, top)
    assert sorted(steps, key=str) == [Replicate("p1-1", "p2"), Replicate("p2-1", "p1")]


def test_replicas_go_to_other_zones_than_their_primaries() -> None:
    world = running(3, 1)
    zones = {"p1": "x", "p2": "y", "p3": "z", "p1-1": "x", "p2-1": "z", "p3-1": "y"}
    top = topology(*(listed(world, name, zone=zones[name]) for name in world.servers), replicas=1)
    steps = live(world, top)
    assert kinds(steps) == ["replicate"]
    assert len(steps) == 2
    for name, server in world.servers.items():
        assert server.primary is None or zones[name] != zones[server.primary]


def test_more_than_half_of_the_owners_and_too_few_replicas_are_refused() -> None:
    world = running(3, 1)
    top = topology(
        *(listed(world, n) for n in ("p3", "p3-1", "p1-1", "p2-1")),
        replicas=1,
        retire=(leaves(world, "p1"), leaves(world, "p2")),
    )
    assert [each.code for each in assess(world, top)[0].refusals] == ["retire-too-many"]
    top = topology(
        *(listed(world, n) for n in ("p1", "p2", "p3", "p2-1", "p3-1")),
        replicas=1,
        retire=(leaves(world, "p1-1"),),
    )
    assert [each.code for each in assess(world, top)[0].refusals] == ["retire-too-few-left"]
    assert assess(world, top, rebalance=False)[0].refusals == ()


def test_several_primaries_leave_and_the_replicas_that_the_file_calls_primaries_take_their_places() -> None:
    world = running(5, 1)
    add(world, "n1", "n2")
    names = ["p3", "p4", "p5", "p1-1", "p2-1", "p3-1", "p4-1", "p5-1", "n1", "n2"]
    follows = {"n1": "p1-1", "n2": "p2-1"}
    top = topology(
        *(listed(world, name, replica_of=follows.get(name)) for name in names),
        replicas=1,
        retire=(leaves(world, "p1"), leaves(world, "p2")),
    )
    steps = live(world, top)
    assert kinds(steps) == ["failover", "forget", "reset"]
    assert {world["n1"].primary, world["n2"].primary} == {"p1-1", "p2-1"}


def test_of_leaving_primaries_that_one_with_a_replica_called_primary_has_an_heir_first() -> None:
    world = running(4, 1)
    roles = {"p3": "primary", "p4": "primary", "p2-1": "primary"}
    stay = ["p3", "p4", "p1-1", "p2-1", "p3-1", "p4-1"]
    top = topology(
        *(listed(world, name, role=roles.get(name, "replica")) for name in stay),
        replicas=1,
        retire=(leaves(world, "p1"), leaves(world, "p2")),
    )
    steps = live(world, top)
    assert [step for step in steps if isinstance(step, Failover)] == [Failover("p2-1", "p2")]
    assert world["p1-1"].primary in ("p3", "p4", "p2-1")
    assert sorted(owners(world)) == ["p2-1", "p3", "p4"]


def test_a_former_primary_that_migrated_to_another_shard_goes_back_and_takes_over() -> None:
    world = running(3, 1)
    world["p1"].slots, world["p1-1"].slots = Slots(), world["p1"].slots
    world["p1-1"].primary, world["p1"].primary = None, "p2"
    follows = {f"p{n}-1": f"p{n}" for n in (1, 2, 3)}
    top = topology(*(listed(world, name, replica_of=follows.get(name)) for name in world.servers), replicas=1)
    steps = live(world, top)
    assert steps == [Replicate("p1", "p1-1"), Failover("p1", "p1-1")]


@pytest.mark.parametrize("role", [{"role": "primary"}, {"slots": Slots.parse("0-99")}])
def test_a_replica_cannot_become_one_more_primary(role: dict[str, object]) -> None:
    world = running(3, 1)
    keys = {f"p{n}": {"role": "primary"} for n in (1, 2, 3)} | {"p1-1": role}
    top = topology(*(listed(world, name, **keys.get(name, {})) for name in world.servers), replicas=1)
    adopted, _ = assess(world, top)
    assert [each.code for each in adopted.refusals] == ["role-out-of-reach"]
    adopted, _ = assess(world, top, rebalance=False)
    assert adopted.refusals == ()
    hints = [each.hint for each in adopted.target.warnings if each.code == "failed-over"]
    assert hints
    assert all("'retire'" in hint for hint in hints if hint)


def test_explicit_slots_of_a_node_that_was_failed_over_are_those_of_its_primary() -> None:
    world = running(2, 1)
    parts = split(ALL, [1.0, 1.0])
    world["p1"].slots, world["p1-1"].slots = Slots(), parts[0]
    world["p1-1"].primary, world["p1"].primary = None, "p1-1"
    keys = {"p1": {"slots": parts[0]}, "p2": {"slots": parts[1]}}
    top = topology(*(listed(world, name, **keys.get(name, {})) for name in world.servers), replicas=1)
    adopted, _ = assess(world, top, rebalance=False)
    assert [each.code for each in adopted.target.warnings if each.code == "shares-differ"] == []
    assert live(world, top) == [Failover("p1", "p1-1")]


def test_slots_that_nobody_wants_any_more_after_failovers_stay() -> None:
    world = running(1, 2)
    parts = split(ALL, [1.0, 1.0])
    keys = {"p1": {"role": "primary"}, "p1-1": {"slots": parts[0]}}
    top = topology(*(listed(world, name, **keys.get(name, {})) for name in world.servers))
    adopted, steps = assess(world, top, rebalance=False)
    assert (adopted.refusals, steps) == ((), ())


@st.composite
def roles_changed(draw: st.DrawFn) -> tuple[World, Topology, dict[str, object]]:
    """A cluster whose file spells some roles, in any way that a file may."""
    world = running(draw(st.integers(2, 4)), draw(st.integers(0, 2)))
    old = list(world.servers)
    heads = [name for name in old if world[name].primary is None]
    gone = draw(st.lists(st.sampled_from(heads), unique=True, max_size=len(heads) // 2))
    add(world, *[f"n{n}" for n in range(1, draw(st.integers(0, 2)) + 1)])
    names = [name for name in world.servers if name not in gone]
    called = {name: draw(st.sampled_from([None, None, "primary", "replica"])) for name in names}
    primaries = [name for name in names if called[name] == "primary"]
    keys: dict[str, dict[str, object]] = {}
    for name, role in called.items():
        keys[name] = {"role": role}
        if role == "replica" and primaries and draw(st.booleans()):
            keys[name] = {"replica_of": draw(st.sampled_from(primaries))}
    nodes = [listed(world, name, **keys[name]) for name in names]
    return world, topology(*nodes, retire=tuple(leaves(world, name) for name in gone)), dict(called)


@examples(60)
@given(roles_changed(), st.booleans())
def test_roles_of_the_file_are_reached_and_others_change_only_for_them(
    life: tuple[World, Topology, dict[str, object]], cut_off: bool
) -> None:
    world, top, called = life
    if all(role == "replica" for role in called.values()):
        return
    before = {name: world[name].primary for name in called}
    adopted, _ = assess(world, top)
    if adopted.refusals:
        codes = {"retire-too-few-left", "retire-too-many", "role-out-of-reach"}
        assert {each.code for each in adopted.refusals} <= codes
        return
    steps = live(world, top, cut_off=cut_off)
    times = Counter(slot for step in steps if isinstance(step, MoveSlots) for slot in step.slots)
    assert max(times.values(), default=0) <= 1
    for each in top.nodes:
        server, role = world[each.name], called[each.name]
        if each.name in world.servers and not each.name.startswith("n"):
            assert role in (None, "replica" if server.primary else "primary"), steps
        if each.replica_of is not None:
            assert server.primary == each.replica_of
    swapped = {name for step in steps if isinstance(step, Failover) for name in (step.node, step.peer)}
    for name, role in called.items():
        if role is None and name in before and not name.startswith("n") and name not in swapped:
            assert (world[name].primary is None) == (before[name] is None)
    for step in steps:
        if isinstance(step, Failover):
            reasons = called.get(step.node), called.get(step.peer, "leaves")
            assert reasons != (None, None)
    assert sum(len(each) for each in owners(world).values()) == COUNT
    assert live(world, top) == []


@st.composite
def lives(draw: st.DrawFn) -> tuple[World, Topology]:
    primaries, replicas = draw(st.integers(2, 5)), draw(st.integers(0, 2))
    world = running(primaries, replicas)
    old = list(world.servers)
    shards = draw(st.lists(st.sampled_from(range(1, primaries + 1)), unique=True, max_size=primaries // 2))
    gone = [f"p{n}" for n in shards]
    if draw(st.booleans()):
        gone += [f"p{n}-{r}" for n in shards for r in range(1, replicas + 1)]
    new = [f"n{n}" for n in range(1, draw(st.integers(0, 4)) + 1)]
    add(world, *new)
    weights = draw(st.lists(st.sampled_from([1.0, 2.0, 0.5]), min_size=len(old) + 4, max_size=len(old) + 4))
    zones = draw(st.lists(st.sampled_from(["x", "y", "z"]), min_size=len(old) + 4, max_size=len(old) + 4))
    stay = [name for name in (*old, *new) if name not in gone]
    nodes = [
        listed(world, name, weight=weight, zone=zone)
        for name, weight, zone in zip(stay, weights, zones, strict=False)
    ]
    kept = len(stay) // (1 + replicas)
    top = topology(
        *nodes,
        replicas=replicas if kept >= primaries - len(shards) else 0,
        retire=tuple(leaves(world, n) for n in gone),
    )
    return world, top


@pytest.mark.parametrize("cut_off", [False, True])
def test_replicas_that_have_to_change_in_a_ring_arrive(cut_off: bool) -> None:
    world = running(3, 1)
    zones = {"p1": "x", "p2": "y", "p3": "z", "p1-1": "x", "p2-1": "y", "p3-1": "z"}
    top = topology(*(listed(world, name, zone=zones[name]) for name in world.servers), replicas=1)
    steps = live(world, top, cut_off=cut_off)
    assert len(steps) <= 4
    assert all(zones[name] != zones[s.primary] for name, s in world.servers.items() if s.primary)


@examples(80)
@given(lives(), st.booleans())
def test_every_life_ends_and_each_slot_moves_at_most_once(
    life: tuple[World, Topology], cut_off: bool
) -> None:
    world, top = life
    adopted, _ = assess(world, top)
    if adopted.refusals:
        assert {each.code for each in adopted.refusals} == {"retire-too-few-left"}
        return
    steps = live(world, top, cut_off=cut_off)
    times = Counter(slot for step in steps if isinstance(step, MoveSlots) for slot in step.slots)
    assert max(times.values(), default=0) <= 1
    gone = {entry.name for entry in top.retire}
    assert not any(world[name].slots or world[name].knows for name in gone)
    assert not any(gone & server.knows for server in world.servers.values())
    primaries = [each for each in top.nodes if world[each.name].primary is None]
    for name, share in shares(wanted(primaries)).items():
        assert abs(len(world[name].slots) - share) <= max(1, share * 0.02 + 1)
    assert sum(len(each) for each in owners(world).values()) == COUNT
    assert live(world, top) == []
