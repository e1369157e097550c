"""Our end of the guardian's socket (`clusterboot.throwaway.guardian`)."""

from __future__ import annotations

import contextlib
import marshal
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from clusterboot.background import python_command
from clusterboot.errors import ClusterbootError
from clusterboot.throwaway import family, folders

# Enough for the grace period of the command, even on a busy machine.
_END_SECONDS = 10.0


class Keeper:
    """The folder of a throwaway cluster and its guardian, which ends everything when this process ends.

    By port, `pids` are the running servers and `ended` the exit statuses of the others (minus the signal that
    killed them). `command` is the pid of the user's command once it has begun, `exit_status` its exit status,
    `exec_errno` the error number if it could not be executed.
    """

    def __init__(self, server: str, *, command: bool = False) -> None:
        """Start the guardian for servers of the binary `server` and create the folder, without waiting.

        With `command` it can run one, with the streams, working folder and terminal of this process.
        """
        # A random name, so that no other user can create it first. Created after the guardian has started.
        name = f"{folders.PREFIX}{os.urandom(8).hex()}"
        self.folder = Path(os.path.realpath(tempfile.gettempdir()), name)
        self.pids: dict[int, int] = {}
        self.ended: dict[int, int] = {}
        self.command = 0
        self.exit_status: int | None = None
        self.exec_errno: int | None = None
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
                # A command needs the terminal, hence our session.
                process_group=0 if command else None,
                start_new_session=not command,
            )
        try:
            self._lock = folders.make(str(self.folder))
        except BaseException:
            self.close()
            raise

    def fileno(self) -> int:
        """Return the descriptor to poll for lines of the guardian."""
        return self._socket.fileno()

    def tell(self, word: str, number: int) -> None:
        """Send one line to the guardian. Raises ClusterbootError if it was killed."""
        if word == "start":
            self.ended.pop(number, None)
        self._send(f"{word} {number}\n".encode())

    def listen(self) -> None:
        """Handle the lines that the guardian has sent. Raises ClusterbootError if it was killed."""
        with contextlib.suppress(BlockingIOError):
            while self._receive(socket.MSG_DONTWAIT):
                pass
            raise _gone()

    def _handle(self, word: str, first: int, second: int) -> None:
        if word == "started":
            self.pids[first] = second
        elif word == "ended":
            self.pids.pop(first, None)
            self.ended[first] = second
        elif word == "began":
            self.command = first
        elif word == "over":
            self.exit_status = second
        elif word == "failed":
            self.exec_errno = first

    def run(
        self,
        path: str,
        words: Sequence[str],
        env: Mapping[str, str],
        *,
        group: int,
        ignore: Collection[int] = (),
    ) -> None:
        """Have the guardian start a command in process group `group`, or in a new one if that is 0.

        It ignores the signals in `ignore`. Raises ClusterbootError if the guardian was killed.
        """
        command = (
            *(group, [int(number) for number in ignore], os.fsencode(path), [*map(os.fsencode, words)]),
            {os.fsencode(name): os.fsencode(value) for name, value in env.items()},
        )
        data = marshal.dumps(command)
        self._send(b"command %d\n%b" % (len(data), data))

    def close(self) -> None:
        """End the command and all servers, and remove the folder, even if guardian and parent were killed.

        Raises ClusterbootError when servers do not end.
        """
        if self._socket.fileno() < 0:
            return
        until = time.monotonic() + _END_SECONDS
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        self._socket.settimeout(_END_SECONDS)
        try:
            # The guardian closes its end when it is done.
            while self._receive():
                pass
            status = self._process.wait(max(0.0, until - time.monotonic()))
        except (TimeoutError, subprocess.TimeoutExpired):
            raise ClusterbootError.of(
                "guardian-stuck",
                f"the servers in {self.folder} did not end within {_END_SECONDS:g} s.",
                hint=f"kill them yourself; process {self._process.pid} waits for them",
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
        if self.command and self.exit_status is None:
            for pid in {self.command} | family.descendants(self.command):
                family.send(os.kill, pid, signal.SIGKILL)
        folders.remove(str(self.folder))

    def _send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise _gone() from error

    def _receive(self, flags: int = 0) -> bool:
        """Handle the next lines; return False at the end. Raises TimeoutError, BlockingIOError."""
        try:
            data = self._socket.recv(65536, flags)
        except (TimeoutError, BlockingIOError):
            raise
        except OSError:
            return False
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            word, *numbers = line.decode().split()
            self._handle(word, *map(int, numbers))
        return bool(data)


def _inherited() -> list[int]:
    """Return the inheritable descriptors of this process, without the streams."""
    inheritable = []
    for number in map(int, os.listdir("/dev/fd")):  # noqa: PTH208
        # The one that listed /dev/fd is closed by now.
        with contextlib.suppress(OSError):
            if number > 2 and os.get_inheritable(number):
                inheritable.append(number)
    return inheritable


def _gone() -> ClusterbootError:
    return ClusterbootError.of(
        "guardian-gone",
        "the guardian of the throwaway cluster was killed, so the cluster was stopped.",
        hint="find out what killed it (out of memory?), then run it again",
    )
