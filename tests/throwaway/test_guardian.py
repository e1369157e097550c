"""The guardian below `run`, without servers: the user's command, all that it leaves, and old folders."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from clusterboot.errors import ClusterbootError
from clusterboot.throwaway import family, folders, guardian
from clusterboot.throwaway.keeper import Keeper
from tests.harness.marked import wait_until

Start = Callable[..., Keeper]


@pytest.fixture
def begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Let a guardian start a shell script in `tmp_path`; its folder is in there, too."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    begun: list[Keeper] = []

    def begin(script: str, *, path: str = "/bin/sh", ignore: Sequence[int] = (), group: int = 0) -> Keeper:
        keeper = Keeper("no-server", command=True)
        begun.append(keeper)
        keeper.run(path, ["sh", "-c", script], os.environ, group=group, ignore=ignore)
        return keeper

    yield begin
    for keeper in begun:
        keeper.close()
    assert not list(tmp_path.glob(f"{folders.PREFIX}*"))


def ended(keeper: Keeper) -> int:
    def over() -> bool:
        keeper.listen()
        return keeper.exit_status is not None

    wait_until(over, "the command has ended")
    assert keeper.exit_status is not None
    return keeper.exit_status


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def pid_in(file: Path) -> int:
    wait_until(lambda: file.exists() and file.read_text().endswith("\n"), f"a pid is in {file}")
    return int(file.read_text())


def test_the_command_has_our_folder_descriptors_and_group(begin: Start, tmp_path: Path) -> None:
    with (tmp_path / "three").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        script = f"echo there >/dev/fd/{file.fileno()}; ps -o pgid= -p $$ >pgid; exit 7"
        keeper = begin(script, group=os.getpgrp())
        assert ended(keeper) == 7
    assert (tmp_path / "three").read_text() == "there\n"
    assert int((tmp_path / "pgid").read_text()) == os.getpgrp()


def test_a_signal_goes_to_the_command_with_its_group(begin: Start, tmp_path: Path) -> None:
    keeper = begin("sleep 600 & echo $! >child; wait", ignore=(signal.SIGHUP,))
    child = pid_in(tmp_path / "child")
    keeper.tell("signal", signal.SIGHUP)
    keeper.tell("signal", signal.SIGTERM)
    assert ended(keeper) == -signal.SIGTERM
    wait_until(lambda: not runs(child), "its child is gone")


def test_processes_that_end_soon_by_themselves_are_not_killed(begin: Start, tmp_path: Path) -> None:
    """As the last program of a pipeline does, which still writes when the shell has ended."""
    keeper = begin("(sleep 0.1; echo late >late) &")
    assert ended(keeper) == 0
    keeper.close()
    assert (tmp_path / "late").read_text() == "late\n"


def test_processes_that_do_not_end_are_killed(begin: Start, tmp_path: Path) -> None:
    stubborn = "(trap '' TERM; while :; do sleep 1; done) & echo $! >stubborn"
    keeper = begin(f"{stubborn}; sleep 600 & echo $! >sleeper")
    assert ended(keeper) == 0
    pids = [pid_in(tmp_path / name) for name in ("stubborn", "sleeper")]
    assert all(map(runs, pids))
    keeper.close()
    assert not any(map(runs, pids))


def test_a_command_that_cannot_be_executed_is_reported_by_its_errno(begin: Start, tmp_path: Path) -> None:
    keeper = begin("true", path=str(tmp_path))

    def failed() -> bool:
        keeper.listen()
        return keeper.exec_errno is not None

    wait_until(failed, "it has failed")
    assert keeper.exec_errno == errno.EACCES


@pytest.mark.parametrize("both", [False, True])
def test_where_guardians_are_killed_the_keeper_leaves_nothing(
    begin: Start, tmp_path: Path, both: bool
) -> None:
    keeper = begin("sleep 600 & echo $! >child; wait")
    child = pid_in(tmp_path / "child")
    guardians = [parent_of(parent_of(child))]
    guardians += [parent_of(guardians[0])] if both else []
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in guardians:
            os.kill(pid, number)
    with pytest.raises(ClusterbootError, match="was killed"):
        wait_until(lambda: keeper.listen(), "the keeper has noticed")
    keeper.close()
    if not both:
        wait_until(lambda: not runs(child), "the child of the command is gone")
    else:
        os.kill(child, signal.SIGKILL)


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_only_unlocked_folders_are_swept(tmp_path: Path) -> None:
    place, elsewhere = tmp_path / "place", tmp_path / "elsewhere"
    for folder in (place, elsewhere):
        folder.mkdir()
    (elsewhere / "precious").touch()
    dead, held, other = (place / name for name in ("clusterboot-run-1", "clusterboot-run-2", "mine"))
    for folder in (dead, held, other):
        os.close(folders.make(str(folder)))
        (folder / "10000").mkdir()
        (folder / "10000" / "log").touch()
    (dead / "link").symlink_to(elsewhere)
    (place / "clusterboot-run-3").symlink_to(elsewhere)
    (place / "clusterboot-run-4").touch()
    lock = folders.hold(str(held))
    folders.sweep(str(place))
    left = {path.name for path in place.iterdir()}
    assert left == {"clusterboot-run-2", "clusterboot-run-3", "clusterboot-run-4", "mine"}
    assert (held / "10000" / "log").exists()
    assert (elsewhere / "precious").exists()
    os.close(lock)
    folders.sweep(str(place))
    assert not held.exists()
    folders.sweep(str(tmp_path / "nowhere"))


def test_a_folder_of_another_user_is_not_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.close(folders.make(str(tmp_path / "clusterboot-run-1")))
    monkeypatch.setattr(os, "getuid", lambda: 4711)
    folders.sweep(str(tmp_path))
    assert (tmp_path / "clusterboot-run-1").exists()


def test_a_folder_that_is_swept_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is just starting, and one that sweeps at the same moment."""
    folder = tmp_path / "clusterboot-run-1"
    hold, swept = folders.hold, []

    def late(name: str) -> int:
        if not swept:
            swept.append(name)
            folders.sweep(str(tmp_path))
            assert not folder.exists()
        return hold(name)

    monkeypatch.setattr(folders, "hold", late)
    lock = folders.make(str(folder))
    assert swept
    assert os.path.samestat(os.fstat(lock), folder.stat())
    folders.sweep(str(tmp_path))
    assert folder.exists()
    os.close(lock)


