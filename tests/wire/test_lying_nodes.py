"""Nodes that send false, slow or endless replies, hang up, or send escape sequences: a clear end, in time."""

from __future__ import annotations

import json
import socket
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterboot import commands
from clusterboot.commands import ConnectOptions, UpOptions
from clusterboot.commands.shell import Shell
from clusterboot.errors import Exit
from tests.harness.cli import Outcome, clusterboot
from tests.harness.fake import ID, Answer, Fake, array, bulk, info

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\r\x08\x7f\u202e\u2066\u200b\ufeff\ud800"
LINE = f"{ID} 127.0.0.1:7001@17001 myself,master - 0 0 0 connected"


def topology(folder: Path, *addresses: str, **keys: object) -> Path:
    path = folder / "topology.yaml"
    document = {"version": 1, "nodes": list(addresses), **keys}
    path.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in document.items()))
    return path


def hang_up(connection: socket.socket) -> None:
    connection.sendall(b"$100\r\nhalf of")
    connection.shutdown(socket.SHUT_RDWR)


def nodes_text(**change: str) -> bytes:
    """CLUSTER NODES with one field replaced."""
    fields = dict(
        zip(("id", "where", "flags", "primary", "ping", "pong", "epoch", "link"), LINE.split(), strict=True)
    )
    return bulk(" ".join({**fields, **change}.values()) + "\n")


