"""What an error reply of a node means, and a late or missing reply: a problem with exit status 5. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeAlias

from clusterboot.errors import Exit, Problem

Command = tuple[str, ...]
Reply: TypeAlias = "str | int | list[Reply] | Rejected | None"

MAX_SHOWN_LENGTH = 300

# Code, pattern at the start of the reply, message, hint. The first match counts.
_KINDS: tuple[tuple[str, str, str, str], ...] = (
    (
        "auth-required",
        r"NOAUTH\b|ERR operation not permitted",
        "{node} asks for a password, and the topology gives none.",
        "set auth.password_env (or password_file) in the topology, or use --ask-pass",
    ),
    (
        "wrong-password",
        r"WRONGPASS\b|ERR invalid password",
        "{node} does not accept the user name or password.",
        "check auth of this node in the topology; each node may have its own",
    ),
    (
        "password-not-set",
        r"ERR .*AUTH.* without any password|ERR Client sent AUTH, but no password is set",
        "{node} has no password, but the topology gives one.",
        "remove auth from this node in the topology, or set requirepass on the server",
    ),
    (
        "user-too-new",
        r"ERR wrong number of arguments for 'auth'",
        "{node} does not know user names: they came with Redis 6.",
        "remove auth.username from this node in the topology",
    ),
    (
        "no-permission",
        r"NOPERM\b",
        "{node} does not allow its user to run {command}.",
        "allow it with 'ACL SETUSER <user> {rule}'; docs/security.md has the whole rule set",
    ),
    (
        "protected-mode",
        r"DENIED\b",
        "{node} is in protected mode and answers only clients on its own host.",
        "set a password there, or 'bind' and 'protected-mode no' on a private network",
    ),
    (
        "max-clients",
        r"ERR max number of clients",
        "{node} takes no more connections: its maxclients is reached.",
        "close clients or raise maxclients on it",
    ),
    (
        "loading",
        r"LOADING\b",
        "{node} is still loading its data.",
        "wait until it is done, or raise --timeout",
    ),
    (
        "cluster-disabled",
        r"ERR .*cluster support disabled",
        "{node} is not a cluster node: cluster support is disabled.",
        "set 'cluster-enabled yes' in its configuration and restart it",
    ),
    (
        "command-unavailable",
        r"(?i)ERR unknown (sub)?command",
        "{node} has no {command}: it was renamed or disabled, as on managed services.",
        "undo rename-command there; managed services form their clusters themselves",
    ),
    (
        "out-of-memory",
        r"OOM\b",
        "{node} takes no more data, because its maxmemory is reached: {text}",
        "raise maxmemory there, then run the same command again",
    ),
    (
        "misconf",
        r"MISCONF\b",
        "{node} takes no writes because it cannot save its data: {text}",
        "look at its log: the cause is mostly a full disk or missing permissions",
    ),
    (
        "cluster-down",
        r"CLUSTERDOWN\b",
        "{node} says that the cluster is down: {text}",
        "run 'clusterboot status TOPOLOGY' for the reasons",
    ),
    (
        "busy",
        r"BUSY\b",
        "{node} is busy running a script: {text}",
        "wait for it, or run 'SCRIPT KILL' there",
    ),
)
# Commands with subcommands.
_CONTAINERS = ("CLUSTER", "CONFIG", "CLIENT", "ACL", "FUNCTION", "MEMORY")

# Unknown node: it still has to learn of it. Already busy or set: another run was first. LOADING: restarted.
_TRANSIENT = re.compile(
    r"LOADING\b|(?i:ERR (unknown node"
    r"|slot \d+ is already busy"
    r"|the user can assign a config epoch only when the node does not know any other node"
    r"|node config epoch is already non-zero"
    r"|to set a master the node must be empty and without assigned slots"
    r"|can't replicate myself"
    r"|i can only replicate a (master|primary), not a replica))"
)


class Login(str):
    """Stands in a command for AUTH with the credentials of the node of this name, which MIGRATE takes.

    `client.Fleet` puts them in when it sends the command, or nothing where there are none: no secret is ever
    part of a command elsewhere.
    """

    __slots__ = ()


class Rejected(str):
    """The text of an error reply."""

    __slots__ = ()

    @property
    def transient(self) -> bool:
        """Whether the next look decides: information still spreads, or another run did the same."""
        return _TRANSIENT.match(self) is not None

    @property
    def refuses_permission(self) -> bool:
        """Whether the user may not run the command, or the server does not have it."""
        return explain(self, "", ()).code in ("no-permission", "command-unavailable")


def explain(text: str, node: str, command: Sequence[str]) -> Problem:
    """Return what the error reply `text` to `command` means; an unknown one is quoted, with the command."""
    shown = text if len(text) <= MAX_SHOWN_LENGTH else text[:MAX_SHOWN_LENGTH] + "…"
    for code, pattern, message, hint in _KINDS:
        if re.match(pattern, text):
            return Problem(
                code,
                message.format(node=node, command=name(command), text=shown),
                node=node,
                hint=hint.format(rule="+" + name(command).lower().replace(" ", "|")),
                exit=Exit.NODE,
            )
    return Problem(
        "refused",
        f"{node} refused {name(command)}: {shown}",
        node=node,
        hint="correct this on the node, then run the same command again: it goes on from here",
        exit=Exit.NODE,
    )


def name(command: Sequence[str]) -> str:
    """Return the name of a command, with its subcommand if it has some."""
    return " ".join(command[: 2 if command and command[0] in _CONTAINERS else 1])


def loading(node: str) -> Problem:
    """Return that a node is loading its data. Valkey 9.1 answers INFO and CLUSTER then; its bus is silent."""
    return explain("LOADING", node, ())


def slow(node: str) -> Problem:
    """Return that a node was reached but had not answered everything at the deadline."""
    return Problem(
        "answers-slowly",
        f"{node} takes connections but did not answer everything in time.",
        node=node,
        hint="check the load of the process and its host, or allow more time with --timeout",
        exit=Exit.NODE,
    )


def stopped(node: str) -> Problem:
    """Return that a node which answered during the run did not answer at its end."""
    return Problem(
        "not-answering",
        f"{node} answered earlier in this run but did not at its end.",
        node=node,
        hint="check whether its process or host is stopped or cut off, or allow more time with --timeout",
        exit=Exit.NODE,
    )
