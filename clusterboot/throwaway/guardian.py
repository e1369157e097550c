"""The guardian of a throwaway cluster: a small process that ends it, however clusterboot itself ends.

It is the parent of the servers and of the user's command, and adopts what the command leaves behind. When its
socket (`keeper`) closes, because clusterboot has finished or was killed, it ends the command with its
descendants, then the servers, and removes their folder. Its parent, a second process, does the same if the
guardian is killed; if both are killed, the system ends the servers (Linux).
It imports almost nothing (`-I -S`), because nothing of the cluster can start before it does.

Lines on its socket, each with one number:      Lines that it writes back, each with two:
    start PORT      start SERVER in FOLDER/PORT     started PORT PID
    stop PORT       kill that server                ended PORT STATUS   (minus the signal that killed it)
    command LENGTH  so many bytes follow:           began PID GROUP
                    see `Keeper.run`                failed ERRNO 0      it cannot be executed
    signal NUMBER   send it to the command          over PID STATUS     (as for servers)
"""

from __future__ import annotations

import marshal
import os
import signal
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress

from clusterboot.throwaway import folders
from clusterboot.throwaway.family import Family, adopt_orphans, die_with, send

CONFIG, LOG = "server.conf", "log"
# Seconds between SIGTERM and SIGKILL for the user's command when clusterboot is gone.
GRACE = 1.0
# Seconds for processes that the command leaves running to end by themselves, such as the end of a pipeline.
LINGER = 0.5
# These are for clusterboot; the guardian ends when its socket closes.
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE)
_STREAMS = (0, 1, 2)


