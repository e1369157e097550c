"""Who may do what: users with few rules, passwords of each node's own, and every source of a password."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import re
import subprocess
import sys
import termios
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from clusterboot import commands
from clusterboot.commands import ConnectOptions, UpOptions
from clusterboot.commands.shell import Shell
from clusterboot.core.steps import MoveSlots
from clusterboot.errors import Exit, Problem
from clusterboot.loop.act import forbidden
from clusterboot.rebalance.alone import alone
from clusterboot.rebalance.functions import copy_functions
from clusterboot.rebalance.measure import measure
from clusterboot.rebalance.move import Mover
from clusterboot.rebalance.same import same_value
from clusterboot.slots import Slots
from clusterboot.wire.replies import Command
from tests.conftest import ONE_KIND
from tests.harness.asking import asking
from tests.harness.cli import ROOT, clusterboot
from tests.harness.ready import why_not_ready
from tests.harness.servers import Servers
from tests.servers.conftest import Take
from tests.servers.pool import Nodes, problems

Start = Callable[..., Servers]
SECRET = "a-secret-of-ops"


def documented(kind: str) -> list[str]:
    """The smallest set of rules as docs/security.md has it."""
    text = (ROOT / "docs" / "security.md").read_text()
    sets = re.findall(r"^ACL SETUSER clusterboot on >PASSWORD -@all (.+)$", text, re.MULTILINE)
    assert len(sets) == 2
    return sets[kind == "redis62"].split()


def quoted(pattern: str) -> list[str]:
    """The rules that docs/security.md has in the places of `…`, word for word."""
    text = " ".join((ROOT / "docs" / "security.md").read_text().split())
    found = re.search(re.escape(pattern).replace("…", "([^`]+)"), text)
    assert found, pattern
    # A table needs a backslash before a bar.
    return [rule for group in found.groups() for rule in group.replace("\\|", "|").split()]


def without_info(kind: str) -> list[str]:
    """The documented rules of a user that may not run INFO."""
    return [rule for rule in documented(kind) if rule != "+info"] + quoted("| `+info`, but with `…`")


def allow(nodes: Nodes, rules: list[str]) -> None:
    for index in range(nodes.count):
        nodes.ok(index, "ACL", "SETUSER", "ops", "reset", "on", f">{SECRET}", "-@all", *rules)
    nodes.forget()


def as_ops(nodes: Nodes, monkeypatch: pytest.MonkeyPatch, **keys: object) -> Path:
    monkeypatch.setenv("OPS_PASSWORD", SECRET)
    return nodes.file(auth={"username": "ops", "password_env": "OPS_PASSWORD"}, **keys)


def test_a_user_with_only_the_documented_rules_forms_a_cluster_boost_included(
    nodes: Take, monkeypatch: pytest.MonkeyPatch
) -> None:
    six = nodes(6)
    allow(six, documented(six.kind))
    timers = six.all_timers()
    outcome = six.ready_up(as_ops(six, monkeypatch, replicas=1), "-o", "json")
    assert outcome.json()["boost"]["restored"] == 6
    assert outcome.json()["boost"]["reason"] is None
    assert six.all_timers() == timers


def test_each_documented_rule_is_needed_and_named_before_anything_is_changed(
    nodes: Take, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    two = nodes(2)
    rules = documented(two.kind)
    file = as_ops(two, monkeypatch, replicas=1)
    shell = Shell(json=True)
    for missing in (rule for rule in rules if "config" not in rule):
        allow(two, [rule for rule in rules if rule != missing])
        # In this process, which saves seven starts of Python for each kind of server.
        assert (
            shell.guard("up", lambda: commands.up(shell, file, UpOptions(), ConnectOptions(30.0)))
            is Exit.NODE
        )
        assert two.changes() == {}
        found = json.loads(capsys.readouterr().out)["errors"]
        assert {problem["code"] for problem in found} == {"no-permission"}
        assert missing[1:].replace("|", " ").upper() in found[0]["message"]
        assert missing in found[0]["hint"]


@pytest.mark.parametrize("left_out", ["config|set", pytest.param("config|get", marks=pytest.mark.soak)])
def test_without_config_there_is_no_boost_and_the_reason_is_told(
    left_out: str, any_nodes: Take, monkeypatch: pytest.MonkeyPatch
) -> None:
    three = any_nodes(3)
    allow(three, [rule for rule in documented(three.kind) if rule != f"+{left_out}"])
    outcome = three.ready_up(as_ops(three, monkeypatch), "-o", "json")
    reason = outcome.json()["boost"]["reason"]
    assert ("CONFIG SET" if left_out == "config|set" else "CONFIG GET is refused by") in reason
    assert three.sent("CONFIG", "SET") == []


def test_without_info_role_and_dbsize_tell_enough(nodes: Take, monkeypatch: pytest.MonkeyPatch) -> None:
    six = nodes(6)
    allow(six, without_info(six.kind))
    file = as_ops(six, monkeypatch, replicas=1)
    outcome = six.ready_up(file, "-o", "json")
    assert "info-refused" in [code for code, _, _ in outcome.named("warnings")]
    status = clusterboot("status", file, "-o", "json")
    assert (status.exit, status.json()["ready"]) == (0, True)


def test_looking_needs_fewer_rules_and_a_reset_needs_more(
    nodes: Take, monkeypatch: pytest.MonkeyPatch
) -> None:
    three = nodes(3)
    file = as_ops(three, monkeypatch)
    allow(three, quoted("`status` and `--dry-run` need `…` only"))
    assert clusterboot("up", file, "--dry-run").exit == 0
    three.up(three.file("as-default.yaml"))
    keys = [three.call(index, "SET", "key", "value") for index in range(3)]
    assert keys.count("OK") == 1
    assert clusterboot("status", file).exit == 0
    reset = quoted("`down --reset` also needs `…`, and with `--flush` `…`")
    allow(three, [*documented(three.kind), *reset])
    assert clusterboot("down", file, "--reset", "--flush", "--yes").exit == 0
    assert [three.ok(index, "CLUSTER", "NODES").count("\n") for index in range(3)] == [1, 1, 1]
    assert [three.ok(index, "DBSIZE") for index in range(3)] == [0, 0, 0]


def test_without_info_keys_are_still_found(any_nodes: Take, monkeypatch: pytest.MonkeyPatch) -> None:
    three = any_nodes(3)
    three.join([0], [(0, 16383)])
    three.until(lambda: three.call(0, "SET", "k", "v") == "OK", "a lone node takes a key", 20)
    three.ok(0, "CLUSTER", "DELSLOTS", *range(16384))
    allow(three, without_info(three.kind))
    outcome = three.up(as_ops(three, monkeypatch), "-o", "json", exit=3)
    assert [problem["code"] for problem in problems(outcome)] == ["keys-without-slots"]
    assert three.changes() == {}


@ONE_KIND
def test_servers_that_have_info_and_config_renamed_are_ready(
    server_kind: str, servers: Start, tmp_path: Path
) -> None:
    three = servers(server_kind, 3, extra=["--rename-command", "INFO", "", "--rename-command", "CONFIG", ""])
    file = tmp_path / "topology.yaml"
    file.write_text(three.topology())
    outcome = clusterboot("up", file, "-o", "json")
    assert outcome.exit == 0, outcome
    assert outcome.json()["boost"]["reason"].startswith("CONFIG GET is refused by ")
    assert [one["code"] for one in outcome.json()["warnings"]] == ["info-refused"]
    assert why_not_ready(three.addresses) is None or "INFO" in str(why_not_ready(three.addresses))


def test_servers_without_cluster_meet_are_refused_clearly(
    any_server: str, servers: Start, tmp_path: Path
) -> None:
    two = servers(any_server, 2, extra=["--rename-command", "CLUSTER", "", "--save", ""])
    file = tmp_path / "topology.yaml"
    file.write_text(two.topology())
    outcome = clusterboot("up", file, "-o", "json")
    assert outcome.exit == 5, outcome
    assert outcome.named() == [("command-unavailable", name, None) for name in two.addresses]


@pytest.fixture
def locked(server_kind: str, servers: Start) -> Servers:
    """Six nodes whose default user has a password of its own on each, and a common one for replication."""
    six = servers(server_kind, 6, password="for-replicas")
    for index in range(6):
        assert six.call(index, "ACL", "SETUSER", "default", f">password-{index}") == "OK"
    return six


def with_passwords(servers: Servers, folder: Path, passwords: list[str]) -> Path:
    lines = ["version: 1", "replicas: 1", "nodes:"]
    for index, (port, password) in enumerate(zip(servers.ports, passwords, strict=True)):
        (folder / f"password-{index}").write_text(password + "\n")
        auth = f"{{password_file: password-{index}}}"
        lines.append(f"  - {{name: n{index}, host: 127.0.0.1, port: {port}, auth: {auth}}}")
    path = folder / "topology.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path


@ONE_KIND
def test_a_password_of_its_own_on_each_node_and_one_wrong_one(locked: Servers, tmp_path: Path) -> None:
    right = [f"password-{index}" for index in range(6)]
    locked.reset_slowlog()
    wrong = clusterboot("up", with_passwords(locked, tmp_path, [*right[:4], "guess", right[5]]), "-o", "json")
    assert wrong.exit == 5, wrong
    assert wrong.named() == [("wrong-password", "n4", None)]
    assert all(locked.changing(index, probes=True) == [] for index in range(6))

    outcome = clusterboot("up", with_passwords(locked, tmp_path, right))
    assert outcome.exit == 0, outcome
    assert why_not_ready(locked.addresses, password="for-replicas") is None


@ONE_KIND
def test_a_replica_without_masterauth_is_found_before_anything_is_changed(
    server_kind: str, servers: Start, tmp_path: Path
) -> None:
    two = servers(server_kind, 2, extra=["--requirepass", SECRET])
    two.password = SECRET
    (tmp_path / "password").write_text(SECRET)
    file = tmp_path / "topology.yaml"
    file.write_text(two.topology(replicas=1, auth={"password_file": "password"}))
    two.reset_slowlog()
    outcome = clusterboot("up", file, "-o", "json")
    assert outcome.exit == 3, outcome
    assert outcome.named() == [("masterauth-missing", two.addresses[1], two.addresses[0])]
    assert all(two.changing(index, probes=True) == [] for index in range(2))


@pytest.fixture
def guarded(any_server: str, servers: Start) -> Servers:
    return servers(any_server, 1, password=SECRET)


def test_every_source_of_a_password(
    guarded: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "topology.yaml"
    monkeypatch.setenv("A_PASSWORD", SECRET)
    (tmp_path / "secret").write_text(f"{SECRET}\r\n")
    (tmp_path / "secret").chmod(0o644)
    sources = {
        "password_env": ("A_PASSWORD", None),
        "password_file": ("secret", tmp_path / "secret"),
        "password": (SECRET, file),
    }
    for source, (value, readable) in sources.items():
        file.write_text(guarded.topology(slots="none", auth={source: value}))
        file.chmod(0o644)
        for command in ("validate", "status"):
            outcome = clusterboot(command, file, "-o", "json")
            assert outcome.exit == 0, outcome
            warned = [one for one in outcome.json()["warnings"] if one["code"] == "password-readable"]
            assert [one["message"].startswith(f"{readable} ") for one in warned] == [True] * bool(readable)
        if readable:
            readable.chmod(0o600)
            for command in ("validate", "status"):
                assert "password-readable" not in clusterboot(command, file, "-o", "json").out


def test_no_password_and_a_user_that_is_not_there(guarded: Servers, tmp_path: Path) -> None:
    file = tmp_path / "topology.yaml"
    file.write_text(guarded.topology(slots="none"))
    (address,) = guarded.addresses
    assert clusterboot("up", file, "-o", "json").named() == [("auth-required", address, None)]
    file.write_text(guarded.topology(slots="none", auth={"username": "nobody", "password": SECRET}))
    assert clusterboot("up", file, "-o", "json").named() == [("wrong-password", address, None)]


def typed(file: Path, text: str) -> tuple[int, str]:
    """Run `status --ask-pass` at a terminal, type `text` at the prompt; exit status and what was shown."""
    ours, theirs = os.openpty()

    def own_terminal() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        [sys.executable, "-m", "clusterboot", "status", str(file), "--ask-pass"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=own_terminal,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "120", "TERM": "dumb"},
    )
    os.close(theirs)
    shown = b""
    asked = False
    try:
        while chunk := os.read(ours, 4096):
            shown += chunk
            if not asked and b"Password: " in shown:
                asked = True
                os.write(ours, text.encode())
    except OSError:
        pass  # how Linux says that the other end has been closed
    finally:
        os.close(ours)
    return process.wait(30), shown.decode()


def test_a_password_is_asked_for_at_the_terminal_only_and_not_echoed(
    guarded: Servers, tmp_path: Path
) -> None:
    file = tmp_path / "topology.yaml"
    file.write_text(guarded.topology(slots="none"))
    status, shown = typed(file, f"{SECRET}\n")
    assert (status, SECRET in shown) == (0, False), shown
    status, shown = typed(file, "wrong-one\n")
    assert status == 5
    assert "wrong-one" not in shown
    for nothing in ("\n", "\x04"):
        status, shown = typed(file, nothing)
        assert status == 2, shown
    outcome = clusterboot("status", file, "--ask-pass", stdin=SECRET)
    assert outcome.exit == 2, outcome
    assert "--ask-pass" in outcome.err


def for_rebalance(kind: str) -> list[str]:
    """The documented rules of a user that may move slots too: all servers, functions, atomic jobs."""
    text = (ROOT / "docs" / "security.md").read_text()
    every, functions, jobs = re.findall(r"^ACL SETUSER clusterboot ([~+].+)$", text, re.MULTILINE)
    more = {"redis62": [], "redis70": [functions], "valkey91": [functions, jobs]}[kind]
    return [*documented(kind), *every.split(), *(rule for line in more for rule in line.split())]


def test_a_user_with_only_the_documented_rules_moves_slots_and_retires_nodes(nodes: Take) -> None:
    three = nodes(3)
    three.join(range(3), [(0, 8191), (8192, 16383)])
    for index in range(3):
        three.until(lambda at=index: "cluster_state:ok" in three.ok(at, "CLUSTER", "INFO"), "it is ok")
    for key in ("{a}1", "{a}2", "{a}3"):  # slot 15495
        three.ok(1, "SET", key, "value")
    if three.kind != "redis62":
        three.ok(1, "FUNCTION", "LOAD", "#!lua name=lib\nredis.register_function('f', function() end)")
    allow(three, for_rebalance(three.kind))
    source, target = three.addresses[1], three.addresses[2]
    last: list[Command] = [("CLUSTER", "FAILOVER"), ("CLUSTER", "FORGET"), ("CLUSTER", "RESET")]

    async def move() -> None:
        async with asking(three.addresses, username="ops", password=SECRET) as (fleet, views):
            measured = await measure(fleet, [MoveSlots(source, target, Slots.of([(15000, 15999)]))], views)
            assert measured.problems == ()
            async with alone(fleet, views, lambda problems: pytest.fail(str(list(problems)))):
                await copy_functions(fleet, views[source], views[target])
                mover = Mover(fleet, lambda event: None)
                await mover.run(measured.transfers, views)
            assert (mover.slots, mover.keys) == (1000, 3)
            assert await forbidden(fleet, [(target, command) for command in last]) == []
            assert await fleet.ask(target, ("CLUSTER", "MYID")) == [views[target].id]

    asyncio.run(move())
    assert three.ok(2, "GET", "{a}2") == "value"


def test_the_documented_rules_are_enough_to_compare_values_of_every_type(nodes: Take) -> None:
    """What a key that is on both sides needs, before it may be replaced."""
    two = nodes(2)
    two.join(range(2), [(0, 8191), (8192, 16383)])
    for index in range(2):
        two.until(lambda at=index: "cluster_state:ok" in two.ok(at, "CLUSTER", "INFO"), "it is ok")
    two.ok(0, "CLUSTER", "SETSLOT", "15495", "IMPORTING", two.id(1))
    made = {
        "{a}string": ("SET", "{a}string", "x" * 10),
        "{a}list": ("RPUSH", "{a}list", "x", "y"),
        "{a}hash": ("HSET", "{a}hash", "f", "x"),
        "{a}set": ("SADD", "{a}set", "x", "y"),
        "{a}zset": ("ZADD", "{a}zset", "1", "x"),
        "{a}stream": ("XADD", "{a}stream", "1-1", "f", "x"),
    }
    allow(two, for_rebalance(two.kind))
    source, target = two.addresses[1], two.addresses[0]

    async def compare() -> None:
        async with asking(two.addresses) as (fleet, _):
            for command in made.values():
                await fleet.ask(source, command)
                await fleet.ask(target, ("ASKING",), command)
        async with asking(two.addresses, username="ops", password=SECRET) as (fleet, views):
            for key in made:
                assert await same_value(fleet, views[source], views[target], 0, key), key

    asyncio.run(compare())
    two.ok(0, "CLUSTER", "SETSLOT", "15495", "STABLE")


def test_a_rule_that_moving_needs_is_named_before_a_key_moves(
    nodes: Take, monkeypatch: pytest.MonkeyPatch
) -> None:
    three = nodes(3)
    three.join(range(3), [(0, 8191), (8192, 16383)])
    source, target = three.addresses[1], three.addresses[2]
    missing = "+cluster|migrateslots" if three.kind == "valkey91" else "+migrate"
    allow(three, [rule for rule in for_rebalance(three.kind) if rule != missing])

    async def look() -> Sequence[Problem]:
        async with asking(three.addresses, username="ops", password=SECRET) as (fleet, views):
            step = MoveSlots(source, target, Slots.of([(15000, 15999)]))
            return (await measure(fleet, [step], views)).problems

    (found,) = asyncio.run(look())
    assert (found.code, found.node) == ("no-permission", source)
    assert missing in (found.hint or "")
