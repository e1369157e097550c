"""The helper process as its run sees it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess

import pytest

from clusterboot.loop import standby
from clusterboot.loop.standby import Standby
from clusterboot.topology import load

TOPOLOGY = load("version: 1\nnodes: [127.0.0.1:1]\n", "t.yaml")


def test_a_helper_that_gets_no_cpu_has_ended_when_it_is_dismissed(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []
    popen = standby._popen

    def noted() -> subprocess.Popen[bytes]:
        started.append(popen())
        return started[-1]

    monkeypatch.setattr(standby, "_popen", noted)
    helper = Standby(TOPOLOGY, {"127.0.0.1:1": (None, None)}, 60.0)
    asyncio.run(helper.start())
    (process,) = started
    os.kill(process.pid, signal.SIGSTOP)
    helper.dismiss()
    assert process.returncode == -signal.SIGKILL
    helper.dismiss()  # once more: nothing happens
