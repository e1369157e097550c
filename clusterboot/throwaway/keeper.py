"""Our end of the guardian (`clusterboot.throwaway.guardian`): start it, tell it, hear of what ended."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from clusterboot.background import python_command
from clusterboot.errors import ClusterbootError, Exit, Problem
from clusterboot.throwaway import family, folders, guardian

# More than enough for the guardian: the grace of the command, and a machine that is busy.
_END_SECONDS = 10.0


class Keeper:
    """A folder for a throwaway cluster and the guardian over it, which ends all when this process does.

    `pids` are the servers that run, by port. `ended` are those that do not, with their exit status
    (minus the signal that killed them). `command` is the pid of the user's command once it has begun, `over`
    how it ended, and `failed` the error number where it could not be executed.
    """

    def __init__(self, server: str, *, command: bool = False) -> None:
        """Start the guardian for servers of the binary `server` and make the folder. Waits for nothing.

        With `command` it can run one, which gets the streams, the folder and the terminal of this process.
        """
        # Random, so that nobody can have made it before us; not there before the guardian is.
        name = f"{folders.PREFIX}{os.urandom(8).hex()}"
        self.folder = Path(os.path.realpath(tempfile.gettempdir()), name)
        self.pids: dict[int, int] = {}
        self.ended: dict[int, int] = {}
        self.command = 0
        self.over: int | None = None
        self.failed: int | None = None
        self._rest = b""
        self._lock: int | None = None
        self._socket, theirs = socket.socketpair()
        streams = None if command else subprocess.DEVNULL
        inherited = _inherited() if command else []
        given = (str(self.folder), server, theirs.fileno(), inherited)
        words, env = python_command("clusterboot.throwaway.guardian.main", *given)
        with theirs:
            self._process = subprocess.Popen(
                words,
                stdin=streams,
                stdout=streams,
                stderr=streams,
                pass_fds=[theirs.fileno(), *inherited],
                env=env,
                cwd=None if command else "/",
                # A command needs the terminal, and so the session that has it.
                process_group=0 if command else None,
                start_new_session=not command,
            )
        try:
            self._lock = folders.make(str(self.folder))
        except BaseException:
            self.close()
            raise

    def fileno(self) -> int:
        """Return what to wait on for the guardian to say something."""
        return self._socket.fileno()

    def tell(self, word: str, number: int) -> None:
        """Send one line of `throwaway.guardian`; raises ClusterbootError when the guardian is gone."""
        if word == "start":
            self.ended.pop(number, None)
        self._send(f"{word} {number}\n".encode())

    def listen(self) -> None:
        """Take in what the guardian has said. Raises ClusterbootError when it is gone."""
        with contextlib.suppress(BlockingIOError):
            while self._receive(socket.MSG_DONTWAIT):
                pass
            raise _gone()

    def _hear(self, word: str, first: int, second: int) -> None:
        if word == "started":
            self.pids[first] = second
        elif word == "ended":
            self.pids.pop(first, None)
            self.ended[first] = second
        elif word == "began":
            self.command = first
        elif word == "over":
            self.over = second
        elif word == "failed":
            self.failed = first

    def run(
        self,
        path: str,
        words: Sequence[str],
        env: Mapping[str, str],
        *,
        group: int,
        ignore: Collection[int] = (),
    ) -> None:
        """Let the guardian start a command in process group `group`, or one of its own where that is 0.

        It ignores the signals in `ignore`. Raises ClusterbootError when the guardian is gone.
        """
        command = guardian.packed(path, words, env, group, ignore)
        self._send(b"command %d\n%b" % (len(command), command))

    def close(self) -> None:
        """End the command and all servers, remove the folder, and return when that is done.

        Where somebody has killed the guardian and its parent, this process does their work. Raises
        ClusterbootError when servers do not end.
        """
        if self._socket.fileno() < 0:
            return
        until = time.monotonic() + _END_SECONDS
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        self._socket.settimeout(_END_SECONDS)
        try:
            # Its end closes when it has done all of that, even where its parent is gone.
            while self._receive():
                pass
            status = self._process.wait(max(0.0, until - time.monotonic()))
        except (TimeoutError, subprocess.TimeoutExpired):
            raise ClusterbootError(
                Problem(
                    "guardian-stuck",
                    f"the servers in {self.folder} did not end within {_END_SECONDS:g} s.",
                    hint=f"end them yourself; the process {self._process.pid} waits for them",
                    exit=Exit.DEFECT,
                )
            ) from None
        finally:
            self._socket.close()
            if self._lock is not None:
                os.close(self._lock)
        if status != 0 and self.folder.exists():
            self._end()

    def _end(self) -> None:
        for pid in self.pids.values():
            family.send(os.killpg, pid, signal.SIGKILL)
        if self.command and self.over is None:
            for pid in {self.command} | family.descendants(self.command):
                family.send(os.kill, pid, signal.SIGKILL)
        folders.remove(str(self.folder))

    def _send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise _gone() from error

    def _receive(self, flags: int = 0) -> bool:
        """Take in what comes next; returns False when nothing will. Raises TimeoutError, BlockingIOError."""
        try:
            data = self._socket.recv(65536, flags)
        except (TimeoutError, BlockingIOError):
            raise
        except OSError:
            return False
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            word, *numbers = line.decode().split()
            self._hear(word, *map(int, numbers))
        return bool(data)


def _inherited() -> list[int]:
    """Return the descriptors beyond the streams that a program started by this one is to have."""
    numbers = [int(name) for name in os.listdir("/dev/fd")]  # noqa: PTH208
    found = []
    for number in numbers:
        # That of /dev/fd itself is closed by now.
        with contextlib.suppress(OSError):
            if number > 2 and os.get_inheritable(number):
                found.append(number)
    return found


def _gone() -> ClusterbootError:
    return ClusterbootError(
        Problem(
            "guardian-gone",
            "the guardian of the throwaway cluster was killed, and so the cluster has to go.",
            hint="find out what kills processes here (out of memory?), then run it again",
            exit=Exit.DEFECT,
        )
    )
