"""Passwords are shown nowhere: every command, every end, --debug and JSON, searched for canaries."""

from __future__ import annotations

import json
import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from clusterboot import commands
from clusterboot.commands import ConnectOptions, UpOptions
from clusterboot.commands.shell import Shell
from clusterboot.errors import Exit
from tests.harness import resp
from tests.harness.cli import clusterboot
from tests.harness.fake import Fake
from tests.harness.servers import Servers, binary

Start = Callable[..., Servers]

# Letters and digits only, so that no quoting hides one.
RIGHT, WRONG = "CanaryRight7f3a", "CanaryWrong91bc"
# Of this process of pytest alone: another one may run servers with the passwords above at the same moment.
OWN = f"CanaryOwn{os.getpid():08d}"
CANARIES = (RIGHT, WRONG, OWN)


def clean(text: str, where: str) -> None:
    for canary in CANARIES:
        assert canary not in text, f"{canary} in {where}: {text}"


def everything(shell: Shell, file: Path, reach: ConnectOptions) -> dict[str, Exit]:
    """Run every command; how each ended."""
    works: dict[str, Callable[[Shell], Exit]] = {
        "validate": lambda shell: commands.validate(shell, file),
        "plan": lambda shell: commands.plan(shell, file, "table"),
        "script": lambda shell: commands.plan(shell, file, "commands"),
        "status": lambda shell: commands.status(shell, file, reach, watch=False),
        "dry run": lambda shell: commands.up(shell, file, UpOptions(dry_run=True), reach),
        "up": lambda shell: commands.up(shell, file, UpOptions(), reach),
        "down": lambda shell: commands.down(shell, file, reach, reset=True, yes=True, flush=False),
        "ls": commands.ls,
    }
    return {name: shell.guard(name, lambda work=work: work(shell)) for name, work in works.items()}  # type: ignore[misc]


FORMS = ({}, {"json": True}, {"debug": True}, {"json": True, "debug": True})


def search(
    file: Path,
    capfd: pytest.CaptureFixture[str],
    timeout: float = 1.5,
    forms: Sequence[dict[str, bool]] = FORMS,
) -> dict[str, set[Exit]]:
    """Run every command in every form; nothing that it prints may hold a canary. Returns how each ended."""
    ends: dict[str, set[Exit]] = {}
    for options in forms:
        for name, end in everything(Shell(**options), file, ConnectOptions(timeout)).items():
            ends.setdefault(name, set()).add(end)
        out, err = capfd.readouterr()
        clean(out + err, str(options))
    return ends


def write(folder: Path, running: Servers | None, **keys: object) -> Path:
    nodes = running.addresses if running is not None else ["127.0.0.1:1"]
    path = folder / "topology.yaml"
    document = {"version": 1, "nodes": nodes, **keys}
    path.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in document.items()))
    return path


def sources(folder: Path, password: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, object]]:
    monkeypatch.setenv("CANARY", password)
    (folder / "secret").write_text(password)
    yield {"password_env": "CANARY"}
    yield {"password_file": "secret"}
    yield {"password": password}


@pytest.fixture
def guarded(any_server: str, servers: Start) -> Servers:
    return servers(any_server, 2, password=RIGHT)


