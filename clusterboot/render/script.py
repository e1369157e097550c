"""A plan as a POSIX shell script of redis-cli lines (6.2 and later) that does the same on fresh nodes.

It holds no password and no node id. redis-cli exits with 0 when a server refuses a command, so every answer
is checked. What comes from the topology is quoted, and escaped to ASCII in comments: it cannot become code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from ipaddress import ip_address
from shlex import quote
from textwrap import wrap

from clusterboot.core.plan import Plan
from clusterboot.core.steps import AddSlots, Meet, Replicate, SetEpoch, Step
from clusterboot.render import words
from clusterboot.render.safe import clean
from clusterboot.topology import Auth, Node, Tls, Topology

# For each source of a password, an Auth without user name: the variable that holds it, the lines that set it.
Passwords = dict[Auth, tuple[str, str]]

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)

_NODES = "# The nodes. $REDIS_CLI names another client, such as valkey-cli; $CLUSTER_TIMEOUT is in seconds."

_FUNCTIONS = r"""give_up() { # REASON
    printf 'error: %s\n' "$1" >&2
    exit 1
}

must() { # NODE COMMAND...: the node has to answer OK
    answer=$("$@") || answer="${answer:-no answer}"
    [ "$answer" = OK ] || give_up "$(name "$1") answers $2 ${3:-} with: $answer"
}

fresh() { # NODE: it has to answer, to know no other node, and to serve no slots
    answer=$("$1" CLUSTER INFO) || answer="${answer:-no answer}"
    case "$answer" in
    *cluster_slots_assigned:0[!0-9]*cluster_known_nodes:1[!0-9]*) ;;
    *cluster_known_nodes:1[!0-9]*) give_up "$(name "$1") already serves slots" ;;
    *cluster_known_nodes:*) give_up "$(name "$1") already knows other nodes" ;;
    *) give_up "$(name "$1") answers CLUSTER INFO with: $answer" ;;
    esac
}

sees() { # NODE: how many nodes it is connected to and finds nothing wrong with, itself included
    "$1" CLUSTER NODES 2>/dev/null |
        awk '$8 == "connected" && $3 !~ /handshake|noaddr|fail/ { n++ } END { print n + 0 }'
}

deadline() { # start the clock again
    end=$(($(date +%s) + ${CLUSTER_TIMEOUT:-TIMEOUT}))
}

pause() { # WHY: the reason to give up with when the time is over
    [ "$(date +%s)" -lt "$end" ] || give_up "out of time: $1"
    sleep 0.2 2>/dev/null || sleep 1
}"""

_RESOLVE = r"""resolve() { # HOST: its IP address, because CLUSTER MEET takes no host name
    address=
    if command -v getent >/dev/null 2>&1; then
        address=$(getent ahostsv4 "$1" 2>/dev/null | awk 'NR == 1 { print $1 }')
        [ -n "$address" ] || address=$(getent ahosts "$1" 2>/dev/null | awk 'NR == 1 { print $1 }')
    elif command -v dscacheutil >/dev/null 2>&1; then
        address=$(dscacheutil -q host -a name "$1" | awk '/^ip_address:/ { print $2; exit }')
    fi
    [ -n "$address" ] || give_up "cannot resolve $1"
    printf '%s\n' "$address"
}"""

_ROLES = r"""replicas() { # NODE: how many replicas it knows of
    "$1" CLUSTER NODES 2>/dev/null | awk '$3 ~ /slave/ { n++ } END { print n + 0 }'
}"""


_HEADINGS = {
    "epoch": "Each node gets a different config epoch, so that there are no collisions to resolve later.",
    "slots": "Slots: ADDSLOTS, because ADDSLOTSRANGE needs 7.0.",
    "meet": "The MEETs: one fewer than there are nodes, in one direction only.",
    "replicate": "Replicas follow their primaries, by node id.",
}


def script(topology: Topology, plan: Plan, file: str | None = None) -> str:
    """Return the script for a plan of fresh nodes; a comment names `file`."""
    return "\n\n".join(filter(None, _blocks(topology, plan, file))) + "\n"


def _blocks(topology: Topology, plan: Plan, file: str | None) -> Iterator[str]:
    functions = {node.name: f"node_{number}" for number, node in enumerate(topology.nodes, 1)}
    every, total = list(functions.values()), len(functions)
    nodes = words.count(total, "node")
    serving = any(isinstance(step, AddSlots) for step in plan.steps)
    replicas = [functions[step.node] for step in plan.steps if isinstance(step, Replicate)]
    passwords = _passwords(topology)
    source = f" of {_comment(file)}" if file else ""
    yield f"""#!/bin/sh
