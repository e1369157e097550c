"""The guardian of a throwaway cluster: a small process that ends it, whatever ended clusterboot.

clusterboot starts this file as a script and holds the other end of its standard input, alone. The guardian
starts the servers as children of its own, so none can be started without it knowing. When that other end
closes, be it because clusterboot is done or because it was killed, the guardian ends the user's command if
that still runs, then the servers, then their folder, then itself. It imports next to nothing: it runs with
`-I -S`, and nothing of the cluster can start before it does.

    python -I -S guardian.py FOLDER SERVER

Lines on its input, each with one number:       Lines that it writes back to the same socket:
    start PORT    start SERVER in FOLDER/PORT       started PORT PID
    stop PORT     kill that one                     ended PORT STATUS   (minus the signal that killed it)
    command PID   the user's command has begun
    over PID      the user's command has ended
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator

CONFIG, LOG = "server.conf", "log"
# How long the user's command has between SIGTERM and SIGKILL when clusterboot is gone, in seconds.
GRACE = 1.0
_POLL = 0.02
# Ctrl-C, a closing terminal and a polite kill are for clusterboot; all that ends the guardian is its input.
_DEAF = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE)


def main(folder: str, server: str) -> None:
    """Obey the lines on standard input until it closes; then end everything and remove the folder."""
    for deaf in _DEAF:
        signal.signal(deaf, signal.SIG_IGN)
    pids: dict[int, int] = {}

    def reap(*_: object) -> None:
        for port, pid in list(pids.items()):
            try:
                ended, status = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                continue  # One signal came while the one before was handled.
            if ended:
                del pids[port]
                _tell(f"ended {port} {os.waitstatus_to_exitcode(status)}")

    signal.signal(signal.SIGCHLD, reap)
    command = 0
    try:
        for word, number in _lines():
            # Not to be told of a death before its pid is written down.
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
            if word == "start":
                pids[number] = _start(folder, server, number)
                _tell(f"started {number} {pids[number]}")
            elif word == "stop" and number in pids:
                _quietly(os.killpg, pids[number], signal.SIGKILL)
            elif word == "command":
                command = number
            elif word == "over":
                command = 0
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
    finally:
        # Also when no process can be forked any more: our end is told to clusterboot by the closed socket.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        if command:
            end_command(command)
        for pid in pids.values():
            _quietly(os.killpg, pid, signal.SIGKILL)
        for pid in pids.values():
            os.waitpid(pid, 0)
        remove(folder)


def _lines() -> Iterator[tuple[str, int]]:
    rest = b""
    while True:
        try:
            data = os.read(0, 4096)
        except OSError:
            return
        if not data:
            return
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            word, number = line.decode().split()
            yield word, int(number)


def _tell(line: str) -> None:
    try:
        os.write(0, f"{line}\n".encode())
    except OSError:
        return  # Nobody listens any more; the end of the input will tell.


def _start(folder: str, server: str, port: int) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            os.setpgid(0, 0)
            for number in (*_DEAF, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, [])
            os.umask(0o077)
            os.chdir(f"{folder}/{port}")
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.execv(server, [server, CONFIG])  # noqa: S606 (no shell is wanted)
        except OSError as error:
            os.write(2, f"{server}: {error.strerror}\n".encode())
        finally:
            os._exit(127)
    # In the child as well: whichever comes first, the group is there before anybody kills it.
    _quietly(os.setpgid, pid, pid)
    return pid


def end_command(pid: int) -> None:
    """End a command whose parent is gone: SIGTERM, and SIGKILL after GRACE seconds.

    With it go its descendants, and its process group where it leads one.
    """
    everybody = [pid, *descendants(pid)]
    group = _group(pid) == pid
    until = time.monotonic() + GRACE
    # A process that is stopped takes its SIGTERM only when it goes on.
    for number in (signal.SIGTERM, signal.SIGCONT, signal.SIGKILL):
        if number == signal.SIGKILL:
            while time.monotonic() < until and (
                any(_quietly(os.kill, one, 0) for one in everybody) or (group and _quietly(os.killpg, pid, 0))
            ):
                time.sleep(_POLL)
            # Whoever was asked to end may have begun something else meanwhile.
            everybody += [new for one in everybody for new in descendants(one) if new not in everybody]
        if group:
            _quietly(os.killpg, pid, number)
        for one in everybody:
            if not group or _group(one) != pid:
                _quietly(os.kill, one, number)


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except OSError:
        return 0


def descendants(pid: int) -> list[int]:
    """Return the pids of all children of `pid`, their children, and so on."""
    children: dict[int, list[int]] = {}
    for child, parent in _parents():
        children.setdefault(parent, []).append(child)
    found: list[int] = []
    todo = [pid]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def _parents() -> Iterator[tuple[int, int]]:
    """Return the pid and the parent's pid of every process."""
    if not os.path.exists("/proc/self/stat"):  # noqa: PTH110 (pathlib would double the time to start)
        with os.popen("ps -A -o pid= -o ppid=") as lines:  # noqa: S605, S607 (a fixed command)
            for line in lines:
                child, parent = line.split()
                yield int(child), int(parent)
        return
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123
                    # The name of the command is in parentheses and may hold any character.
                    yield int(name), int(file.read().rpartition(b")")[2].split()[1])
            except OSError:
                continue


def _quietly(send: Callable[[int, int], None], pid: int, number: int) -> bool:
    """Send to a process or group that may be gone, and return whether it was there."""
    try:
        send(pid, number)
    except OSError:
        return False
    return True


def remove(folder: str) -> None:
    """Remove a folder and what is in it; a child of a server may still be dying in there for a moment."""
    for _ in range(50):
        try:
            for root, folders, files in os.walk(folder, topdown=False):
                for name in files:
                    os.unlink(f"{root}/{name}")  # noqa: PTH108
                for name in folders:
                    os.rmdir(f"{root}/{name}")  # noqa: PTH106
            os.rmdir(folder)  # noqa: PTH106
        except OSError:
            if not os.path.exists(folder):  # noqa: PTH110
                return
            time.sleep(_POLL)
        else:
            return


if __name__ == "__main__":
    main(*sys.argv[1:])
