"""The one JSON document of each command: pure functions from results to plain data (docs/json.md).

Keys may be added, their meaning never changes. Every document of a command has all of that command's
keys, also when the command failed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from clusterboot.core.results import NodeRow
from clusterboot.errors import Exit, Problem, worst
from clusterboot.render import words
from clusterboot.slots import Slots

if TYPE_CHECKING:
    from clusterboot.core.events import Done
    from clusterboot.core.placement import Placement
    from clusterboot.core.plan import Plan, Step
    from clusterboot.core.results import (
        BoostReport,
        DownResult,
        LsResult,
        StatusResult,
        UpResult,
        Validated,
    )
    from clusterboot.topology import Topology

SCHEMA = 1

Document = dict[str, Any]

# JSON may hold these, but a terminal obeys some of them, line readers break at others, and a lone surrogate
# cannot be written as UTF-8.
_UNSAFE = re.compile(
    "[\x7f-\xa0\xad\u0600-\u0605\u061c\u180e\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff\ufff9-\uffff"
    "\ud800-\udfff\U000e0000-\U000e0fff]"
)

_PROBLEM = ("code", "message", "node", "peer", "hint", "file", "line", "column")
_NODE = (
    *("name", "address", "ip", "id", "role", "primary"),
    *("slots", "version", "state", "unseen", "unseen_by"),
)
# Beside kind and node, by kind.
_STEPS = {
    "epoch": ("epoch",),
    "slots": ("slots",),
    "meet": ("peer", "host", "port", "bus_port"),
    "replicate": ("primary",),
}

# What a command's document has when it failed before there was a result.
_EMPTY: Mapping[str, Document] = {
    "validate": {"nodes": [], "placement": {}, "plan": None},
    "plan": {"nodes": [], "placement": {}, "plan": None},
    "up": {
        "ready": False,
        "mesh": False,
        "nodes": [],
        "steps": [],
        "repaired": 0,
        "extra_meets": 0,
        "boost": None,
        "seconds": 0.0,
    },
    "status": {"ready": False, "mesh": False, "reasons": [], "nodes": []},
    "down": {"stopped": [], "gone": [], "reset": [], "left": []},
    "ls": {"clusters": []},
}


def document(
    command: str,
    exit: Exit | int,  # noqa: A002 (the key of the contract)
    errors: Sequence[Problem] = (),
    warnings: Sequence[Problem] = (),
    **fields: Any,
) -> Document:
    """Return the document of a command: the common keys first, then `fields`."""
    return {
        "schema": SCHEMA,
        "command": command,
        "ok": int(exit) == 0,
        "exit": int(exit),
        "errors": [problem(each) for each in errors],
        "warnings": [problem(each) for each in warnings],
        **fields,
    }


def dumps(doc: Document) -> str:
    """Return a document as valid UTF-8 text without characters that a terminal would obey."""
    text = json.dumps(doc, ensure_ascii=False, indent=2, allow_nan=False)
    return _UNSAFE.sub(lambda match: json.dumps(match[0])[1:-1], text)


def failure(
    command: str,
    errors: Sequence[Problem],
    warnings: Sequence[Problem] = (),
    exit: Exit | None = None,  # noqa: A002
) -> Document:
    """Return the document of a command that failed without a result; its own keys are empty.

    `exit` overrides the exit status of the problems.
    """
    status = worst(error.exit for error in errors) if exit is None else exit
    return document(command, status, errors, warnings, **_EMPTY.get(command, {}))


def validated(result: Validated, command: str = "validate", warnings: Sequence[Problem] = ()) -> Document:
    """Return the document of `validate`, or of `plan`, which has the same keys."""
    return document(
        command,
        Exit.DONE,
        warnings=(*result.topology.warnings, *result.placement.warnings, *warnings),
        nodes=fresh_nodes(result.topology, result.placement),
        placement=placement(result.placement),
        plan=plan(result.topology, result.plan),
    )


def up(result: UpResult, errors: Sequence[Problem] = (), exit: Exit | None = None) -> Document:  # noqa: A002
    """Return the document of `up`; `errors` are what ended a run that did not reach its goal.

    The exit status is that of the errors, else DONE where the goal was reached or the run was dry.
    """
    if exit is None:
        exit = worst(error.exit for error in errors)  # noqa: A001
    if exit is Exit.DONE and not (result.verdict.ready or result.dry_run):
        exit = Exit.NOT_READY  # noqa: A001
    fields: Document = {
        "ready": result.ready,
        "mesh": result.verdict.mesh,
        "nodes": nodes(result.nodes, result.topology),
        "steps": [done(each) for each in result.steps],
        "repaired": result.repaired,
        "extra_meets": result.extra_meets,
        "boost": boost(result.boost),
        "seconds": round(result.seconds, 3),
    }
    if result.dry_run:
        fields |= {"dry_run": True, "plan": plan(result.topology, result.plan)}
    return document("up", exit, errors, result.warnings, **fields)


def status(result: StatusResult, errors: Sequence[Problem] = ()) -> Document:
    """Return the document of `status`; its exit status is that of the errors, else of the verdict."""
    verdict = result.verdict
    return document(
        "status",
        worst(error.exit for error in errors) or result.exit,
        errors,
        result.warnings,
        ready=result.ready,
        mesh=verdict.mesh,
        reasons=[problem(reason) for reason in verdict.reasons],
        nodes=nodes(result.nodes, result.topology),
    )


def down(result: DownResult) -> Document:
    """Return the document of `down`."""
    return document("down", Exit.DONE, **_fields(result, *_EMPTY["down"]))


def ls(result: LsResult) -> Document:
    """Return the document of `ls`."""
    clusters = [
        {
            "name": cluster.name,
            "file": cluster.file,
            "version": words.server(cluster.version),
            "running": cluster.running,
            "nodes": [_fields(server, "address", "pid", "running") for server in cluster.servers],
        }
        for cluster in result.clusters
    ]
    return document("ls", Exit.DONE, warnings=result.warnings, clusters=clusters)


def problem(found: Problem) -> Document:
    """Return an error, a warning or a reason; `file`, `line` and `column` are null outside of a file."""
    return _fields(found, *_PROBLEM)


def nodes(rows: Sequence[NodeRow], topology: Topology) -> list[Document]:
    """Return the nodes as they are; what is not known of a node that did not answer is null."""
    zones = {node.name: node.zone for node in topology.nodes}
    return [{**_fields(row, *_NODE), "zone": zones.get(row.name)} for row in rows]


def fresh_nodes(topology: Topology, target: Placement) -> list[Document]:
    """Return the nodes of a topology with their planned places; nothing else is known yet."""
    rows = []
    for node in topology.nodes:
        spot = target.spots[node.name]
        rows.append(NodeRow(node.name, node.address, None, spot.role, spot.primary, spot.slots, None, None))
    return nodes(rows, topology)


def placement(found: Placement) -> Document:
    """Return role, primary and slots by node name."""
    return {name: _fields(spot, "role", "primary", "slots") for name, spot in found.spots.items()}


def plan(topology: Topology, found: Plan) -> Document:
    """Return a plan: how nodes meet, how many groups know each other already, and the steps in order."""
    steps = [step(each) for each in found.steps]
    return {"strategy": topology.strategy, "groups": found.groups, "steps": steps}


def step(found: Step) -> Document:
    """Return one step; `kind` says which other keys it has."""
    return _fields(found, "kind", "node", *_STEPS[found.kind])


def done(found: Done) -> Document:
    """Return a step that was done: `again` repairs a lost one, `extra` goes beyond the plan."""
    return {**step(found.step), "again": found.again, "extra": found.extra}


def boost(found: BoostReport | None) -> Document | None:
    """Return which timers the boost lowered, and on how many nodes they were restored."""
    if found is None:
        return None
    return _fields(found, "used", "settings", "nodes", "restored", "reason")


def _fields(found: object, *names: str) -> Document:
    return {name: _plain(getattr(found, name)) for name in names}


def _plain(value: Any) -> Any:
    if isinstance(value, Slots):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, tuple) else value
