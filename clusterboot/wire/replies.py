"""What an error reply of a node means, in a sentence of its own for each kind. Pure.

Servers put a code in front of their errors (NOAUTH, WRONGPASS, NOPERM …) or, after ERR, only words.
`explain` turns such a text into a `Problem` once, for every command and every server.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeAlias

from clusterboot.errors import Exit, Problem

Command = tuple[str, ...]
Reply: TypeAlias = "str | int | list[Reply] | Rejected | None"

_LONGEST = 300

# code, pattern over the reply, sentence, hint. The first that fits counts.
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
        "take auth off this node, or set requirepass there",
    ),
    (
        "user-too-new",
        r"ERR wrong number of arguments for 'auth'",
        "{node} knows no user names: they came with Redis 6.",
        "take auth.username off this node",
    ),
    (
        "no-permission",
        r"NOPERM\b",
        "{node} does not allow its user to run {command}.",
        "allow it: ACL SETUSER <user> {rule}; docs/security.md has the whole rule set",
    ),
    (
        "protected-mode",
        r"DENIED\b",
        "{node} is in protected mode and answers to its own host only.",
        "set a password there, or 'bind' and 'protected-mode no' on a network that is yours alone",
    ),
    (
        "max-clients",
        r"ERR max number of clients",
        "{node} has no connection to spare: its maxclients is reached.",
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
        "{node} has no {command}: it was renamed or taken away, as on managed services.",
        "managed services form their clusters themselves; elsewhere undo rename-command",
    ),
    (
        "misconf",
        r"MISCONF\b",
        "{node} takes no writes because it cannot save its data: {text}",
        "look at its log, mostly a full disk or missing rights",
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
        "wait for it, or run SCRIPT KILL there",
    ),
)
_COMPILED = [(code, re.compile(pattern), text, hint) for code, pattern, text, hint in _KINDS]

# Refusals that go away by themselves or mean that another run was first: look again, then decide.
_TRANSIENT = re.compile(
    r"LOADING\b|(?i:ERR (unknown node"
    r"|slot \d+ is already busy"
    r"|the user can assign a config epoch only when the node does not know any other node"
    r"|node config epoch is already non-zero"
    r"|to set a master the node must be empty and without assigned slots"
    r"|can't replicate myself"
    r"|i can only replicate a (master|primary), not a replica))"
)


class Rejected(str):
    """The text of an error reply, as the server sent it."""

    __slots__ = ()

    @property
    def transient(self) -> bool:
        """Whether to look again before calling it final.

        Either knowledge is still on its way (`Unknown node`), or another run did the same a moment
        ago (`Slot N is already busy`), or the node was restarted and loads its data (`LOADING`); the
        next look tells which.
        """
        return _TRANSIENT.match(self) is not None

    @property
    def refuses_permission(self) -> bool:
        """Whether the user may not run the command, or the server does not have it."""
        return explain(self, "", ()).code in ("no-permission", "command-unavailable")


def explain(text: str, node: str, command: Sequence[str]) -> Problem:
    """Return what the error reply `text` to `command` means; exit status 5.

    What no kind fits is told as it came, with the command: nothing that a server says is swallowed.
    """
    shown = text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
    words = name(command)
    for code, pattern, sentence, hint in _COMPILED:
        if pattern.match(text):
            return Problem(
                code,
                sentence.format(node=node, command=words, text=shown),
                node=node,
                hint=hint.format(rule=_rule(command)),
                exit=Exit.NODE,
            )
    return Problem(
        "refused",
        f"{node} refused {words}: {shown}",
        node=node,
        hint="mend this on the node, then run the same command again: it goes on from here",
        exit=Exit.NODE,
    )


def name(command: Sequence[str]) -> str:
    """Return a command as it is shown: its name, and the subcommand of CLUSTER, CONFIG and the like."""
    both = command[0] in ("CLUSTER", "CONFIG", "CLIENT", "ACL") and len(command) > 1 if command else False
    return " ".join(command[:2]) if both else " ".join(command[:1])


def _rule(command: Sequence[str]) -> str:
    return "+" + name(command).lower().replace(" ", "|") if command else "+cluster"
