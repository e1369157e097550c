"""What the command line takes, and what it says where it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.cli import clusterboot

WIDE = {"COLUMNS": "200"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "topology.yaml"
    path.write_text("version: 1\nnodes: [192.0.2.1:7001-7003]\n")
    return path


@pytest.mark.parametrize(
    ("command", "flags", "told"),
    [
        ("up", ("--spawn", "--dry-run"), "--spawn starts servers and --dry-run changes nothing"),
        ("up", ("--spawn",), "no node of this topology is on this machine (loopback)"),
        ("down", ("--yes",), "--yes goes with --reset."),
        ("down", ("--flush",), "--flush goes with --reset."),
    ],
)
def test_flags_that_do_not_fit_are_wrong_usage(
    file: Path, command: str, flags: tuple[str, ...], told: str
) -> None:
    outcome = clusterboot(command, file, *flags, env=WIDE)
    assert (outcome.exit, outcome.out) == (2, ""), outcome
    assert outcome.err.startswith(f"error: {told}"), outcome


def test_a_plan_can_be_seen_with_the_other_strategy(file: Path) -> None:
    meets = [
        [(step["node"][-1], step["peer"][-1]) for step in document["plan"]["steps"] if step["kind"] == "meet"]
        for strategy in ("star", "chain")
        if (document := clusterboot("plan", file, "--strategy", strategy, "-o", "json").json())
    ]
    assert meets == [[("1", "2"), ("1", "3")], [("1", "2"), ("2", "3")]]
