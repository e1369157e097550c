"""Sample results and events of `up --rebalance`: a shard is added, two nodes leave."""

from __future__ import annotations

from dataclasses import replace

from clusterboot.core.events import Done, Event, Looked, Moved, Phase, Planned
from clusterboot.core.placement import Placement, Spot
from clusterboot.core.plan import Plan
from clusterboot.core.results import MoveReport, Transfer, UpResult
from clusterboot.core.steps import Failover, Forget, Meet, MoveSlots, Replicate, Reset, Step
from clusterboot.slots import Slots
from clusterboot.topology import Node, Retire, Topology
from tests.render.paper import formed, local, valid, verdict

D, E = (f"127.0.0.1:{port}" for port in (7009, 7010))
LOST = "cb0d4aa4" * 5


def leaving(*names: str) -> tuple[Retire, ...]:
    """Entries of `retire`: addresses, or ids where there is no port."""
    return tuple(
        Retire(name, node=Node(name, *name.rsplit(":", 1)[:1], int(name.rsplit(":", 1)[1])))
        if ":" in name
        else Retire(name, name)
        for name in names
    )


def grown(count: int = 8) -> Topology:
    """The file after two nodes were added, and three moved to `retire`."""
    return local(count, replicas=1, retire=leaving(D, E, LOST))


def with_leavers(topology: Topology) -> Topology:
    """As a run has it: the members that are to leave and answer are among the nodes."""
    alive = [entry.node for entry in topology.retire if entry.node is not None]
    return replace(topology, nodes=(*topology.nodes, *alive), leaving=frozenset(node.name for node in alive))


def present(topology: Topology) -> Placement:
    """How they stand: the first half are primaries, and one that leaves, with a replica each."""
    names = [node.name for node in topology.nodes if node.name not in (D, E)]
    half = len(names) // 2
    primaries, replicas = [*names[:half], D], [*names[half:], E]
    size = 16384 // len(primaries)
    ends = [*range(0, size * len(primaries), size), 16384]
    spots = {
        name: Spot("primary", None, Slots.of([(low, high - 1)]))
        for name, low, high in zip(primaries, ends, ends[1:], strict=False)
    }
    spots |= {name: Spot("replica", head) for name, head in zip(replicas, primaries, strict=True)}
    return Placement({node.name: spots[node.name] for node in with_leavers(topology).nodes})


def transfers(topology: Topology) -> tuple[Transfer, ...]:
    """The slots of the primary that leaves go to all others."""
    spots = present(topology).spots
    (left,) = spots[D].slots.ranges
    others = [name for name, spot in spots.items() if spot.role == "primary" and name != D]
    step = (left[1] - left[0] + 1) // len(others)
    lows = [left[0] + step * at for at in range(len(others))]
    moves = [
        MoveSlots(D, name, Slots.of([(low, left[1] if name == others[-1] else low + step - 1)]))
        for name, low in zip(others, lows, strict=True)
    ]
    return tuple(
        Transfer(move, 12 * len(move.slots), "atomic" if at else "copy") for at, move in enumerate(moves)
    )


def steps(topology: Topology) -> tuple[Step, ...]:
    """What is missing in the cluster of `grown`, as a dry run shows it."""
    names = [node.name for node in topology.nodes]
    return (
        Meet(names[0], names[-1], "127.0.0.1", topology.nodes[-1].port),
        Replicate(names[-1], names[-2]),
        Failover(names[4], names[0]),
        *(each.step for each in transfers(topology)),
        *(Forget(name, D, "0123456789" * 4) for name in names),
        *(Forget(name, LOST, LOST) for name in names[:2]),
        Reset(E, "1123456789" * 4),
        Reset(D, "0123456789" * 4),
    )


def dry(count: int = 8) -> UpResult:
    topology = grown(count)
    return replace(
        formed(topology),
        topology=with_leavers(topology),
        target=present(topology),
        plan=Plan(steps(topology), 1),
        verdict=verdict(topology),
        steps=(),
        boost=None,
        dry_run=True,
        transfers=transfers(topology),
    )


def rebalanced(count: int = 8) -> UpResult:
    topology = grown(count)
    return replace(
        formed(topology),
        steps=tuple(Done(step) for step in steps(topology)),
        boost=None,
        seconds=8.3,
        moved=MoveReport(4096, 50_000, 2.04),
        retired=(D, E, LOST),
    )


def moving(seconds: int = 4, *, keys: int = 50_000) -> list[tuple[float, Event]]:
    """Seconds after the one before, and the event: 4,096 slots move at an even pace, then two nodes leave."""
    result = valid(local(8, replicas=1))
    told: list[tuple[float, Event]] = [
        (0.0, Phase("look", "8 nodes")),
        (0.1, Planned(result.placement, Plan(steps(grown()), 1))),
        (0.0, Looked(verdict(local(8)))),
        (0.0, Phase("move", "4,096 slots")),
    ]
    ticks = 4 * seconds
    told += [
        (0.25, Moved(4096 * at // ticks, 4096, keys * at // ticks, keys, at / 4))
        for at in range(1, ticks + 1)
    ]
    told.append((0.0, Phase("retire", f"{D}, {E}")))
    told += [(0.1, Done(step)) for step in steps(grown()) if isinstance(step, Forget | Reset)]
    return told
