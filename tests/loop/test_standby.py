"""The helper process as its run sees it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
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


@pytest.mark.parametrize("beats", [True, False])
def test_a_helper_waits_as_long_as_it_gets_signs_of_life(beats: bool) -> None:
    """A run that moves slots may take hours, but one that is stopped in the middle is still noticed."""
    with socket.create_server(("127.0.0.1", 0)) as node:
        node.setblocking(False)
        port = node.getsockname()[1]
        topology = load(f"version: 1\nnodes: [127.0.0.1:{port}]\n", "t.yaml")

        async def held_up() -> None:
            helper = Standby(topology, {f"127.0.0.1:{port}": (None, None)}, 0.8, beats=beats)
            await helper.start()
            try:
                loop = asyncio.get_running_loop()
                if beats:
                    with pytest.raises(TimeoutError):
                        await asyncio.wait_for(loop.sock_accept(node), 4)
                    # The event loop is held up, as if this process were stopped.
                    node.settimeout(30)
                    node.accept()[0].close()
                else:
                    connected, _ = await asyncio.wait_for(loop.sock_accept(node), 30)
                    connected.close()
            finally:
                helper.dismiss()

        asyncio.run(held_up())
