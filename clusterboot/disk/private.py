"""The state folder: `$CLUSTERBOOT_STATE`, `$XDG_STATE_HOME/clusterboot` or `~/.local/state/clusterboot`.

It and the folders in it are 0700 and must belong to the user. No link inside it is followed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from clusterboot.errors import Refused, UsageError

_OWN_NAMES = {"servers", "spawned"}


def folder() -> Path:
    """Return the state folder, which may not exist yet; UsageError with no variable and no home folder."""
    if chosen := os.environ.get("CLUSTERBOOT_STATE"):
        return Path(chosen).absolute()
    # By the XDG specification a relative path is invalid and has to be ignored.
    if (xdg := os.environ.get("XDG_STATE_HOME", "")).startswith("/"):
        return Path(xdg) / "clusterboot"
    try:
        return Path.home().absolute() / ".local" / "state" / "clusterboot"
    except RuntimeError:
        raise UsageError.of(
            "state-folder",
            "there is no home folder to keep the state folder in.",
            hint="set CLUSTERBOOT_STATE to a folder of your own",
        ) from None


def private_folder(*names: str, create: bool) -> Path | None:
    """Return the folder `names` of the state folder once it is safe to use; None when it does not exist.

    With `create` it is made. Raises Refused when it is not safe; call it within `explained`.
    """
    here = folder()
    if create:
        _make(here)
    try:
        _check_root(here)
        for name in names:
            here /= name
            if create:
                with suppress(FileExistsError):
                    here.mkdir(0o700)
            _check_inside(here)
    except FileNotFoundError:
        return None
    return here


def _make(path: Path) -> None:
    if not path.exists():
        _make(path.parent)
        with suppress(FileExistsError):
            path.mkdir(0o700)


def _check_root(root: Path) -> None:
    info = root.stat()
    if info.st_uid != os.geteuid():
        raise _unsafe(f"it belongs to another user (uid {info.st_uid})")
    if info.st_mode & 0o077:
        # Probably made with 'mkdir' for clusterboot. A home folder or /tmp must not be closed to others.
        if not {entry.name for entry in root.iterdir()} <= _OWN_NAMES:
            raise _unsafe("it is open to other users and holds other files")
        root.chmod(0o700)


def _check_inside(path: Path) -> None:
    info = path.lstat()
    if not stat.S_ISDIR(info.st_mode):
        raise _unsafe(f"{path.name} in it is not a folder but a link or a file")
    if info.st_uid != os.geteuid():
        raise _unsafe(f"{path.name} in it belongs to another user (uid {info.st_uid})")
    if info.st_mode & 0o077:
        path.chmod(0o700)


def _unsafe(why: str) -> Refused:
    return Refused.of(
        "state-unsafe",
        f"the state folder {folder()} is not safe to use: {why}.",
        hint="set CLUSTERBOOT_STATE to a new folder of your own",
    )


@contextmanager
def explained() -> Iterator[None]:
    """Turn an OSError into a UsageError that names the state folder and the next step."""
    try:
        yield
    except OSError as error:
        raise UsageError.of(
            "state-folder",
            f"the state folder {folder()} cannot be used: {(error.strerror or str(error)).lower()}.",
            hint="make room or give access to it, or set CLUSTERBOOT_STATE to another folder",
        ) from error
