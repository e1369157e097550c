"""Somebody else who moves slots is noticed, and nothing is finished in their place."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from clusterboot.core.views import View, Views, parse_nodes
from clusterboot.errors import Refused
from clusterboot.rebalance import open_slots as module

_A, _B = f"{1:040x}", f"{2:040x}"


def looked(slot: int) -> Views:
    """Two primaries; `slot` is open on the first one."""
    lines = [
        f"{_A} 192.0.2.1:7001@17001 master - 0 0 1 connected 0-99",
        f"{_B} 192.0.2.1:7002@17002 master - 0 0 2 connected",
    ]
    mine = lines[0].replace("master", "myself,master") + f" [{slot}->-{_B}]"
    theirs = lines[1].replace("master", "myself,master")
    info = {"role": "master"}
    return {
        "a": View("a", "192.0.2.1", parse_nodes(f"{mine}\n{lines[1]}"), info),
        "b": View("b", "192.0.2.1", parse_nodes(f"{lines[0]}\n{theirs}"), info),
    }


def watched(monkeypatch: pytest.MonkeyPatch, looks: Iterator[Views], calls: Iterator[int]) -> Views:
    async def look(fleet: object, names: object) -> Views:
        return next(looks)

    async def migrates(fleet: object, views: Views) -> dict[str, str]:
        return {"a": f"calls={next(calls)}"}

    monkeypatch.setattr(module, "_look", look)
    monkeypatch.setattr(module, "_calls", migrates)
    monkeypatch.setattr(module, "WATCH_SECONDS", 0.02)
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.002)
    return asyncio.run(module._watch(None, ("a", "b")))  # type: ignore[arg-type]


def endless(first: int, then: int) -> Iterator[int]:
    yield first
    while True:
        yield then


def test_marks_that_change_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Refused) as refused:
        watched(monkeypatch, map(looked, endless(7, 8)), endless(1, 1))
    assert refused.value.problems[0].code == "slots-moving"


def test_migrates_that_run_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Refused) as refused:
        watched(monkeypatch, map(looked, endless(7, 7)), endless(1, 2))
    assert refused.value.problems[0].code == "slots-moving"


def test_what_stands_still_is_nobodys(monkeypatch: pytest.MonkeyPatch) -> None:
    assert watched(monkeypatch, map(looked, endless(7, 7)), endless(1, 1))["a"].me.moving
