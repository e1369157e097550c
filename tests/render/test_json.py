"""The JSON documents: the contract of docs/json.md, key by key."""

from __future__ import annotations

import json as standard
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clusterboot.core.plan import Plan
from clusterboot.core.results import ClusterRow, DownResult, LsResult, ServerRow, StatusResult
from clusterboot.errors import SIGNALS, Exit, Problem
from clusterboot.render import json
from tests.render import moving
from tests.render.paper import NOT_SEEN, REASONS, broken, formed, local, node_rows, valid, verdict

ROOT = Path(__file__).parents[2]
WRONG = Problem("topology-unknown-key", "unknown key.", file="t.yaml", line=1, column=2, exit=Exit.USAGE)
CLUSTERS = LsResult((ClusterRow("local", "local.yaml", "valkey 9.1.2", (ServerRow("a:1", 1, True),)),))

DRY = replace(formed(), dry_run=True, steps=(), boost=None, verdict=verdict(local(6), NOT_SEEN))

# One document of each kind, under the heading of docs/json.md that has its example.
DOCUMENTS: dict[str, Any] = {
    "What every document has": json.failure("validate", [WRONG]),
    "validate": json.validated(valid(local(6, replicas=1))),
    "plan": json.validated(valid(local(6, replicas=1)), "plan"),
    "up": json.up(formed()),
    "up --dry-run": json.up(DRY),
    "up --rebalance --dry-run": json.up(moving.dry()),
    "status": json.status(broken()),
    "down": json.down(DownResult(("a",), ("b",))),
    "ls": json.ls(CLUSTERS),
}


def examples() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for section in re.split(r"^## ", (ROOT / "docs/json.md").read_text(), flags=re.MULTILINE)[1:]:
        heading = section.partition("\n")[0]
        if heading == "Steps":  # test_steps has its own look at them
            continue
        for text in re.findall(r"```json\n(.*?)```", section, re.DOTALL):
            flags = ("", " --dry-run", " --rebalance --dry-run")
            name = next(name for flag in flags if (name := f"{heading}{flag}") not in found)
            found[name] = standard.loads(text)
    return found


def keys_at(value: Any, path: str = "") -> dict[str, set[tuple[str, ...]]]:
    """The keys of every object in a document, by where it is; a step also by its kind."""
    found: dict[str, set[tuple[str, ...]]] = {}
    if isinstance(value, list):
        inner = [keys_at(member, f"{path}[]") for member in value]
    elif isinstance(value, dict):
        path += f"<{value['kind']}>" if "kind" in value else ""
        if path not in ("placement", "boost.settings"):
            found[path] = {tuple(value)}
        names = {key: "*" if path in ("placement", "boost.settings") else key for key in value}
        inner = [keys_at(member, f"{path}.{names[key]}".lstrip(".")) for key, member in value.items()]
    else:
        inner = []
    for more in inner:
        for where, keys in more.items():
            found.setdefault(where, set()).update(keys)
    return found


def test_every_kind_of_document_has_an_example() -> None:
    assert list(examples()) == list(DOCUMENTS)


@pytest.mark.parametrize("heading", DOCUMENTS)
def test_the_example_has_the_keys_of_the_document(heading: str) -> None:
    example, document = examples()[heading], standard.loads(json.dumps(DOCUMENTS[heading]))
    assert list(example) == list(document)
    shown, made = keys_at(example), keys_at(document)
    # A dry run late in a run has no step of some kinds, and an example no warning: what both have must agree.
    both = shown.keys() & made.keys()
    assert {where: shown[where] for where in both} == {where: made[where] for where in both}
    assert {where for where in shown if "<" not in where} >= {"", *(key for key in made if key == "nodes[]")}


def test_every_key_is_explained() -> None:
    text = (ROOT / "docs/json.md").read_text()
    prose = re.sub(r"```json.*?```", "", text, flags=re.DOTALL)

    def keys(value: Any, named: bool = False) -> set[str]:
        if isinstance(value, dict):
            inner = set().union(*(keys(member, key == "placement") for key, member in value.items()), set())
            return inner if named else inner | set(value) - set(value.get("settings", ()))
        return set().union(*map(keys, value)) if isinstance(value, list) else set()

    found = set().union(*(keys(document) for document in DOCUMENTS.values()))
    found -= {"cluster-node-timeout", "repl-diskless-sync-delay", "clusters", "pid", "running"}
    assert sorted(key for key in found if f"`{key}`" not in prose) == []
    rows = set(re.findall(r"^\| (\d+(?: \+ n)?) \|", prose, re.MULTILINE))
    assert rows >= {*(str(int(status)) for status in Exit if status not in SIGNALS), "128 + n"}


