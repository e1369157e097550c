"""Where state is kept, and opening it so that nobody else can lead clusterboot elsewhere.

The folder is `$CLUSTERBOOT_STATE`, else `$XDG_STATE_HOME/clusterboot`, else `~/.local/state/clusterboot`;
it and all folders in it are 0700. A link on the way to it is followed only when it belongs to the user
or to root; inside it none is, and every folder must be the user's. All is opened relative to folders
that have been checked, so nothing can be swapped in between.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from clusterboot.errors import ClusterbootError, Exit, Problem, Refused, UsageError

# What may lie in a state folder that its user made with other users let in.
_OURS = {"servers", "spawned"}
_MAX_LINKS = 40  # what Linux allows in one path

SAFE = os.O_CLOEXEC | os.O_NOFOLLOW
_FOLDER = SAFE | os.O_DIRECTORY | os.O_RDONLY
# A folder on the way needs the right to pass, not the right to list (/home may be 0711).
_PASS = SAFE | os.O_DIRECTORY | getattr(os, "O_PATH", os.O_RDONLY)


def folder() -> Path:
    """Return the absolute path of the state folder, which may not exist yet.

    Raises UsageError when no variable names it and the user has no home folder.
    """
    if chosen := os.environ.get("CLUSTERBOOT_STATE"):
        return Path(chosen).absolute()
    # The XDG specification: a relative path is invalid and to be ignored.
    if (xdg := os.environ.get("XDG_STATE_HOME", "")).startswith("/"):
        return Path(xdg) / "clusterboot"
    try:
        return Path.home().absolute() / ".local" / "state" / "clusterboot"
    except RuntimeError:
        raise UsageError(
            Problem(
                "state-folder",
                "there is no home folder to keep the state folder in",
                hint="set CLUSTERBOOT_STATE to a folder of your own",
                exit=Exit.USAGE,
            )
        ) from None


@contextmanager
def opened(kind: str, *, create: bool) -> Iterator[int | None]:
    """Open the folder `kind` of the state folder; gives its descriptor, or None when it is not there.

    With `create` it is made. Raises Refused when it is not safe; use it within `explained`.
    """
    with ExitStack() as stack:
        root = _walk(folder(), create=create)
        if root is None:
            yield None
            return
        stack.callback(os.close, root)
        try:
            here = open_inside(root, kind, create=create)
        except FileNotFoundError:
            yield None
            return
        stack.callback(os.close, here)
        yield here


def _walk(target: Path, *, create: bool) -> int | None:
    """Walk to the state folder part by part, so that no link is followed unseen; see the module's text."""
    todo = list(target.parts[1:])
    links = 0
    here = os.open("/", _PASS)
    try:
        while todo:
            name = todo.pop(0)
            try:
                there = os.open(name, _PASS, dir_fd=here)
            except FileNotFoundError:
                if not create:
                    return None
                with suppress(FileExistsError):
                    os.mkdir(name, 0o700, dir_fd=here)
                todo.insert(0, name)
                continue
            except OSError as error:
                # Linux says ENOTDIR of a link, macOS ELOOP.
                if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                    raise
                link = os.stat(name, dir_fd=here, follow_symlinks=False)
                links += 1
                if not stat.S_ISLNK(link.st_mode) or links > _MAX_LINKS:
                    raise
                if link.st_uid not in (0, os.geteuid()):
                    raise _unsafe(
                        f"{name} on the way to it is a link of another user (uid {link.st_uid})"
                    ) from None
                to = os.readlink(name, dir_fd=here)
                todo[:0] = [part for part in to.split("/") if part not in ("", ".")]
                there = os.open("/" if to.startswith("/") else ".", _PASS, dir_fd=here)
            os.close(here)
            here = there
        root = os.open(".", _FOLDER, dir_fd=here)
    finally:
        os.close(here)
    try:
        _check_root(root)
    except BaseException:
        os.close(root)
        raise
    return root


def _check_root(root: int) -> None:
    found = os.fstat(root)
    if found.st_uid != os.geteuid():
        raise _unsafe(f"it belongs to another user (uid {found.st_uid})")
    if found.st_mode & 0o077:
        # Made with `mkdir` for us, most likely. But nobody's home folder or /tmp is to be closed.
        if not set(os.listdir(root)) <= _OURS:
            raise _unsafe("it is open to other users and holds other files")
        os.fchmod(root, 0o700)


def open_inside(parent: int, name: str, *, create: bool) -> int:
    """Open a folder inside the state folder (with `create` made first); it must be the user's, and no link.

    Raises FileNotFoundError when it is not there, Refused when it is not safe.
    """
    if create:
        with suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=parent)
    try:
        here = os.open(name, _FOLDER, dir_fd=parent)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise _unsafe(f"{name} in it is not a folder but a link or a file") from None
        raise
    found = os.fstat(here)
    if found.st_uid != os.geteuid():
        os.close(here)
        raise _unsafe(f"{name} in it belongs to another user (uid {found.st_uid})")
    if found.st_mode & 0o077:
        os.fchmod(here, 0o700)
    return here


def _unsafe(why: str) -> Refused:
    return Refused(
        Problem(
            "state-unsafe",
            f"the state folder {folder()} is not safe to use: {why}",
            hint="set CLUSTERBOOT_STATE to a new folder of your own",
            exit=Exit.REFUSED,
        )
    )


@contextmanager
def explained() -> Iterator[None]:
    """Turn what the system says into a sentence with the folder and the next step."""
    try:
        yield
    except ClusterbootError:
        raise
    except OSError as error:
        raise UsageError(
            Problem(
                "state-folder",
                f"the state folder {folder()} cannot be used: {(error.strerror or str(error)).lower()}",
                hint="make room or give access to it, or set CLUSTERBOOT_STATE to another folder",
                exit=Exit.USAGE,
            )
        ) from error