def test_no_command_shows_a_password_however_it_ends(
    guarded: Servers,
    tmp_path: Path,
    state_folder: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for form, auth in zip(FORMS[1:], sources(tmp_path, RIGHT, monkeypatch), strict=True):
        ends = search(write(tmp_path, guarded, auth=auth), capfd, timeout=30, forms=[form])
        assert ends["up"] == ends["ls"] == ends["down"] == {Exit.DONE}
    for auth in sources(tmp_path, WRONG, monkeypatch):
        ends = search(write(tmp_path, guarded, auth=auth), capfd)
        assert ends["up"] == ends["status"] == ends["down"] == {Exit.NODE}
    ends = search(write(tmp_path, guarded, auth={"username": "nobody", "password": WRONG}), capfd)
    assert ends["up"] == {Exit.NODE}
    left = [path for path in state_folder.rglob("*") if path.is_file()] if state_folder.exists() else []
    for path in left:
        clean(path.read_text(errors="replace"), str(path))


@pytest.mark.parametrize("how", ["no password there", "AUTH renamed away", "rules missing"])
def test_no_refusal_of_a_server_shows_a_password(
    how: str,
    any_server: str,
    servers: Start,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    extra = ["--rename-command", "AUTH", "gone"] if how == "AUTH renamed away" else []
    one = servers(any_server, 1, extra=extra)
    auth: dict[str, object] = {"password": RIGHT}
    if how == "rules missing":
        assert one.call(0, "ACL", "SETUSER", "ops", "on", f">{RIGHT}", "-@all", "+info") == "OK"
        auth["username"] = "ops"
    ends = search(write(tmp_path, one, auth=auth), capfd)
    assert ends["up"] == {Exit.NODE}


ECHO = f"-ERR I was told {RIGHT} by somebody\r\n".encode()
ODD = {
    "repeats it in the error of AUTH": {("AUTH",): ECHO},
    "repeats it in every error": {
        ("CLUSTER",): ECHO,
        ("INFO",): ECHO,
        ("CONFIG",): ECHO,
    },
    "repeats it in the error of a change": {("CLUSTER", "MEET"): ECHO, ("CLUSTER", "ADDSLOTSRANGE"): ECHO},
    "answers AUTH with nonsense": {("AUTH",): f"+{RIGHT}\r\n".encode()},
    "answers AUTH with an array": {("AUTH",): b"*1\r\n" + f"+{RIGHT}\r\n".encode()},
    "hangs up on AUTH": {("AUTH",): lambda connection: connection.shutdown(socket.SHUT_RDWR)},
}


@pytest.mark.parametrize("how", ODD)
def test_no_node_brings_its_password_onto_the_screen(
    how: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with Fake(ODD[how]) as fake:  # type: ignore[arg-type]
        path = write(tmp_path, None, nodes=[fake.address], auth={"password": RIGHT}, plan={"boost": False})
        for options in ({}, {"json": True}, {"debug": True}):
            for command in ("status", "up"):
                shell = Shell(**options)
                status = shell.guard(
                    command,
                    lambda shell=shell, command=command: (  # type: ignore[misc]
                        commands.up(shell, path, UpOptions(), ConnectOptions(0.5))
                        if command == "up"
                        else commands.status(shell, path, ConnectOptions(1.5), watch=False)
                    ),
                )
                assert status in (Exit.NODE, Exit.NOT_READY)
                out, err = capfd.readouterr()
                clean(out + err, f"{command} with {options}")


@pytest.mark.parametrize(
    "text",
    [
        f"auth: {{password: [{RIGHT}]}}",
        f"auth: {{{RIGHT}: x}}",
        f"auth: {{pasword: {RIGHT}}}",
        f"auth: {RIGHT}",
        f"auth: {{password: {RIGHT}, password_env: {WRONG}}}",
        f"auth: {{password_env: '{RIGHT} {WRONG}'}}",
        f"nodes: ['redis://user:{RIGHT}@h:1']",
        f"nodes: ['user:{RIGHT}@h:1']",
        f"nodes: [{{host: 'user:{RIGHT}@h', port: 1}}]",
        f"auth: {{password: '{RIGHT}",
        f"auth: {{password: {RIGHT}, password: {WRONG}}}",
    ],
)
def test_no_problem_of_a_topology_shows_a_password(
    text: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "topology.yaml"
    file.write_text(f"version: 1\n{'' if text.startswith('nodes') else 'nodes: [127.0.0.1:1]'}\n{text}\n")
    ends = search(file, capfd)
    assert ends["validate"] == ends["up"] == {Exit.USAGE}


@contextmanager
def watched_processes() -> Iterator[list[str]]:
    """Look at the command lines of all processes again and again; what holds OWN is in the list."""
    found: list[str] = []
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.01):
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    line = (process / "cmdline").read_bytes()
                except OSError:
                    continue
                if OWN.encode() in line:
                    found.append(line.decode(errors="replace"))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="there is no /proc here")
def test_spawned_servers_have_their_password_from_a_private_file_alone(
    any_server: str,
    free_ports: Callable[[int], list[int]],
    tmp_path: Path,
    state_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CANARY", OWN)
    ports = free_ports(2)
    file = write(
        tmp_path,
        None,
        nodes=[f"127.0.0.1:{port}" for port in ports],
        replicas=1,
        auth={"password_env": "CANARY"},
        servers={"command": binary(any_server)},
    )
    with watched_processes() as seen:
        up = clusterboot("up", file, "--spawn", "--debug")
        assert up.exit == 0, up
        listed = clusterboot("ls", "-o", "json")
        pids = [server["pid"] for server in listed.json()["clusters"][0]["nodes"]]
        for pid in pids:
            clean(Path(f"/proc/{pid}/environ").read_text(errors="replace"), f"the environment of {pid}")
        assert resp.call(f"127.0.0.1:{ports[0]}", "PING", password=OWN) == "PONG"
        holders = [path for path in state_folder.rglob("*") if path.is_file() and OWN in _text(path)]
        assert {path.name for path in holders} == {"server.conf"}, holders
        for path in (*holders, *(parent for holder in holders for parent in holder.parents)):
            if path.is_relative_to(state_folder):
                assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path
        down = clusterboot("down", file, "--debug")
        assert down.exit == 0, down
    assert seen == []
    for outcome in (up, listed, down):
        clean(outcome.out + outcome.err, outcome.args[0])
    assert [path for path in state_folder.rglob("*") if path.is_file() and OWN in _text(path)] == []


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def test_a_password_that_is_no_text_is_told_by_the_name_of_its_source(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY", os.fsdecode(RIGHT.encode() + b"\xff"))
    shell = Shell(debug=True)
    file = write(tmp_path, None, auth={"password_env": "CANARY"})
    status = shell.guard("up", lambda: commands.up(shell, file, UpOptions(), ConnectOptions(1.0)))
    out, err = capfd.readouterr()
    assert status == Exit.USAGE
    assert "the environment variable CANARY for a password is not UTF-8 text." in err
    clean(out + err, "up")
