"""Our end of the guardian (`clusterboot.run.guardian`): start it, tell it, hear of servers that ended."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from clusterboot.errors import ClusterbootError, Exit, Problem
from clusterboot.run import guardian

# More than enough for the guardian: the grace of the command, and a machine that is busy.
_END_SECONDS = 10.0


class Keeper:
    """A folder for a throwaway cluster and the guardian over it, which ends all when this process does.

    `pids` are the servers that run, by port. `ended` are those that do not, with their exit status
    (minus the signal that killed them).
    """

    def __init__(self, server: str) -> None:
        """Start the guardian for servers of the binary `server` and make the folder. Waits for nothing."""
        # Random, so that nobody can have made it before us; not there before the guardian is.
        self.folder = Path(os.path.realpath(tempfile.gettempdir()), f"clusterboot-run-{os.urandom(8).hex()}")
        self.pids: dict[int, int] = {}
        self.ended: dict[int, int] = {}
        self._rest = b""
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", guardian.__file__, str(self.folder), server],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
            )
        try:
            self.folder.mkdir(mode=0o700)
        except BaseException:
            self.close()
            raise

    def tell(self, word: str, number: int) -> None:
        """Send one line of `clusterboot.run.guardian`; raises ClusterbootError when the guardian is gone."""
        if word == "start":
            self.ended.pop(number, None)
        try:
            self._socket.sendall(f"{word} {number}\n".encode())
        except OSError as error:
            raise _gone() from error

    def listen(self) -> None:
        """Take in what the guardian has said. Raises ClusterbootError when it is gone."""
        while True:
            try:
                data = self._socket.recv(65536, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                raise _gone()
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                word, port, number = line.decode().split()
                if word == "started":
                    self.pids[int(port)] = int(number)
                else:
                    self.pids.pop(int(port), None)
                    self.ended[int(port)] = int(number)

    def close(self) -> None:
        """End all servers, remove the folder, and return when that is done.

        Where somebody has killed the guardian, this process does its work. Raises ClusterbootError when
        servers do not end.
        """
        with contextlib.suppress(ClusterbootError):
            self.listen()
        self._socket.close()
        try:
            status = self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            raise ClusterbootError(
                Problem(
                    "guardian-stuck",
                    f"the servers in {self.folder} did not end within {_END_SECONDS:g} s.",
                    hint=f"end them yourself; the process {self._process.pid} waits for them",
                    exit=Exit.DEFECT,
                )
            ) from None
        if status != 0:
            for pid in self.pids.values():
                with contextlib.suppress(OSError):
                    os.killpg(pid, signal.SIGKILL)
            shutil.rmtree(self.folder, ignore_errors=True)


def _gone() -> ClusterbootError:
    return ClusterbootError(
        Problem(
            "guardian-gone",
            "the guardian of the throwaway cluster was killed, and so the cluster has to go.",
            hint="find out what kills processes here (out of memory?), then run it again",
            exit=Exit.DEFECT,
        )
    )
