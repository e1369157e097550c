"""The one JSON document of each command: pure functions from results to data for JSON (docs/json.md).

Keys may be added, their meaning never changes. Every document of a command has all of that command's
keys, also when the command failed.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from clusterboot.core.plan import Plan
from clusterboot.core.results import DownResult, LsResult, NodeRow, StatusResult, UpResult, Validated
from clusterboot.core.steps import Step
from clusterboot.errors import Exit, Problem, worst
from clusterboot.render import words
from clusterboot.slots import Slots
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
        "moved": {"slots": 0, "keys": 0, "seconds": 0.0},
        "retired": [],
        "seconds": 0.0,
    },
    "status": {"ready": False, "mesh": False, "reasons": [], "nodes": []},
    "down": {"stopped": [], "gone": [], "reset": [], "left": []},
    "ls": {"clusters": []},
}


def dumps(doc: Document) -> str:
    """Return a document as valid UTF-8 text without characters that a terminal would obey."""
    text = json.dumps(doc, ensure_ascii=False, indent=2, allow_nan=False)
    return _UNSAFE.sub(lambda match: json.dumps(match[0])[1:-1], text)


def failure(
    command: str,
    errors: Sequence[Problem],
    warnings: Sequence[Problem] = (),
    status: Exit | None = None,
) -> Document:
    """Return the document of a failed command; its own keys are empty, `status` defaults to the errors'."""
    status = worst(error.exit for error in errors) if status is None else status
    return _document(command, status, errors, warnings, **_EMPTY.get(command, {}))


def validated(result: Validated, command: str = "validate", warnings: Sequence[Problem] = ()) -> Document:
    """Return the document of `validate`, or of `plan`, which has the same keys."""
    topology, spots = result.topology, result.placement.spots
    rows = []
    for node in topology.nodes:
        spot = spots[node.name]
        rows.append(NodeRow(node.name, node.address, None, spot.role, spot.primary, spot.slots, None, None))
    return _document(
        command,
        Exit.DONE,
        warnings=(*topology.warnings, *result.placement.warnings, *warnings),
        nodes=nodes(rows, topology),
        placement={name: _fields(spot, "role", "primary", "slots") for name, spot in spots.items()},
        plan=_plan(topology, result.plan),
    )


def up(result: UpResult, errors: Sequence[Problem] = (), status: Exit | None = None) -> Document:
    """Return the document of `up`; `errors` are what ended a run that did not reach its goal.

    The exit status is `status` or that of the errors, else DONE if the goal was reached or the run was dry.
    """
    if status is None:
        status = worst(error.exit for error in errors)
    if status is Exit.DONE and not (result.verdict.ready or result.dry_run):
        status = Exit.NOT_READY
    boost, moved = result.boost, result.moved
    fields: Document = {
        "ready": result.ready,
        "mesh": result.verdict.mesh,
        "nodes": nodes(result.nodes, result.topology),
        "steps": [{**step(done.step), "again": done.again, "extra": done.extra} for done in result.steps],
        "repaired": result.repaired,
        "extra_meets": result.extra_meets,
        "boost": _fields(boost, "used", "settings", "nodes", "restored", "reason") if boost else None,
        "moved": {**_fields(moved, "slots", "keys"), "seconds": round(moved.seconds, 3)},
        "retired": list(result.retired),
        "seconds": round(result.seconds, 3),
    }
    if result.dry_run:
        transfers = [
            {**_fields(each.step, "node", "peer", "slots"), **_fields(each, "keys", "method")}
            for each in result.transfers
        ]
        plan = _plan(result.topology, result.plan)
        fields |= {"dry_run": True, "plan": plan, "transfers": transfers}
    return _document("up", status, errors, result.warnings, **fields)


def status(result: StatusResult, errors: Sequence[Problem] = ()) -> Document:
    """Return the document of `status`; its exit status is that of the errors, else of the verdict."""
    return _document(
        "status",
        worst(error.exit for error in errors) or result.exit,
        errors,
        result.warnings,
        ready=result.ready,
        mesh=result.verdict.mesh,
        reasons=[problem(reason) for reason in result.verdict.reasons],
        nodes=nodes(result.nodes, result.topology),
    )


def down(result: DownResult) -> Document:
    """Return the document of `down`."""
    return _document("down", Exit.DONE, **_fields(result, *_EMPTY["down"]))


def ls(result: LsResult) -> Document:
    """Return the document of `ls`."""
    clusters = [
        {
            **_fields(cluster, "name", "file"),
            "version": words.server(cluster.version),
            "running": cluster.running,
            "nodes": [_fields(server, "address", "pid", "running") for server in cluster.servers],
        }
        for cluster in result.clusters
    ]
    return _document("ls", Exit.DONE, warnings=result.warnings, clusters=clusters)


def problem(found: Problem) -> Document:
    """Return an error, a warning or a reason; `file`, `line` and `column` are null outside of a file."""
    return _fields(found, *_PROBLEM)


def step(found: Step) -> Document:
    """Return a step: its kind, and its fields under their own names."""
    return _fields(found, "kind", *(field.name for field in dataclasses.fields(found)))


def nodes(rows: Sequence[NodeRow], topology: Topology) -> list[Document]:
    """Return the nodes as they are; what is not known of a node that did not answer is null."""
    zones = {node.name: node.zone for node in topology.nodes}
    return [{**_fields(row, *_NODE), "zone": zones.get(row.name)} for row in rows]


def _document(
    command: str,
    status: Exit,
    errors: Sequence[Problem] = (),
    warnings: Sequence[Problem] = (),
    **fields: Any,
) -> Document:
    """Return the document of a command: the common keys first, then `fields`."""
    return {
        "schema": SCHEMA,
        "command": command,
        "ok": status is Exit.DONE,
        "exit": int(status),
        "errors": [problem(each) for each in errors],
        "warnings": [problem(each) for each in warnings],
        **fields,
    }


def _plan(topology: Topology, plan: Plan) -> Document:
    steps = [step(each) for each in plan.steps]
    return {"strategy": topology.strategy, "groups": plan.groups, "steps": steps}


def _fields(source: object, *names: str) -> Document:
    values = {name: getattr(source, name) for name in names}
    return {name: str(value) if isinstance(value, Slots) else value for name, value in values.items()}
