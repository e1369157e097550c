"""Fixtures for tests of `clusterboot run`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.throwaway.throwaway import Running


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def start(place: Path) -> Iterator[Callable[..., Running]]:
    """Start a run; whatever still runs at the end of the module is killed."""
    begun: list[Running] = []

    def start(*args: str | Path, **how: Any) -> Running:
        begun.append(Running(place, *args, **how))
        return begun[-1]

    yield start
    for run in begun:
        if run.process.poll() is None:
            run.kill()
        if run.process.stdout is not None and not run.process.stdout.closed:
            run.process.communicate()
