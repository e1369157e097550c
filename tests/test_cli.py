"""What the command line takes, and what it says where it does not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.cli import ROOT, clusterboot, environment

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


@pytest.mark.parametrize(
    ("redirection", "reason"), [(">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")]
)
@pytest.mark.parametrize("words", ["plan FILE", "plan FILE -o json", "plan FILE --format commands", "--help"])
def test_output_that_cannot_be_written_is_one_sentence(
    file: Path, words: str, redirection: str, reason: str
) -> None:
    done = _redirected(words, file, redirection)
    assert done.returncode == 2, done
    assert done.stderr.startswith(f"error: cannot write the output: {reason}.\n"), done
    assert done.stderr.count("\n") == 2, done


def test_who_writes_nothing_needs_no_stdout(file: Path) -> None:
    done = _redirected("validate FILE --quiet", file, ">&-")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_failure_has_its_status_even_where_nothing_can_be_said(file: Path) -> None:
    file.write_text("nodes: 3\n")
    assert _redirected("plan FILE -o json", file, ">&- 2>&- <&-").returncode == 2
    assert _redirected("plan FILE", file, "2>/dev/full").returncode == 2


def _redirected(words: str, file: Path, redirection: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            "sh",
            "-c",
            f'exec "$0" -m clusterboot {words.replace("FILE", str(file))} {redirection}',
            sys.executable,
        ],
        capture_output=True,
        text=True,
        timeout=30,
        cwd=ROOT,
        env=environment(),
    )
