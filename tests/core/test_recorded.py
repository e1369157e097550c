"""Facts in, exact commands out: what three real servers said in known situations, and what must follow.

tests/data/<server>/<situation>/ holds `topology.yaml`, `facts.json` (recorded by tests/core/record.py) and
`expected.json`, which is read and kept by hand. In it a run of slots is written as in "0..5460".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clusterboot.core import preflight
from clusterboot.core.adopt import adopt
from clusterboot.core.health import Judge
from clusterboot.core.plan import plan
from clusterboot.core.views import View, parse_fields, parse_info, parse_nodes
from clusterboot.errors import Problem
from clusterboot.loop.act import command
from clusterboot.topology import load
from tests.core import record

DATA = Path(__file__).resolve().parents[1] / "data"
KINDS = ("redis62", "redis70", "valkey91")
SITUATIONS = sorted(path.parent.relative_to(DATA).as_posix() for path in DATA.glob("*/*/facts.json"))


def recorded(situation: str) -> dict[str, View]:
    """The views that a survey makes of recorded facts."""
    facts = json.loads((DATA / situation / "facts.json").read_text())
    views = {}
    for name, said in facts.items():
        info, keys = parse_info("\r\n".join(said["INFO"]))
        cluster = parse_fields("\r\n".join(said["CLUSTER INFO"]))
        peers = parse_nodes("\n".join(said["CLUSTER NODES"]) + "\n")
        views[name] = View(name, said["ip"], peers, info, cluster, said["CONFIG GET"], keys)
    return views


def outcome(situation: str) -> dict[str, Any]:
    """Everything that the pure core makes of a situation, in the form of expected.json."""
    topology = load((DATA / situation / "topology.yaml").read_text(), "topology.yaml")
    views = recorded(situation)
    adopted = adopt(topology, views)
    found = plan(topology, adopted.target, views)
    verdict = Judge(adopted.target, {name: view.id for name, view in views.items()}).verdict(views)
    refusals = (*preflight.refusals(topology, views), *adopted.refusals)
    return {
        "refusals": _brief(refusals),
        "warnings": _brief((*preflight.warnings(views), *adopted.target.warnings)),
        "groups": found.groups,
        "commands": [
            " ".join([step.node + ":", *_runs(command(step, views))]) for step in found.steps if not refusals
        ],
        "ready": verdict.ready,
        "reasons": _brief(verdict.reasons),
        "unseen": {name: " ".join(health.unseen) for name, health in verdict.nodes.items() if health.unseen},
    }


def _brief(problems: Iterable[Problem]) -> list[str]:
    """Each problem as "code node peer"; the tests of preflight, adopt and health have the sentences."""
    return [" ".join(filter(None, (each.code, each.node, each.peer))) for each in problems]


def _runs(words: tuple[str, ...]) -> Iterator[str]:
    """Write the thousands of arguments of ADDSLOTS as runs."""
    if words[1] != "ADDSLOTS":
        yield from words
        return
    yield from words[:2]
    slots = [*map(int, words[2:])]
    assert slots == [*range(slots[0], slots[-1] + 1)]
    yield f"{slots[0]}..{slots[-1]}"


@pytest.mark.parametrize("situation", SITUATIONS)
def test_what_real_servers_said_leads_to_exactly_these_commands_problems_and_reasons(situation: str) -> None:
    assert outcome(situation) == json.loads((DATA / situation / "expected.json").read_text())


def test_every_server_was_recorded_in_every_situation() -> None:
    wanted = {f"{kind}/{name}" for kind in KINDS for name in (*record.SITUATIONS, "migrating", "failover")}
    assert set(SITUATIONS) == wanted - {"redis62/hostname"}, "host names came with Redis 7"


def _views(situation: str) -> list[View]:
    return [recorded(f"{kind}/{situation}")[name] for kind in KINDS for name in "ab"]


def test_versions_kinds_and_timeouts_are_read() -> None:
    found = {kind: recorded(f"{kind}/fresh")["a"] for kind in KINDS}
    assert {kind: f"{view.kind} {view.version}" for kind, view in found.items()} == {
        "redis62": "redis 6.2.14",
        "redis70": "redis 7.0.15",
        "valkey91": "valkey 9.1.2",
    }
    for view in found.values():
        assert view.node_timeout == 15.0
        assert re.fullmatch("[0-9a-f]{40}", view.run_id)
        assert (view.me.ip, view.me.port, view.me.bus_port, view.me.connected) == ("", 17001, 27001, True)
        assert (view.known, view.keys, view.in_sync, view.state_ok) == (1, 0, True, False)


def test_a_slot_on_the_move_is_seen_on_both_ends_and_nowhere_else() -> None:
    for view in _views("migrating"):
        assert [peer.moving for peer in view.peers] == [peer.myself for peer in view.peers]


def test_ipv6_addresses_are_read_and_host_names_are_not_in_the_way() -> None:
    for view in _views("ipv6"):
        assert {peer.ip for peer in view.peers} == {"::1"}
        assert {peer.address for peer in view.peers} == {"[::1]:17001", "[::1]:17002"}
    for kind in ("redis70", "valkey91"):
        assert {peer.ip for peer in recorded(f"{kind}/hostname")["a"].peers} == {"127.0.0.1"}


def test_a_ghost_has_no_address_and_a_handshake_is_told_from_a_node() -> None:
    for view in _views("ghost"):
        ghost = next(peer for peer in view.peers if "noaddr" in peer.flags)
        assert (ghost.ip, ghost.port, ghost.bus_port, ghost.seen) == ("", 0, 0, False)
    for kind in KINDS:
        view = recorded(f"{kind}/handshake")["a"]
        assert [peer.handshake for peer in view.peers if not peer.myself] == [True]
        assert view.known == 2
