"""Processes found again by a mark in their environment, which everything that they start inherits. Linux."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from pathlib import Path

NAME = "CLUSTERBOOT_TEST_MARK"


def new_mark() -> dict[str, str]:
    """Return an environment variable that no other process has."""
    return {NAME: uuid.uuid4().hex}


def marked(mark: dict[str, str]) -> dict[int, str]:
    """Return pid and command line of every process that runs with `mark` in its environment."""
    wanted = f"{NAME}={mark[NAME]}".encode()
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (process / "environ").read_bytes().split(b"\0"):
                found[int(process.name)] = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
    return found


def wait_until(reached: Callable[[], object], what: str, deadline: float = 20.0) -> None:
    """Wait until `reached` returns something true; fails the test after `deadline` seconds."""
    end = time.monotonic() + deadline
    while not reached():
        if time.monotonic() > end:
            raise AssertionError(f"after {deadline:g} s still not so: {what}")
        time.sleep(0.02)


def wait_gone(mark: dict[str, str], deadline: float) -> None:
    """Wait until no process with `mark` runs; fails the test with those left after `deadline` seconds."""
    end = time.monotonic() + deadline
    while left := marked(mark):
        if time.monotonic() > end:
            raise AssertionError(f"after {deadline:g} s there still run: {left}")
        time.sleep(0.05)