def main(folder: str, server: str, control: int, inherited: Sequence[int]) -> None:
    """Guard a throwaway cluster in a child process, and end the cluster if the child is killed.

    `control` is the socket; `inherited` are further descriptors for the user's command, beside its streams.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    for ignored in _IGNORED:
        signal.signal(ignored, signal.SIG_IGN)
    streams = [os.dup(number) for number in _STREAMS]
    null = os.open(os.devnull, os.O_RDWR)
    for number in _STREAMS:
        os.dup2(null, number)
    for number in (control, *inherited):
        os.set_inheritable(number, False)
    adopts = adopt_orphans()
    pid = os.fork()
    if pid == 0:
        try:
            Guardian(folder, server, control, (*streams, *inherited), mask).guard()
        finally:
            os._exit(1)
    for number in (control, *streams, *inherited):
        os.close(number)
    os.chdir("/")
    folders.sweep(os.path.dirname(folder))  # noqa: PTH120 (pathlib would double the time to start)
    _, status = os.waitpid(pid, 0)
    if status != 0:
        Family(adopts).end(GRACE)
        folders.remove(folder)
    os._exit(min(status, 1))


class Guardian:
    """The servers by port, and the user's command."""

    def __init__(
        self, folder: str, server: str, control: int, handed: Sequence[int], mask: set[int | signal.Signals]
    ) -> None:
        """Take what `main` has; `handed` are the streams of the command, then its other descriptors."""
        self._folder = folder
        self._server = server
        self._control = control
        self._handed = handed
        self._mask = mask
        self._adopts = adopt_orphans()
        self._input = open(control, "rb")  # noqa: SIM115
        self._servers: dict[int, int] = {}
        self._command = 0
        self._leads = False
        self._family: Family | None = None
        self._ended_at = 0.0

    def guard(self) -> None:
        """Follow the lines on the socket until it closes; then end everything and exit."""
        signal.signal(signal.SIGCHLD, self._reap)
        try:
            for word, number in self._lines():
                # A child must not be reaped before its pid is recorded.
                signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
                if word == "start":
                    self._start_server(number)
                elif word == "stop" and number in self._servers:
                    send(os.killpg, self._servers[number], signal.SIGKILL)
                elif word == "command":
                    self._start_command(number)
                elif word == "signal" and self._command:
                    # Not to the other members of a group that it does not lead.
                    send(os.killpg if self._leads else os.kill, self._command, number)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
        finally:
            # Also if a fork fails: clusterboot notices the closed socket.
            self._end()
        os._exit(0)

    def _end(self) -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
        if self._family is not None and (self._command or not self._family.wait(self._ended_at + LINGER)):
            self._family.end(GRACE)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for pid in self._servers.values():
            send(os.killpg, pid, signal.SIGKILL)
        for pid in self._servers.values():
            os.waitpid(pid, 0)
        with suppress(ChildProcessError):
            # A server that is a script may have left processes behind.
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
            Family(self._adopts).end(0.0)
        folders.remove(self._folder)

    def _reap(self, *_: object) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            if pid == self._command:
                self._command, self._ended_at = 0, time.monotonic()
                self._tell(f"over {pid} {code}")
            for port in [port for port, server in self._servers.items() if server == pid]:
                del self._servers[port]
                self._tell(f"ended {port} {code}")

    def _lines(self) -> Iterator[tuple[str, int]]:
        # Reading fails if clusterboot was killed with lines unread.
        with suppress(OSError):
            for line in self._input:
                word, number = line.decode().split()
                yield word, int(number)

    def _tell(self, line: str) -> None:
        # If clusterboot is gone, reading the socket ends the loop.
        with suppress(OSError):
            os.write(self._control, f"{line}\n".encode())

    def _start_server(self, port: int) -> None:
        if not self._servers:
            # This lock ends with the process.
            folders.hold(self._folder)
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            try:
                os.setpgid(0, 0)
                die_with(parent, signal.SIGKILL)
                _reset_signals(())
                os.umask(0o077)
                os.chdir(f"{self._folder}/{port}")
                log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
                os.dup2(log, 1)
                os.dup2(log, 2)
                os.execv(self._server, [self._server, CONFIG])  # noqa: S606 (no shell is wanted)
            except OSError as error:
                os.write(2, f"{self._server}: {error.strerror}\n".encode())
            finally:
                os._exit(127)
        _lead(pid)
        self._servers[port] = pid
        self._tell(f"started {port} {pid}")

    def _start_command(self, length: int) -> None:
        packed = self._input.read(length)
        if len(packed) < length:
            return  # clusterboot was killed while it wrote the command.
        group, ignore, path, words, env = marshal.loads(packed)  # noqa: S302 (from our own parent)
        parent = os.getpid()
        failed, fail = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.setpgid(0, group)
                die_with(parent, signal.SIGTERM)
                for stream, number in zip(self._handed, _STREAMS, strict=False):
                    os.dup2(stream, number)
                for number in self._handed[len(_STREAMS) :]:
                    os.set_inheritable(number, True)
                _reset_signals(ignore, self._mask)
                os.execve(path, words, env)  # noqa: S606 (no shell is wanted)
            except OSError as error:
                os.write(fail, str(error.errno).encode())
            finally:
                os._exit(127)
        if group == 0:
            _lead(pid)
        # In the command's session but not its group, this would count as a shell that can resume it (Ctrl-Z).
        os.setsid()
        os.close(fail)
        for number in self._handed:
            os.close(number)
        with open(failed, "rb") as report:  # noqa: PTH123
            reason = report.read()
        if reason:
            os.waitpid(pid, 0)
            self._tell(f"failed {reason.decode()} 0")
            return
        self._command, self._leads = pid, group == 0
        self._family = Family(self._adopts, self._servers.values, pid if self._leads else 0)
        self._tell(f"began {pid} {group}")
        os.chdir("/")


def _reset_signals(ignore: Sequence[int], mask: Collection[int] = ()) -> None:
    """Reset signal handling in a new process, before exec; it ignores only `ignore`."""
    # SIGPIPE and SIGXFSZ are ignored by Python.
    for number in (*_IGNORED, signal.SIGXFSZ, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD):
        signal.signal(number, signal.SIG_IGN if number in ignore else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _lead(pid: int) -> None:
    """Make a child the leader of a group. It does so too: whichever is first, the group exists in time."""
    send(os.setpgid, pid, pid)
