"""Passwords of members that leave are read like those of all nodes."""

from __future__ import annotations

from pathlib import Path

import pytest

from clusterboot.disk import credentials
from clusterboot.errors import UsageError
from clusterboot.topology import load

FILE = """
version: 1
nodes: [h:1]
auth: {password_file: shared}
retire:
  - h:2
  - {host: h, port: 3, auth: {username: ops, password_env: CLUSTERBOOT_TEST_LEAVING}}
  - 0f3bfa9ea8a4dcd4aeb0d02dd59ad0e7a4ab3f36
"""


def test_members_that_leave_have_passwords(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shared").write_text("one")
    topology = load(FILE, str(tmp_path / "t.yaml"))
    with pytest.raises(UsageError, match="CLUSTERBOOT_TEST_LEAVING"):
        credentials.load(topology)
    monkeypatch.setenv("CLUSTERBOOT_TEST_LEAVING", "two")
    assert credentials.load(topology) == {"h:1": (None, "one"), "h:2": (None, "one"), "h:3": ("ops", "two")}


def test_a_password_of_a_member_that_leaves_is_not_for_all_to_read(tmp_path: Path) -> None:
    file = tmp_path / "t.yaml"
    file.write_text("version: 1\nnodes: [h:1]\nretire: [{host: h, port: 2, auth: {password: x}}]\n")
    file.chmod(0o644)
    (problem,) = credentials.warnings(load(file.read_text(), str(file)), str(file))
    assert problem.code == "password-readable"
    file.chmod(0o600)
    assert credentials.warnings(load(file.read_text(), str(file)), str(file)) == ()
