"""User names and passwords, read when a command is about to connect; messages never show a value."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Mapping
from pathlib import Path

from clusterboot.errors import Exit, Problem, UsageError, warning
from clusterboot.topology import Auth, Credential, Topology

MAX_PASSWORD_BYTES = 64 * 1024


def load(topology: Topology, asked: str | None = None) -> Mapping[str, Credential]:
    """Return user name and password by node name; both None for a node without `auth`.

    `asked` is the password from the prompt, for all nodes without another source. Raises UsageError with
    every variable that is not set and every file that cannot be read.
    """
    auths = {node.name: node.auth or Auth() for node in topology.reached}
    found: dict[Auth, Credential] = {}
    problems: list[Problem] = []
    for auth in dict.fromkeys(auths.values()):
        try:
            found[auth] = (auth.username, _password(auth, asked))
        except UsageError as missing:
            problems += missing.problems
    if problems:
        raise UsageError(*dict.fromkeys(problems))
    return {name: found[auth] for name, auth in auths.items()}


def warnings(topology: Topology, file: str) -> tuple[Problem, ...]:
    """Return a warning for every file that holds a password and that other users can read."""
    auths = [node.auth for node in topology.reached if node.auth]
    paths = {auth.password_file for auth in auths if auth.password_file}
    if any(auth.password for auth in auths):
        paths.add(Path(file))
    return tuple(
        warning(
            "password-readable",
            f"{path} holds a password and other users can read it.",
            hint=f"run 'chmod go-r {shlex.quote(str(path))}'",
        )
        for path in sorted(paths)
        if _others_read(path)
    )


def _password(auth: Auth, asked: str | None) -> str | None:
    if auth.password is not None:
        return auth.password.value
    if auth.password_env is not None:
        source = f"the environment variable {auth.password_env} for a password"
        data = os.environb.get(os.fsencode(auth.password_env), b"")
        if not data:
            hint = f"run 'export {auth.password_env}=…', or name another source in the topology"
            raise _missing(f"{source} is not set", hint)
    elif auth.password_file is not None:
        source = f"the password file {auth.password_file}"
        try:
            with auth.password_file.open("rb") as stream:
                data = stream.read(MAX_PASSWORD_BYTES).removesuffix(b"\n").removesuffix(b"\r")
        except OSError as error:
            hint = "check password_file in the topology; it is relative to the topology's folder"
            raise _missing(f"{source} cannot be read: {error.strerror}", hint) from None
        if not data:
            raise _missing(f"{source} is empty", "write the password to it")
    else:
        return asked
    try:
        return data.decode()
    except UnicodeDecodeError:  # which holds the password
        raise _missing(f"{source} is not UTF-8 text", "set a password in UTF-8") from None


def _missing(message: str, hint: str) -> UsageError:
    return UsageError(Problem("no-password", f"{message}.", hint=hint, exit=Exit.USAGE))


def _others_read(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))
    except OSError:
        return False