def test_the_common_keys_come_first_and_in_every_document() -> None:
    for document in DOCUMENTS.values():
        assert list(document)[:6] == ["schema", "command", "ok", "exit", "errors", "warnings"]
        assert document["schema"] == 1
        assert document["ok"] is (document["exit"] == 0)


@pytest.mark.parametrize("command", ["validate", "plan", "up", "status", "down", "ls"])
def test_a_failure_has_all_keys_of_its_command(command: str) -> None:
    whole = next(document for document in DOCUMENTS.values() if document["command"] == command)
    if command == "validate":
        whole = DOCUMENTS["validate"]
    failed = json.failure(command, [Problem("x", "no.", exit=Exit.NODE)])
    assert list(failed) == list(whole)
    assert (failed["ok"], failed["exit"]) == (False, 5)


def test_a_problem() -> None:
    assert json.problem(WRONG) == {
        "code": "topology-unknown-key",
        "message": "unknown key.",
        "node": None,
        "peer": None,
        "hint": None,
        "file": "t.yaml",
        "line": 1,
        "column": 2,
    }


def test_steps_and_nodes_of_a_plan() -> None:
    document = json.validated(valid(local(6, replicas=1)), "plan")
    assert document["plan"]["steps"][0] == {"kind": "epoch", "node": "127.0.0.1:7001", "epoch": 4}
    assert document["plan"]["steps"][6] == {"kind": "slots", "node": "127.0.0.1:7001", "slots": "0-5460"}
    assert document["plan"]["steps"][9] == {
        "kind": "meet",
        "node": "127.0.0.1:7001",
        "peer": "127.0.0.1:7002",
        "host": "127.0.0.1",
        "port": 7002,
        "bus_port": None,
    }
    assert document["plan"]["steps"][14] == {
        "kind": "replicate",
        "node": "127.0.0.1:7004",
        "primary": "127.0.0.1:7001",
    }
    assert document["placement"]["127.0.0.1:7002"] == {
        "role": "primary",
        "primary": None,
        "slots": "5461-10922",
    }
    assert document["nodes"][3]["primary"] == "127.0.0.1:7001"


@pytest.mark.parametrize(
    ("changes", "errors", "ready", "status"),
    [
        ({}, [], True, 0),
        ({"mesh_only": True}, [], False, 0),
        ({"verdict": verdict(local(6), NOT_SEEN)}, [], False, 4),
        ({"verdict": verdict(local(6), NOT_SEEN), "dry_run": True}, [], False, 0),
        ({"verdict": verdict(local(6), NOT_SEEN)}, [Problem("x", "no.", exit=Exit.NODE)], False, 5),
        ({}, [Problem("x", "stopped.", exit=Exit.SIGINT)], True, 130),
    ],
)
def test_ready_and_exit_of_up(
    changes: dict[str, Any], errors: list[Problem], ready: bool, status: int
) -> None:
    document = json.up(replace(formed(), **changes), errors)
    assert (document["ready"], document["exit"], document["ok"]) == (ready, status, status == 0)


def test_a_dry_run_has_its_plan() -> None:
    document = json.up(replace(DRY, plan=Plan((), 1)))
    assert (document["dry_run"], document["plan"]) == (
        True,
        {"strategy": "star", "groups": 1, "steps": []},
    )
    assert "plan" not in json.up(formed())


def test_up_counts_repairs_and_extra_meets() -> None:
    document = json.up(formed())
    assert (document["repaired"], document["extra_meets"], document["seconds"]) == (1, 2, 0.84)
    assert [step["again"] for step in document["steps"]].count(True) == 1


def test_status_is_ready_not_ready_or_unreachable() -> None:
    topology = local(6, replicas=1)
    good = StatusResult(topology, verdict(topology), node_rows(topology))
    slow = replace(broken(), verdict=verdict(topology, NOT_SEEN, REASONS[1:]))
    assert [json.status(one)["exit"] for one in (good, slow, broken())] == [0, 4, 5]
    mesh = replace(good, topology=local(6, slots="none"))
    assert (json.status(mesh)["exit"], json.status(mesh)["ready"], json.status(mesh)["mesh"]) == (
        0,
        False,
        True,
    )


def test_json_needs_neither_rich_nor_the_topology_parsers() -> None:
    code = (
        "import sys; from clusterboot.render import json, script; "
        "print(sorted({'rich', 'yaml', 'pydantic', 'redis', 'typer'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=30)
    assert (shown.stdout, shown.stderr) == ("[]\n", "")


def test_a_document_of_two_thousand_nodes_is_made_in_one_pass() -> None:
    topology = local(2000, replicas=1)
    document = standard.loads(json.dumps(json.up(formed(topology))))
    assert len(document["nodes"]) == 2000
    assert document["nodes"][1999]["name"] == topology.nodes[1999].name
