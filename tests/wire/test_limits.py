"""The limit on open files is raised to the number of connections, or reported as too low."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from clusterboot.errors import Exit, NodeFailed
from clusterboot.wire.client import allow_open_files
from tests.harness.cli import ROOT


def _allow(soft: int, hard: int, connections: int) -> str:
    """Call `allow_open_files` in another process with these limits; return the soft limit then."""
    code = (
        "import resource\n"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))\n"
        "from clusterboot.wire.client import allow_open_files\n"
        f"allow_open_files({connections})\n"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])\n"
    )
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, cwd=ROOT, check=True
    ).stdout.strip()


def test_the_soft_limit_is_raised_as_far_as_needed_and_no_further() -> None:
    assert _allow(256, 2048, 1000) == "1100"


def test_a_limit_that_does_is_left_alone() -> None:
    assert _allow(512, 2048, 100) == "512"


def test_a_hard_limit_too_low_is_an_error_with_the_number_to_ask_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 512))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    with pytest.raises(NodeFailed) as caught:
        allow_open_files(1000)
    (problem,) = caught.value.problems
    assert problem.code == "too-few-open-files"
    assert problem.message == (
        "1000 nodes need 1100 open files at once, and this process may have no more than 512."
    )
    assert problem.hint == "raise the limit first, with 'ulimit -n 1100' or LimitNOFILE= of a service"
    assert problem.exit is Exit.NODE
