"""`clusterboot run` as a process that leaves a trace: a mark on all that it starts, a folder of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from tests.harness.cli import ROOT
from tests.harness.marked import marked, new_mark, wait_gone


class Running:
    """One `clusterboot run` at work, with bytes on its three streams, in a session without a terminal."""

    def __init__(
        self,
        folder: Path,
        *args: str | Path,
        env: Mapping[str, str] | None = None,
        before: Callable[[], object] | None = None,
    ) -> None:
        """Start it; `before` runs in its process first."""
        self.args = tuple(map(str, args))
        self.sent = b""
        self.mark = new_mark()
        self.folder = folder / self.mark["CLUSTERBOOT_TEST_MARK"]
        self.folder.mkdir()
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "clusterboot", "run", *self.args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path, "TMPDIR": str(self.folder), **self.mark, **(env or {})},
            start_new_session=True,
            preexec_fn=before,
        )

    def end(self, stdin: bytes = b"", timeout: float = 60.0) -> Ended:
        """Wait for its end; after `timeout` seconds it is killed and the test fails."""
        try:
            out, err = self.process.communicate(stdin, timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(
                f"`clusterboot run {self.args}` did not end: {self.process.communicate()}"
            ) from None
        return Ended(self, self.process.returncode, out, err)

    def line(self, timeout: float = 60.0) -> str:
        """Return the next line that its command writes; it is killed after `timeout` seconds without one."""
        assert self.process.stdout is not None
        timer = threading.Timer(timeout, self.process.kill)
        timer.start()
        try:
            return str(self.process.stdout.readline().decode().removesuffix("\n"))
        finally:
            timer.cancel()

    def ports(self) -> list[int]:
        """Return the ports of its servers so far."""
        return [int(path.name) for path in self.folder.glob("clusterboot-run-*/*") if path.name.isdigit()]

    def guardians(self) -> tuple[int, int]:
        """Return the guardian, which is the parent of the servers and the command, and its own parent."""
        above = {pid: _parent(pid) for pid in self.pids("environ.pop('START')")}
        (guardian,) = (pid for pid, parent in above.items() if parent in above)
        return guardian, above[guardian]

    def pids(self, word: str) -> list[int]:
        """Return its processes with `word` in their command line."""
        return [pid for pid, line in marked(self.mark).items() if word in line]

    def check_nothing_left(self, ports: list[int], deadline: float = 5.0, *, folder: bool = False) -> None:
        """Fail when a process, a folder or a listening port of it is left after `deadline` seconds.

        With `folder` the folder of the servers may be left, and has to be.
        """
        wait_gone(self.mark, deadline)
        self.process.communicate()
        assert len(list(self.folder.iterdir())) == folder, f"a folder is left, or none: {self!r}"
        for port in ports:
            for each in (port, port + 10000):
                with socket.socket() as probe:
                    served = probe.connect_ex(("127.0.0.1", each)) == 0
                # Servers of another test that runs at the same time may have taken the port since.
                assert not (served and self._servers()), f"port {each} is still served"

    def _servers(self) -> list[int]:
        """The processes that run in its folder, whether or not that is still there."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if (process / "cwd").readlink().is_relative_to(self.folder):
                    found.append(int(process.name))
        return found

    def __repr__(self) -> str:
        return f"clusterboot run {' '.join(self.args)} (exit {self.process.poll()}, {self.folder})"

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to clusterboot alone."""
        self.process.send_signal(number)


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


class Ended:
    """How a run ended; its repr is made to be read in the report of a failed assertion."""

    def __init__(self, run: Running, exit: int, out: bytes, err: bytes) -> None:  # noqa: A002
        self.run, self.exit, self.out, self.err = run, exit, out, err

    def __repr__(self) -> str:
        return f"\n{self.run!r}\n--- stdout\n{self.out[-2000:]!r}\n--- stderr\n{self.err[-2000:]!r}"
