"""What error replies mean: each kind in the words of real servers, and caused on real servers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from clusterboot.core.steps import AddSlots, Meet, Replicate, SetEpoch, Step
from clusterboot.errors import Exit
from clusterboot.loop.act import command, probe
from clusterboot.wire.replies import Command, Rejected, explain, name
from tests.core.world import World, fresh, slots, topology
from tests.harness import resp
from tests.harness.servers import Servers

INFO: Command = ("CLUSTER", "INFO")
KINDS: list[tuple[str, Command, str, str]] = [
    # reply, command, code and message, hint
    (
        "NOAUTH Authentication required.",
        INFO,
        "auth-required: a asks for a password, and the topology gives none.",
        "set auth.password_env (or password_file) in the topology, or use --ask-pass",
    ),
    (
        "WRONGPASS invalid username-password pair or user is disabled.",
        ("AUTH",),
        "wrong-password: a does not accept the user name or password.",
        "check auth of this node in the topology; each node may have its own",
    ),
    (
        "ERR invalid password",  # before Redis 6
        ("AUTH",),
        "wrong-password: a does not accept the user name or password.",
        "check auth of this node in the topology; each node may have its own",
    ),
    *(
        (
            text,
            ("AUTH",),
            "password-not-set: a has no password, but the topology gives one.",
            "remove auth from this node in the topology, or set requirepass on the server",
        )
        for text in (
            "ERR AUTH <password> called without any password configured for the default user. Are you sure "
            "your configuration is correct?",
            "ERR Client sent AUTH, but no password is set",  # before Redis 6
        )
    ),
    (
        "ERR wrong number of arguments for 'auth' command",  # before Redis 6
        ("AUTH",),
        "user-too-new: a does not know user names: they came with Redis 6.",
        "remove auth.username from this node in the topology",
    ),
    *(
        (
            text,
            ("CLUSTER", "MEET", "10.0.0.2", "7002"),
            "no-permission: a does not allow its user to run CLUSTER MEET.",
            "allow it with 'ACL SETUSER <user> +cluster|meet'; docs/security.md has the whole rule set",
        )
        for text in (
            "NOPERM User weak has no permissions to run the 'cluster|meet' command",
            "NOPERM this user has no permissions to run the 'cluster' command or its subcommand",
        )
    ),
    (
        "DENIED Redis is running in protected mode because protected mode is enabled and no password is set",
        INFO,
        "protected-mode: a is in protected mode and answers only clients on its own host.",
        "set a password there, or 'bind' and 'protected-mode no' on a private network",
    ),
    (
        "ERR max number of clients reached",
        INFO,
        "max-clients: a takes no more connections: its maxclients is reached.",
        "close clients or raise maxclients on it",
    ),
    (
        "LOADING Redis is loading the dataset in memory",
        INFO,
        "loading: a is still loading its data.",
        "wait until it is done, or raise --timeout",
    ),
    (
        "ERR This instance has cluster support disabled",
        INFO,
        "cluster-disabled: a is not a cluster node: cluster support is disabled.",
        "set 'cluster-enabled yes' in its configuration and restart it",
    ),
    *(
        (
            text,
            ("CLUSTER", "ADDSLOTSRANGE", "0", "5460"),
            "command-unavailable: a has no CLUSTER ADDSLOTSRANGE: it was renamed or disabled, as on "
            "managed services.",
            "undo rename-command there; managed services form their clusters themselves",
        )
        for text in (
            "ERR unknown command 'CLUSTER', with args beginning with: 'INFO' ",
            "ERR unknown command `CLUSTER`, with args beginning with: `INFO`, ",
            "ERR unknown subcommand 'ADDSLOTSRANGE'. Try CLUSTER HELP.",
            "ERR Unknown subcommand or wrong number of arguments for 'ADDSLOTSRANGE'. Try CLUSTER HELP.",
        )
    ),
    (
        "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
        ("CLUSTER", "ADDSLOTS", "1"),
        "misconf: a takes no writes because it cannot save its data: MISCONF Redis is configured to save RDB "
        "snapshots, but it's currently unable to persist to disk.",
        "look at its log: the cause is mostly a full disk or missing permissions",
    ),
    (
        "CLUSTERDOWN Hash slot not served",
        ("FLUSHALL",),
        "cluster-down: a says that the cluster is down: CLUSTERDOWN Hash slot not served",
        "run 'clusterboot status TOPOLOGY' for the reasons",
    ),
    (
        "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
        INFO,
        "busy: a is busy running a script: BUSY Redis is busy running a script. You can only call SCRIPT "
        "KILL or SHUTDOWN NOSAVE.",
        "wait for it, or run 'SCRIPT KILL' there",
    ),
    (
        "ERR Something new {node}",
        ("CONFIG", "SET", "x", "y"),
        "refused: a refused CONFIG SET: ERR Something new {node}",
        "correct this on the node, then run the same command again: it goes on from here",
    ),
    (
        "ERR " + "x" * 400,
        ("FLUSHALL",),
        f"refused: a refused FLUSHALL: ERR {'x' * 296}…",
        "correct this on the node, then run the same command again: it goes on from here",
    ),
]


@pytest.mark.parametrize(("text", "sent", "expected", "hint"), KINDS, ids=[kind[0][:60] for kind in KINDS])
def test_every_kind_of_error_reply(text: str, sent: Command, expected: str, hint: str) -> None:
    found = explain(text, "a", sent)
    assert f"{found.code}: {found.message}" == expected
    assert (found.hint, found.node, found.exit) == (hint, "a", Exit.NODE)


PASSING = [
    "LOADING Redis is loading the dataset in memory",
    "ERR Unknown node 4b3c01199aa1e1b196cd94bedf59349a2c0d2ba5",
    "ERR Slot 5460 is already busy",
    "ERR The user can assign a config epoch only when the node does not know any other node.",
    "ERR Node config epoch is already non-zero",
    "ERR To set a master the node must be empty and without assigned slots.",
    "ERR Can't replicate myself",
    "ERR I can only replicate a master, not a replica.",
]


@pytest.mark.parametrize("text", PASSING)
def test_what_another_look_explains_is_told_from_what_is_final(text: str) -> None:
    assert Rejected(text).transient
    assert not Rejected(text).refuses_permission


@pytest.mark.parametrize("text", ["ERR Invalid or out of range slot", "NOPERM no", "Unknown node", "OK"])
def test_everything_else_is_final(text: str) -> None:
    assert not Rejected(text).transient


def test_a_command_is_shown_with_its_subcommand_and_never_with_its_arguments() -> None:
    assert [
        name(sent)
        for sent in (("AUTH", "secret"), ("CONFIG", "SET", "requirepass", "secret"), ("CLUSTER",), ())
    ] == [*("AUTH", "CONFIG SET", "CLUSTER", "")]


STEPS: list[Step] = [
    SetEpoch("a", 3),
    AddSlots("a", slots("0-2,9")),
    Meet("a", "b", "10.0.0.2", 7002),
    Meet("a", "b", "10.0.0.2", 7002, 9002),
    Replicate("a", "b"),
]


@pytest.mark.parametrize(
    ("version", "adding", "trying"),
    [
        ({"redis_version": "6.2.14"}, "ADDSLOTS 0 1 2 9", "ADDSLOTS x"),
        ({"redis_version": "7.0.15"}, "ADDSLOTSRANGE 0 2 9 9", "ADDSLOTSRANGE x x"),
        ({"redis_version": "7.2.4", "valkey_version": "8.0.1"}, "ADDSLOTSRANGE 0 2 9 9", "ADDSLOTSRANGE x x"),
        ({"redis_version": ""}, "ADDSLOTS 0 1 2 9", "ADDSLOTS x"),
    ],
)
def test_the_command_and_the_harmless_probe_of_every_step(
    version: dict[str, str], adding: str, trying: str
) -> None:
    world: World = fresh(topology("a", "b"))
    world["a"].info.update(version)
    views = world.views()
    assert [" ".join(command(step, views)) for step in STEPS] == [
        "CLUSTER SET-CONFIG-EPOCH 3",
        f"CLUSTER {adding}",
        "CLUSTER MEET 10.0.0.2 7002",
        "CLUSTER MEET 10.0.0.2 7002 9002",
        f"CLUSTER REPLICATE {views['b'].id}",
    ]
    assert [" ".join(probe(command(step, views))) for step in STEPS] == [
        "CLUSTER SET-CONFIG-EPOCH x",
        f"CLUSTER {trying}",
        "CLUSTER MEET x 0",
        "CLUSTER MEET x 0",
        "CLUSTER REPLICATE x",
    ]


def code(reply: object, *sent: str) -> str:
    assert isinstance(reply, resp.Error), f"{sent} was not refused: {reply}"
    return explain(str(reply), "a", sent).code


def test_real_servers_refuse_in_words_that_are_understood(
    server_kind: str, servers: Callable[..., Servers]
) -> None:
    one = servers(server_kind, 1)
    assert code(one.call(0, "AUTH", "x"), "AUTH") == "password-not-set"
    assert code(one.call(0, "AUTH", "nobody", "x"), "AUTH") == "wrong-password"
    assert code(one.call(0, "CLUSTER", "NO-SUCH"), "CLUSTER", "NO-SUCH") == "command-unavailable"
    assert one.call(0, "ACL", "SETUSER", "weak", "on", ">p", "+ping") == "OK"
    with resp.Connection(one.addresses[0]) as weak:
        assert weak.call("AUTH", "weak", "p") == "OK"
        assert code(weak.call("CLUSTER", "MEET", "x", "0"), "CLUSTER", "MEET") == "no-permission"
    locked = servers(server_kind, 1, password="secret")
    assert code(resp.call(locked.addresses[0], "CLUSTER", "INFO"), *INFO) == "auth-required"
    assert code(resp.call(locked.addresses[0], "AUTH", "bad"), "AUTH") == "wrong-password"
    without = servers(server_kind, 1, extra=["--rename-command", "CLUSTER", ""])
    assert code(without.call(0, "CLUSTER", "INFO"), *INFO) == "command-unavailable"
    alone = servers(server_kind, 1, extra=["--cluster-enabled", "no"])
    assert code(alone.call(0, "CLUSTER", "INFO"), *INFO) == "cluster-disabled"


def test_real_servers_refuse_every_probe_and_stay_as_they_are(
    server_kind: str, servers: Callable[..., Servers]
) -> None:
    one = servers(server_kind, 1)
    before = one.call(0, "CLUSTER", "NODES")
    version = {"redis_version": "6.2.14"} if server_kind == "redis62" else {}
    world = fresh(topology("a", "b"))
    world["a"].info.update(version)
    for step in STEPS:
        reply = one.call(0, *probe(command(step, world.views())))
        assert isinstance(reply, resp.Error)
        assert not Rejected(reply).refuses_permission, "a probe must not look like a missing permission"
    assert one.call(0, "CLUSTER", "NODES") == before
    assert one.changing(0) == []


def test_real_servers_refuse_for_a_moment_in_words_that_are_known(
    server_kind: str, servers: Callable[..., Servers]
) -> None:
    one = servers(server_kind, 1)
    me = one.call(0, "CLUSTER", "MYID")
    for sent in (("REPLICATE", "f" * 40), ("REPLICATE", me)):
        assert Rejected(one.call(0, "CLUSTER", *sent)).transient
    for sent in (("ADDSLOTS", "5"), ("SET-CONFIG-EPOCH", "5")):
        assert one.call(0, "CLUSTER", *sent) == "OK"
        assert Rejected(one.call(0, "CLUSTER", *sent)).transient


def test_a_command_is_shown_by_its_name_and_that_of_its_subcommand() -> None:
    for container in ("CLUSTER", "CONFIG", "CLIENT", "ACL"):
        assert name((container, "LIST", "x")) == f"{container} LIST"
        assert name((container, "LIST")) == f"{container} LIST"
        assert name((container,)) == container
    assert name(("FLUSHALL", "x")) == "FLUSHALL"
    assert name(()) == ""


def test_the_rule_that_a_user_lacks_is_that_of_the_command() -> None:
    denied = "NOPERM this user has no permissions to run the command"
    for sent, rule in ((("CLUSTER", "MEET"), "+cluster|meet"), (("PING",), "+ping")):
        hint = explain(denied, "a", sent).hint
        assert hint is not None
        assert f"<user> {rule}';" in hint