NODES, CLUSTER, INFO = ("CLUSTER", "NODES"), ("CLUSTER", "INFO"), ("INFO",)
LIES: dict[str, dict[tuple[str, ...], Answer]] = {
    "no lines": {NODES: bulk("")},
    "null": {NODES: b"$-1\r\n"},
    "a number": {NODES: b":5\r\n"},
    "an array": {NODES: array(b":1\r\n", array(b"$-1\r\n"))},
    "binary": {NODES: bulk(bytes(range(256)) * 20)},
    "one field": {NODES: bulk("x\n")},
    "id of another length": {NODES: nodes_text(id="1" * 39)},
    "two of myself": {NODES: bulk(f"{LINE}\n{LINE}\n")},
    "no myself": {NODES: nodes_text(flags="master")},
    "slots that do not exist": {NODES: nodes_text(link="connected 0-99999999999999999999")},
    "slots backwards": {NODES: nodes_text(link="connected 9-1")},
    "every slot a thousand times": {NODES: nodes_text(link="connected" + " 0-16383" * 1000)},
    "an epoch beyond all numbers": {NODES: nodes_text(epoch="9" * 400)},
    "a port beyond all numbers": {NODES: nodes_text(where="127.0.0.1:" + "9" * 400 + "@1")},
    "aux fields without end": {NODES: nodes_text(where="127.0.0.1:1@2,host" + ",a=b" * 50_000)},
    "30,000 lines": {
        NODES: bulk("".join(f"{i:040x} :0@0 master - 0 0 0 connected\n" for i in range(30_000)))
    },
    "a bulk too large": {NODES: b"$9999999\r\n"},
    "an array too large": {NODES: b"*2147483647\r\n"},
    "nested without end": {NODES: b"*1\r\n" * 10_000},
    "hangs up in the middle": {NODES: hang_up},
    "INFO is binary": {INFO: bulk(bytes(range(256)) * 100)},
    "INFO is a number": {INFO: b":1\r\n"},
    "INFO is empty": {INFO: bulk(""), ("INFO", "REPLICATION"): bulk("")},
    "INFO has a version of words": {INFO: info(redis_version="a.b.c" * 100)},
    "INFO has endless keys": {INFO: info(db0="keys=" + "9" * 400)},
    "CLUSTER INFO is an error": {CLUSTER: b"-\r\n"},
    "CLUSTER INFO lies about its size": {CLUSTER: bulk("cluster_known_nodes:99999999999999999999999\r\n")},
    "CONFIG GET is a number": {("CONFIG", "GET"): b":1\r\n"},
    "CONFIG GET is uneven": {("CONFIG", "GET"): array(bulk("cluster-node-timeout"))},
    "CONFIG GET of words": {("CONFIG", "GET"): array(bulk("cluster-node-timeout"), bulk("soon"))},
    "CONFIG GET announces nonsense": {
        ("CONFIG", "GET"): array(bulk("cluster-announce-ip"), bulk("x y\r\nz"))
    },
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_a_clear_end_and_no_traceback(
    lie: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Fake(LIES[lie]) as fake:
        file = topology(tmp_path, fake.address)
        began = time.monotonic()
        status, out, _ = run("status", file, capsys, json=True)
        assert time.monotonic() - began < 10
        assert status in (Exit.NOT_READY, Exit.NODE)
        assert json.loads(out)["exit"] == status
        status, out, _ = run("up", file, capsys, json=True)
        assert status in (Exit.NOT_READY, Exit.NODE, Exit.REFUSED)
        assert json.loads(out)["exit"] == status


def run(command: str, file: Path, capsys: pytest.CaptureFixture[str], *, json: bool) -> tuple[Exit, str, str]:
    """Run a command in this process, without the half second that a new one takes to start."""
    shell = Shell(json=json)
    work = {
        "status": lambda: commands.status(shell, file, ConnectOptions(5.0), watch=False),
        "up": lambda: commands.up(shell, file, UpOptions(boost=False), ConnectOptions(0.5)),
    }[command]
    status = shell.guard(command, work)
    out, err = capsys.readouterr()
    return status, out, err


def test_nothing_but_resp2_is_spoken_and_an_answer_in_resp3_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Fake({}) as fake:
        run(
            "up",
            topology(tmp_path, fake.address, auth={"username": "u", "password": "secret"}),
            capsys,
            json=True,
        )
        assert fake.asked[0] == ("AUTH", "u", "secret")
        assert {command[0] for command in fake.asked} <= {"AUTH", "INFO", "CLUSTER", "CONFIG"}
    for reply in (b"%1\r\n+a\r\n+b\r\n", b"=8\r\ntxt:some\r\n", b"_\r\n", b">1\r\n+x\r\n", b"#t\r\n"):
        with Fake({NODES: reply}) as fake:
            status, out, _ = run("up", topology(tmp_path, fake.address), capsys, json=True)
            assert status is Exit.NODE
            assert json.loads(out)["errors"][0]["code"] == "not-redis"


def drip(connection: socket.socket) -> None:
    for _ in range(10_000):
        connection.sendall(b"$")
        time.sleep(0.1)


@pytest.mark.parametrize("command", ["status", "up"])
def test_a_reply_that_drips_is_waited_for_no_longer_than_the_time_limit(command: str, tmp_path: Path) -> None:
    with Fake({NODES: drip}) as fake:
        began = time.monotonic()
        outcome = clusterboot(command, topology(tmp_path, fake.address), "--timeout", "1")
        assert outcome.exit in (4, 5), outcome
        assert time.monotonic() - began < 4 + 3  # a start of Python, however busy the machine


def fit_for_a_terminal(outcome: Outcome) -> None:
    for char in outcome.out + outcome.err:
        assert char in "\n✓✗·→…" or unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Cn"), (
            f"{char!r} in {outcome!r}"
        )


EVIL_ANSWERS: dict[str, dict[tuple[str, ...], Answer]] = {
    "INFO": {INFO: info(redis_version=EVIL, run_id=EVIL, role=EVIL)},
    "flags": {NODES: nodes_text(flags=f"myself,master,{EVIL}".replace("\r", ""))},
    "hostname": {NODES: nodes_text(where=f"{EVIL}:1@2,{EVIL},{EVIL}={EVIL}".replace("\r", ""))},
    "stranger": {
        NODES: bulk(f"{LINE}\n{'3' * 40} {EVIL}:1@2,{EVIL} master - 0 0 0 connected 5\n".replace("\r", ""))
    },
    "an error of CLUSTER": {CLUSTER: b"-ERR \x1b]0;owned\x07\x1b[2J\xe2\x80\xae\x9b31m\r\n"},
    "an error of MEET": {("CLUSTER", "MEET"): b"-ERR \x1b[2J\xe2\x80\xae\r\n"},
    "an error of ADDSLOTS": {("CLUSTER", "ADDSLOTSRANGE"): b"-ERR \x1b[2J\xe2\x80\xae\x07\r\n"},
    "what it announces": {("CONFIG", "GET"): array(bulk("cluster-announce-ip"), bulk("\x1b[2J\u202e"))},
}


@pytest.mark.parametrize("where", EVIL_ANSWERS)
@pytest.mark.parametrize("command", ["status", "up"])
def test_nothing_that_a_terminal_obeys_comes_through(
    where: str, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Fake(EVIL_ANSWERS[where]) as fake:
        status, out, err = run(command, topology(tmp_path, fake.address), capsys, json=False)
        assert status in (Exit.REFUSED, Exit.NOT_READY, Exit.NODE), (out, err)
        fit_for_a_terminal(Outcome((command,), status, out, err))


def test_nothing_that_a_terminal_obeys_comes_through_json(tmp_path: Path) -> None:
    with Fake(EVIL_ANSWERS["INFO"] | EVIL_ANSWERS["stranger"]) as fake:
        outcome = clusterboot("status", topology(tmp_path, fake.address), "-o", "json")
        assert outcome.exit in (3, 4), outcome
        fit_for_a_terminal(outcome)
        outcome.json()


WORDS = st.one_of(
    st.text(max_size=10),
    st.sampled_from(
        [ID, "3" * 40, "-", "0", "1", "myself,master", "slave", "fail?", "handshake", "noaddr", "connected",
         "disconnected", "127.0.0.1:7001@17001", ":0@0", "::1:7001@17001,h,a=b", "0-16383", "5", "[5->-x]",
         "9" * 30, EVIL]
    ),
)  # fmt: skip
NODE_LINES = st.lists(st.lists(WORDS, min_size=7, max_size=12).map(" ".join), max_size=4)
FIELDS = st.dictionaries(
    st.sampled_from(["redis_version", "valkey_version", "run_id", "role", "master_link_status", "db0", "x"]),
    WORDS,
)


class Said:
    """A fleet of one node with replies from hypothesis."""

    def __init__(self, nodes: str, cluster: str, info: str) -> None:
        self._said = {"NODES": nodes, "INFO": cluster, "": info}

    def ip(self, name: str) -> str:
        return "127.0.0.1"

    def add(self, node: object) -> None:
        raise AssertionError(node)

    async def ask(self, name: str, *commands: tuple[str, ...], timeout: float = 1.0) -> list[object]:
        return [
            self._said[command[1]]
            if command[0] == "CLUSTER" and command[1] in self._said
            else self._said[""]
            if command[0] == "INFO"
            else []
            for command in commands
        ]


def _judged(
    lines: list[str], cluster: dict[str, str], info: dict[str, str], capture: Callable[[str], None]
) -> None:
    import asyncio
    from io import StringIO

    from rich.console import Console

    from clusterboot.loop.status import status
    from clusterboot.render import json as render
    from clusterboot.render.text import status as draw
    from clusterboot.topology import load

    nodes = "".join(f"{line}\n" for line in (LINE, *lines))
    text = "".join(f"{name}:{value}\r\n" for name, value in info.items())
    fleet = Said(nodes, "".join(f"{name}:{value}\r\n" for name, value in cluster.items()), text)
    topology = load("version: 1\nnodes: ['127.0.0.1:7001']\n", "t.yaml")
    result = asyncio.run(status(topology, fleet))  # type: ignore[arg-type]
    render.dumps(render.status(result))
    screen = Console(file=StringIO(), width=100)
    draw(screen, result)
    shown = screen.file.getvalue()  # type: ignore[attr-defined]
    capture(shown)


CLUSTER_FIELDS = st.dictionaries(
    st.sampled_from(["cluster_state", "cluster_known_nodes", "cluster_size"]), WORDS
)


@settings(max_examples=150, derandomize=True, database=None, deadline=None)
@given(NODE_LINES, CLUSTER_FIELDS, FIELDS)
def test_whatever_a_node_says_ends_in_a_verdict_fit_for_a_terminal(
    lines: list[str], cluster: dict[str, str], info: dict[str, str]
) -> None:
    _judged(lines, cluster, info, lambda shown: fit_for_a_terminal(Outcome((), 0, shown, "")))


@pytest.mark.soak
@settings(max_examples=10_000, database=None, deadline=None)
@given(NODE_LINES, CLUSTER_FIELDS, FIELDS)
def test_whatever_a_node_says_for_longer(
    lines: list[str], cluster: dict[str, str], info: dict[str, str]
) -> None:
    _judged(lines, cluster, info, lambda shown: fit_for_a_terminal(Outcome((), 0, shown, "")))