# Forms the cluster{source} on fresh nodes, which know no other node and hold no data:
# {nodes}; {words.steps(plan.steps) or "nothing to do"}.
# Unlike 'clusterboot up' it repairs nothing and cannot continue after an interruption.
set -eu"""
    yield "\n".join(lines for _, lines in passwords.values())
    calls = [_node(node, functions[node.name], topology.tls, passwords) for node in topology.nodes]
    yield "\n".join((_NODES, *calls))
    names = [f"    {function}) printf %s {quote(_comment(name))} ;;" for name, function in functions.items()]
    yield "\n".join(
        ("name() { # NODE: what the topology calls it", '    case "$1" in', *names, "    esac", "}")
    )
    yield _FUNCTIONS.replace("TIMEOUT:-TIMEOUT", f"TIMEOUT:-{max(60, total)}")
    yield "" if all(_numeric(step.host) for step in plan.meets) else _RESOLVE
    yield _ROLES if replicas else ""
    nothing = "# Nothing is changed before every node has answered and is fresh."
    yield "\n".join((nothing, _each(every, '    fresh "$node"')))
    for kind, heading in _HEADINGS.items():
        steps = [_command(step, functions) for step in plan.steps if step.kind == kind]
        if steps:
            yield "\n".join((f"# {heading}", *steps))
        if steps and kind == "meet":
            sees = f'seen=$(sees "$node"); [ "$seen" -eq {total} ]'
            why = f'$(name "$node") sees $seen of {total} nodes; can the nodes reach each other\'s bus ports?'
            gossip = "# Gossip does the rest: wait until every node sees all others."
            yield f"{gossip}\ndeadline\n{_wait(every, sees, why)}"
    if serving:
        serves = '"$node" CLUSTER INFO 2>/dev/null | grep -q "^cluster_state:ok"'
        waits = [_wait(every, serves, '$(name "$node") still says cluster_state:fail')]
        if replicas:
            knows = f'known=$(replicas "$node"); [ "$known" -eq {len(replicas)} ]'
            waits.append(_wait(every, knows, f'$(name "$node") knows $known of {len(replicas)} replicas'))
            in_sync = '"$node" INFO replication 2>/dev/null | grep -q "^master_link_status:up"'
            waits.append(_wait(replicas, in_sync, '$(name "$node") is not in sync with its primary'))
        also = " and knows every replica" if replicas else ""
        yield "\n".join((f"# Wait until every node answers clients{also}.", "deadline", *waits))
    yield f"echo {quote(nodes + (': Ready' if serving else ': a full mesh'))}"


def _command(step: Step, functions: dict[str, str]) -> str:
    node = functions[step.node]
    match step:
        case SetEpoch():
            return f"must {node} CLUSTER SET-CONFIG-EPOCH {step.epoch}"
        case AddSlots():
            ranges = [str(low) if low == high else f"$(seq {low} {high})" for low, high in step.slots.ranges]
            return f"must {node} CLUSTER ADDSLOTS {' '.join(ranges)}"
        case Meet():
            # An assignment ends the script when resolving fails; inside the arguments it would go on.
            resolved = "" if _numeric(step.host) else f"ip=$(resolve {quote(step.host)})\n"
            host = quote(step.host) if _numeric(step.host) else '"$ip"'
            bus = "" if step.bus_port is None else f" {step.bus_port}"
            return f"{resolved}must {node} CLUSTER MEET {host} {step.port}{bus}"
        case Replicate():
            return f'must {node} CLUSTER REPLICATE "$({functions[step.primary]} CLUSTER MYID)"'
        case _:
            raise AssertionError(f"fresh nodes need no {step.kind}")


def _node(node: Node, function: str, tls: Tls | None, passwords: Passwords) -> str:
    """Return a shell function that sends its arguments to one node as a command."""
    auth = node.auth or Auth()
    options: dict[str, object] = {"-h": node.host, "-p": node.port, "--user": auth.username}
    variable, _ = passwords.get(replace(auth, username=None), ("", ""))
    before = f'REDISCLI_AUTH="{variable}" ' if variable else ""
    if tls is not None:
        options |= {"--tls": "", "--cacert": tls.ca, "--cert": tls.cert, "--key": tls.key}
        options |= {"--insecure": None if tls.verify else "", "--sni": tls.server_name}
    arguments = [
        f"{flag} {quote(str(value))}" if value != "" else flag
        for flag, value in options.items()
        if value is not None
    ]
    line = f'{function}() {{ {before}"${{REDIS_CLI:-redis-cli}}" {" ".join(arguments)} "$@" </dev/null; }}'
    named = _comment(node.name)
    return line if named == node.address else f"{line} # {named}"


def _passwords(topology: Topology) -> Passwords:
    passwords: Passwords = {}
    asked = 0
    for node in topology.nodes:
        auth = replace(node.auth or Auth(), username=None)
        if auth == Auth() or auth in passwords:
            continue
        # Inside "${NAME:?…}": no quotes, braces and expansions.
        name = re.sub(r"[^A-Za-z0-9_.:,\[\] -]", "?", _comment(node.name))
        whose = f"the password of {name}"
        comment = ""
        if auth.password_file is not None:
            source = f"$(cat <{quote(str(auth.password_file))})"
        elif auth.password_env is not None and _VARIABLE.fullmatch(auth.password_env):
            source = f'"${{{auth.password_env}:?holds {whose}}}"'
        else:
            asked += 1
            variable = "REDISCLI_AUTH" if asked == 1 else f"REDISCLI_AUTH_{asked}"
            comment = "# The topology has this password in plain text, so it is left out here.\n"
            if auth.password_env is not None:
                name = _comment(auth.password_env)
                comment = f"# A shell cannot read the variable {name} of the topology.\n"
            source = f'"${{{variable}:?set it to {whose}}}"'
        holder = f"password_{len(passwords) + 1}"
        passwords[auth] = (f"${holder}", f"{comment}{holder}={source}")
    return passwords


def _wait(nodes: Sequence[str], condition: str, why: str) -> str:
    return _each(nodes, f'    until {condition}; do\n        pause "{why}"\n    done')


def _each(nodes: Sequence[str], body: str) -> str:
    lines = wrap(" ".join(nodes), 90, break_long_words=False)
    return "for node in " + " \\\n    ".join(lines) + f"; do\n{body}\ndone"


def _numeric(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _comment(text: str) -> str:
    """Return text from the topology for a comment: printable ASCII on one line."""
    return clean(text).encode("ascii", "backslashreplace").decode("ascii")
