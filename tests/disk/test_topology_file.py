"""Reading a topology file: the result is a topology or a problem, whatever is at the path."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from clusterboot.disk import topology_file
from clusterboot.errors import Exit, Problem, TopologyError
from clusterboot.topology import decode


def problem(path: str | Path) -> Problem:
    with pytest.raises(TopologyError) as caught:
        topology_file.read(path)
    (found,) = caught.value.problems
    assert found.exit is Exit.USAGE
    assert found.file == str(path)
    return found


def test_a_file_is_read_and_its_paths_are_relative_to_it(tmp_path: Path) -> None:
    file = tmp_path / "t.yaml"
    file.write_bytes(b"\xef\xbb\xbfversion: 1\nnodes: [h:1]\ntls: {ca: ca.pem}\n")
    topology = topology_file.read(file)
    assert topology.tls is not None
    assert topology.tls.ca == tmp_path / "ca.pem"
    assert topology_file.read(str(file)) == topology


def test_problems_of_the_text_name_the_file(tmp_path: Path) -> None:
    file = tmp_path / "t.yaml"
    file.write_text("version: 1\nnodes: [h]\n")
    found = problem(file)
    assert (found.line, found.column) == (2, 9)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing.yaml", "there is no such file"),
        ("a" * 300, "its name is too long"),
        ("file/t.yaml", "there is no such file"),
        ("loop", "its symbolic links go in a circle"),
        ("", "it is a directory; name the file in it"),
        ("nul\0", "its name has characters that no file name can have"),
        ("half\ud800", "its name has characters that no file name can have"),
    ],
)
def test_what_cannot_be_opened_is_told_in_words(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    found = problem(f"{tmp_path}/{name}")
    assert found.code == "topology-unreadable"
    assert found.message == f"cannot read the topology file: {reason}"


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str, flags: int) -> int:  # root may read everything, so the file mode is no test
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(os, "open", refuse)
    assert problem(tmp_path / "t.yaml").message == "cannot read the topology file: you may not read it"


def test_a_file_that_breaks_off_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    (tmp_path / "t.yaml").touch()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", fail)
        found = problem(tmp_path / "t.yaml")
    assert found.message == "cannot read the topology file: Input/output error"


def test_a_fifo_that_nobody_writes_to_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert "not a regular file" in problem(tmp_path / "fifo").message


def test_a_device_without_end_is_not_read() -> None:
    assert "not a regular file" in problem("/dev/zero").message


def test_a_socket_is_no_topology(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("sock")
        assert problem("sock").code == "topology-unreadable"


def test_a_huge_file_is_not_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "t.yaml"
    with file.open("wb") as stream:
        stream.truncate(10 * 1024 * 1024 * 1024)
    read: list[int] = []

    def counting(data: bytes, name: str) -> str:
        read.append(len(data))
        return decode(data, name)

    monkeypatch.setattr(topology_file, "decode", counting)
    assert problem(file).code == "topology-too-large"
    assert read == [1024 * 1024 + 1]
