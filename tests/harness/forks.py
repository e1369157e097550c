"""Start modules of this project in processes that are forked from one which has imported all of it.

A start then costs 20 ms of CPU instead of 350, and the tests start clusterboot some six hundred times. What
is started has a pid, a session, streams, a folder, an environment and signals of its own.

Each process of pytest has one process to fork from, `python -m tests.harness.forks FD`. Through the socket FD
come what to start, its three streams and its network. It forks twice: one process waits for the status, the
other runs.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TextIO

ROOT = Path(__file__).resolve().parents[2]
# What clusterboot imports only where it is used.
_PRELOADED = (
    *("asyncio", "concurrent.futures.thread", "ssl", "yaml", "pydantic", "redis.asyncio"),
    *("rich.console", "rich.live", "rich.progress", "rich.table", "rich.text", "tests.harness.servers"),
)
# The network of this thread, which tests/harness/netns.py changes.
_NETWORK = "/proc/thread-self/ns/net"
_lock = threading.Lock()


def possible(env: Mapping[str, str]) -> bool:
    """Return whether a process with `env` can be forked: on Linux, with Python as it is here."""
    return sys.platform == "linux" and _read_at_start(env) == _read_at_start(os.environ)


def _read_at_start(env: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that Python reads when it starts, but for those of the harness itself."""
    return {
        name: env[name] for name in env if name.startswith(("PYTHON", "LC_", "LANG")) and name != "PYTHONPATH"
    }


class Forked:
    """`python -m MODULE ARGUMENT…`, with what the tests use of `subprocess.Popen`."""

    def __init__(
        self, module: str, arguments: Sequence[str], env: Mapping[str, str], cwd: str | Path | None = None
    ) -> None:
        self.args = [module, *arguments]
        self.returncode: int | None = None
        pipes = [os.pipe() for _ in range(4)]
        network = os.open(_NETWORK, os.O_RDONLY)
        theirs = [pipes[0][0], pipes[1][1], pipes[2][1], pipes[3][1], network]
        data = json.dumps([self.args, dict(env), str(cwd or Path.cwd())]).encode()
        with _lock:
            socket.send_fds(_origin(), [len(data).to_bytes(4, "big")], theirs)
            _origin().sendall(data)
        for descriptor in theirs:
            os.close(descriptor)
        self.stdin = os.fdopen(pipes[0][1], "w")
        self.stdout: TextIO | None = os.fdopen(pipes[1][0])
        self.stderr = os.fdopen(pipes[2][0])
        self._status = os.fdopen(pipes[3][0], "rb", buffering=0)
        self.pid = int.from_bytes(self._status.read(4), "big")
        assert self.pid, "the process to fork from has ended"
        self._read: dict[str, str] = {}
        self._readers: list[threading.Thread] = []

    def __enter__(self) -> Forked:
        return self

    def __exit__(self, *exc: object) -> None:
        for stream in filter(None, (self.stdout, self.stderr, self.stdin)):
            with suppress(BrokenPipeError):
                stream.close()
        self.wait()

    def poll(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = int.from_bytes(self._status.read(4), "big", signed=True)
            self._status.close()
        return self.returncode

    def communicate(self, text: str | None = None, timeout: float | None = None) -> tuple[str, str]:
        end = None if timeout is None else time.monotonic() + timeout

        def left() -> float | None:
            return None if end is None else max(0.0, end - time.monotonic())

        def drain(name: str) -> None:
            stream: TextIO | None = getattr(self, name)
            if stream is None or stream.closed:
                self._read[name] = ""
                return
            with stream:
                self._read[name] = stream.read()

        if not self._readers:
            self._readers = [threading.Thread(target=drain, args=(name,)) for name in ("stdout", "stderr")]
            for reader in self._readers:
                reader.start()
            with suppress(BrokenPipeError), self.stdin:
                self.stdin.write(text or "")
        for reader in self._readers:
            reader.join(left())
            if reader.is_alive():
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
        self.wait(left())
        return self._read["stdout"], self._read["stderr"]

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


@functools.cache
def _origin() -> socket.socket:
    """Return the socket of the process to fork from, which ends when it is closed."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.harness.forks", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            cwd=ROOT,
            start_new_session=True,  # a Ctrl-C at the tests is none at what they start
        )

    def end() -> None:
        ours.close()
        process.wait(20)

    atexit.register(end)
    return ours


def _serve(channel: socket.socket) -> list[str]:
    """Fork for each request; return the module and the arguments in the process that is to run them."""
    while True:
        head, descriptors, _, _ = socket.recv_fds(channel, 4, 5)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not head:
            os._exit(0)
        data = channel.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL)
        if os.fork() == 0:
            break
        for descriptor in descriptors:
            os.close(descriptor)
    channel.close()
    *streams, status, network = descriptors
    if (pid := os.fork()) != 0:
        for descriptor in streams:
            os.close(descriptor)
        os.write(status, pid.to_bytes(4, "big"))
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        with suppress(BrokenPipeError):
            os.write(status, code.to_bytes(4, "big", signed=True))
        os._exit(0)
    os.setsid()
    if os.fstat(network).st_ino != Path(_NETWORK).stat().st_ino:
        assert ctypes.CDLL(None).setns(network, 0) == 0
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
    for descriptor in descriptors:
        os.close(descriptor)
    arguments, env, cwd = json.loads(data)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    return list(arguments)


def _preload() -> None:
    """Import all of clusterboot but what runs when it is imported."""
    import clusterboot

    for found in pkgutil.walk_packages(clusterboot.__path__, "clusterboot."):
        if not found.name.endswith(("__main__", "pytest_plugin")):
            importlib.import_module(found.name)
    for name in _PRELOADED:
        importlib.import_module(name)
    gc.freeze()


if __name__ == "__main__":
    _preload()
    module, *sys.argv[1:] = _serve(socket.socket(fileno=int(sys.argv[1])))
    runpy.run_module(module, run_name="__main__", alter_sys=True)