def test_the_family_of_a_process_is_found_with_and_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no /proc (macOS), ps gives the same."""
    script = "sleep 60 & (sleep 61; true) & echo there; wait"
    with subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, process_group=0) as shell:
        assert shell.stdout is not None
        assert shell.stdout.readline() == b"there\n"
        try:
            wait_until(lambda: len(family.descendants(shell.pid)) == 3, "all three children are there")
            with_proc = family.descendants(shell.pid)
            assert family.descendants(os.getpid(), [shell.pid]).isdisjoint({shell.pid, *with_proc})
            # ps itself is a child of ours only.
            monkeypatch.setattr(os.path, "exists", lambda path: False)
            assert family.descendants(shell.pid) == with_proc
        finally:
            os.killpg(shell.pid, signal.SIGKILL)


def test_where_orphans_go_to_init_the_group_of_the_command_is_ended(tmp_path: Path) -> None:
    """As on macOS: one that was known before, and one that only its group tells of."""
    code = f"""
import os, subprocess, time
from clusterboot.throwaway.family import Family
script = "sleep 600 & echo $! >{tmp_path}/orphan; trap : TERM; sleep 0.2"
shell = subprocess.Popen(["sh", "-c", script], process_group=0)
family = Family(False, group=shell.pid)
shell.wait()
family.end(5.0)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=20)
    orphan = pid_in(tmp_path / "orphan")
    wait_until(lambda: not runs(orphan), "the orphan is gone")


def test_the_guardian_starts_without_site_packages_and_without_what_is_slow() -> None:
    """It is the first thing that `run` starts and everything waits for it."""
    root = Path(guardian.__file__).parents[2]
    code = f"import sys; sys.path.append({str(root)!r}); "
    code += "import clusterboot.throwaway.guardian; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, cwd=Path("/"), check=True
    )
    slow = {"site", "asyncio", "subprocess", "socket", "dataclasses", "typing", "pathlib", "json"}
    loaded = set(done.stdout.split())
    assert not slow & loaded
    mine = {name for name in loaded if name.startswith("clusterboot.")}
    assert mine == {f"clusterboot.throwaway{name}" for name in ("", ".family", ".folders", ".guardian")}
