"""Nodes that answer, but only after seconds: whatever command waits, it names every one at its deadline.

Also nodes that answer and are not to be used yet, because they are loading their data.
"""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from clusterboot.loop.investigate import silent
from clusterboot.loop.observe import survey
from clusterboot.wire.replies import Command, Reply
from tests.harness.cli import Outcome, clusterboot
from tests.harness.fleet import SimulatedFleet

# A look is two questions: the first answer comes in time and the second does not.
TIMEOUT, DELAY = 2, 1.3
COMMANDS = (("up",), ("status",), ("down", "--reset", "--yes"))


def test_all_slow_nodes_are_named(tmp_path: Path) -> None:
    with SimulatedFleet(13) as fleet:
        nodes = fleet.addresses[1:]  # the first one takes the orders
        for index in range(1, 13):
            fleet.tell("DELAY", index, DELAY)
        file = tmp_path / "t.yaml"
        file.write_text(f"version: 1\nnodes: {json.dumps(nodes)}\n")
        flags = ("-o", "json", "--timeout", str(TIMEOUT))
        with ThreadPoolExecutor() as pool:
            runs = [
                pool.submit(
                    partial(clusterboot, timeout=TIMEOUT + 2 + 10), command[0], file, *command[1:], *flags
                )
                for command in COMMANDS
            ]
            outcomes: list[Outcome] = [run.result() for run in runs]
        changed = fleet.stats()["commands"].keys() - {"INFO", "CLUSTER INFO", "CLUSTER NODES", "CONFIG GET"}
    assert not changed
    for command, outcome in zip(COMMANDS, outcomes, strict=True):
        assert outcome.exit == 5, outcome
        document = outcome.json()
        problems = document["reasons" if command == ("status",) else "errors"]
        assert [(each["code"], each["message"]) for each in problems] == [
            (
                "answers-slowly",
                f"{name} takes connections but did not answer everything in time.",
            )
            for name in nodes
        ], outcome


class Loading:
    """Nodes that load their data and answer all the same, as Valkey 9.1 does."""

    async def ask(self, name: str, *commands: Command, timeout: float = 5.0) -> list[Reply]:
        assert timeout
        return ["redis_version:7.2.4\r\nvalkey_version:9.1.0\r\nloading:1\r\n" for _ in commands]

    def ip(self, name: str) -> str:
        return name

    def add(self, node: object) -> None:
        raise AssertionError(node)


def test_a_node_that_answers_while_it_loads_is_named_at_the_beginning_and_at_the_end() -> None:
    observed = asyncio.run(survey(Loading(), ["a"]))
    assert not observed.views
    ended = asyncio.run(silent(Loading(), ["a"], 5))
    assert ended == [observed.away["a"]]
    assert (ended[0].code, ended[0].message) == ("loading", "a is still loading its data.")
