"""The state folder: private to its user; records are replaced as a whole, with a lock."""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from clusterboot.disk import records
from clusterboot.disk.private import folder
from clusterboot.errors import Exit, Refused, UsageError
from tests.harness.cli import environment


def put(key: str, data: dict[str, object]) -> None:
    with records.locked(key, wait=5) as record:
        record.write(data)


def script(text: str) -> subprocess.Popen[str]:
    """Start Python with the project on its path."""
    env = environment()
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(text)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
    )


def make_foreign(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `path` belong to another user: with chown as root, else by a fake user id of this process."""
    if os.geteuid() == 0:
        os.lchown(path, 12345, 12345)
    else:
        uid = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: uid + 1)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"CLUSTERBOOT_STATE": "/s", "XDG_STATE_HOME": "/x", "HOME": "/h"}, "/s"),
        ({"XDG_STATE_HOME": "/x", "HOME": "/h"}, "/x/clusterboot"),
        ({"XDG_STATE_HOME": "relative", "HOME": "/h"}, "/h/.local/state/clusterboot"),
        ({"CLUSTERBOOT_STATE": "", "HOME": "/h"}, "/h/.local/state/clusterboot"),
    ],
)
def test_where_the_folder_is(
    variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CLUSTERBOOT_STATE", "XDG_STATE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert str(folder()) == expected


@pytest.mark.parametrize("key", ["orders", "a/b", "..", "", "x" * 5000, "ключ", "new\nline", "/a b/c.yaml"])
def test_any_key_names_a_record_of_its_own(key: str, state_folder: Path) -> None:
    put("other", {"who": "other"})
    put(key, {"who": key})
    assert records.read(key) == {"who": key}
    assert records.read_all() == ({"other": {"who": "other"}, key: {"who": key}}, ())
    with records.locked(key, wait=0) as record:
        record.delete()
        record.delete()
    assert records.read(key) is None
    assert len(list(state_folder.rglob("*"))) == 2, "the folder of the kind and the other record"


def test_keys_that_differ_in_case_or_punctuation_only_are_different_records() -> None:
    for key in ("a/b", "a-b", "A-b"):
        put(key, {"key": key})
    assert all(records.read(key) == {"key": key} for key in ("a/b", "a-b", "A-b"))


def test_looking_makes_nothing(state_folder: Path) -> None:
    assert records.read("x") is None
    assert not state_folder.exists()


def test_everything_is_private_whatever_the_umask(state_folder: Path) -> None:
    before = os.umask(0)
    try:
        with records.locked("x", wait=0) as record:
            record.write({})
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in state_folder.rglob("*.*")}
        records.make_servers_folder("x")
    finally:
        os.umask(before)
    assert set(modes.values()) == {0o600}
    assert len(modes) == 2, "the record and its lock"
    folders = [state_folder, *(path for path in state_folder.rglob("*") if path.is_dir())]
    assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {0o700}


def test_a_kill_at_any_moment_leaves_the_old_record_or_the_new_and_no_obstacle(state_folder: Path) -> None:
    with script(
        """
        import os, signal
        from clusterboot.disk import records

        def put(value):
            with records.locked("x", wait=0) as record:
                record.write({"value": value})

        put("old")
        moment, seen = 0, set()
        while True:
            child = os.fork()
            if child == 0:
                passed = 0
                def deadly(call):
                    def wrapper(*args, **options):
                        global passed
                        if passed == moment:
                            os.kill(os.getpid(), signal.SIGKILL)
                        passed += 1
                        return call(*args, **options)
                    return wrapper
                for name in "open close fdopen fsync ftruncate pwrite replace unlink mkdir".split():
                    setattr(os, name, deadly(getattr(os, name)))
                put("new")
                os._exit(0)
            if os.waitpid(child, 0)[1] == 0:
                break
            seen.add(records.read("x")["value"])
            assert records.read_all()[1] == ()
            put("old")
            moment += 1
        print(moment, *sorted(seen))
        """
    ) as run:
        out, err = run.communicate(timeout=60)
    assert err == ""
    moments, *seen = out.split()
    assert int(moments) > 10
    assert seen == ["new", "old"]
    assert [path.name for path in (state_folder / "spawned").iterdir()] == [records.path("x").name]


def test_a_full_disk_leaves_the_old_record_and_is_told(
    state_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("x", {"value": "old"})

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(UsageError) as caught:
            put("x", {"value": "new"})
    assert str(caught.value) == f"the state folder {state_folder} cannot be used: no space left on device."
    assert records.read("x") == {"value": "old"}
    assert list(state_folder.rglob("*.tmp")) == []


def test_a_file_where_the_folder_should_be_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CLUSTERBOOT_STATE", str(tmp_path / "file" / "state"))
    with pytest.raises(UsageError, match="not a directory"):
        put("x", {})


def test_a_link_of_ones_own_on_the_way_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real/../real")
    monkeypatch.setenv("CLUSTERBOOT_STATE", str(tmp_path / "link" / "state"))
    put("x", {"a": 1})
    assert records.read("x") == {"a": 1}
    assert (tmp_path / "real" / "state" / "spawned").is_dir()
    assert records.make_servers_folder("x").is_relative_to(tmp_path / "real")


def test_a_link_in_a_circle_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link").symlink_to("link")
    monkeypatch.setenv("CLUSTERBOOT_STATE", str(tmp_path / "link"))
    with pytest.raises(UsageError, match="cannot be used"):
        put("x", {})


@pytest.mark.parametrize("name", ["", "spawned"])
def test_a_folder_of_another_user_is_refused(
    name: str, state_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state_folder.mkdir(mode=0o700)
    (state_folder / name).mkdir(mode=0o700, exist_ok=True)
    make_foreign(state_folder / name, monkeypatch)
    for access in (records.read_all, lambda: put("x", {})):
        with pytest.raises(Refused, match="belongs to another user") as caught:
            access()
        assert caught.value.exit is Exit.REFUSED


@pytest.mark.parametrize("name", ["spawned", "servers"])
def test_a_link_in_the_place_of_a_folder_inside_is_refused(
    name: str, state_folder: Path, tmp_path: Path
) -> None:
    state_folder.mkdir(mode=0o700)
    (tmp_path / "target").mkdir()
    (state_folder / name).symlink_to(tmp_path / "target")
    with pytest.raises(Refused, match="not a folder but a link or a file"):
        put("x", {}) if name == "spawned" else records.make_servers_folder("x")
    assert list((tmp_path / "target").iterdir()) == []


def test_a_link_in_the_place_of_a_record_is_neither_read_nor_written_through(tmp_path: Path) -> None:
    put("x", {})
    target = tmp_path / "target"
    for ending in (".json", ".tmp"):
        target.write_text('{"schema": 1, "key": "x", "data": {"planted": true}}')
        planted = records.path("x").with_suffix(ending)
        planted.unlink(missing_ok=True)
        planted.symlink_to(target)
        if ending == ".json":
            with pytest.raises(Refused, match="it is a link"):
                records.read("x")
        put("x", {"mine": True})
        assert records.read("x") == {"mine": True}
        assert "planted" in target.read_text()


def test_an_open_folder_is_closed_when_it_holds_nothing_of_others(state_folder: Path) -> None:
    state_folder.mkdir()
    state_folder.chmod(0o777)
    put("x", {})
    assert stat.S_IMODE(state_folder.stat().st_mode) == 0o700


def test_an_open_folder_with_other_files_is_refused_and_left_as_it_is(state_folder: Path) -> None:
    state_folder.mkdir()
    state_folder.chmod(0o755)
    (state_folder / "letter.txt").write_text("mine")
    with pytest.raises(Refused, match="open to other users and holds other files") as caught:
        put("x", {})
    assert caught.value.problems[0].hint == "set CLUSTERBOOT_STATE to a new folder of your own"
    assert stat.S_IMODE(state_folder.stat().st_mode) == 0o755
    assert [path.name for path in state_folder.iterdir()] == ["letter.txt"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "not JSON"),
        (b'{"schema": 1, "key": "x", "da', "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "not a record"),
        (b'{"schema": "1", "key": "x", "data": {}}', "not a record"),
        (b'{"schema": 1, "key": 7, "data": {}}', "not a record"),
        (b'{"schema": 1, "key": "x", "data": []}', "not a record"),
        (b'{"schema": 2, "key": "x", "data": {}}', "newer version"),
    ],
)
def test_a_record_that_cannot_be_understood_is_told_with_its_path_and_the_way_out(
    content: bytes, why: str
) -> None:
    put("x", {})
    put("good", {"a": 1})
    record = records.path("x")
    record.write_bytes(content)
    with pytest.raises(Refused, match=why) as caught:
        records.read("x")
    problem = caught.value.problems[0]
    assert str(record) in problem.message
    assert "remove the file" in (problem.hint or "")
    found, problems = records.read_all()
    assert found == {"good": {"a": 1}}
    assert problems == caught.value.problems


def test_a_fifo_in_the_place_of_a_record_does_not_hang() -> None:
    put("x", {})
    records.path("x").unlink()
    os.mkfifo(records.path("x"))
    with pytest.raises(Refused, match="not a plain file"):
        records.read("x")


def test_a_held_lock_is_told_with_the_process_and_ends_with_it(state_folder: Path) -> None:
    with script(
        """
        from clusterboot.disk import records
        with records.locked("x", wait=0):
            print("held", flush=True)
            input()
        """
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(Refused, match=rf"process {holder.pid}\) is at work"),
            records.locked("x", wait=0.05),
        ):
            pass
        with records.locked("y", wait=0):
            pass
        holder.send_signal(signal.SIGKILL)
    with records.locked("x", wait=0):
        pass
    assert list((state_folder / "spawned").iterdir()) == []


def test_a_lock_file_that_was_removed_while_we_opened_it_is_not_the_lock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lock = records.path("x").with_suffix(".lock")
    flock, calls = fcntl.flock, []

    def late(fd: int, operation: int) -> None:
        calls.append(fd)
        if len(calls) == 1:
            # Before this flock the holder releases the lock and the next process makes another lock file.
            lock.unlink()
            lock.touch()
        flock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with records.locked("x", wait=5):
        assert len(calls) == 2
        with pytest.raises(Refused, match="is at work"), records.locked("x", wait=0):
            pass


def test_the_lock_lets_one_through_at_a_time_though_it_is_removed_each_time() -> None:
    runs = [
        script(
            """
            from clusterboot.disk import records
            for _ in range(40):
                with records.locked("x", wait=60) as record:
                    record.write({"count": (record.read() or {"count": 0})["count"] + 1})
            """
        )
        for _ in range(3)
    ]
    for run in runs:
        _, err = run.communicate(timeout=120)
        assert err == ""
    assert records.read("x") == {"count": 120}
