"""What each room and module may import: the walls of the design, as data, checked by reading all imports.

A room is a package of clusterboot or a flat module. `ROOMS` says what each room may import; it is in order,
so nothing imports what stands further down. In the rooms of `MODULES` the walls go by module as well.
docs/architecture.md shows the rooms as a picture.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1] / "clusterboot"

ROOMS: dict[str, set[str]] = {
    "errors": set(),
    "addresses": set(),
    "slots": {"errors"},
    "wording": set(),
    "background": set(),
    "topology": {"errors", "slots", "wording"},
    "core": {"errors", "slots", "wording", "topology"},
    "diagnosis": {"errors", "wording", "topology", "core"},
    "wire": {"errors", "topology"},
    "disk": {"errors", "topology"},
    "local": {"errors", "wording", "topology", "disk"},
    "loop": {"errors", "wording", "background", "topology", "core", "diagnosis", "wire"},
    "rebalance": {"errors", "slots", "wording", "topology", "core", "wire", "loop"},
    "bootstrap": {"errors", "wording", "core", "wire", "loop", "rebalance"},
    "throwaway": {
        *(
            "errors",
            "addresses",
            "wording",
            "background",
            "topology",
            "core",
            "wire",
            "disk",
            "local",
            "loop",
            "bootstrap",
        ),
    },
    "pytest_plugin": {"errors", "throwaway"},
    "render": {"errors", "slots", "wording", "topology", "core"},
    "commands": {
        *(
            "errors",
            "addresses",
            "wording",
            "topology",
            "core",
            "wire",
            "disk",
            "local",
            "loop",
            "bootstrap",
            "throwaway",
        ),
        "render",
    },
    "cli": {"errors", "commands"},
    "__main__": {"cli"},
}
# What most of `loop` may know. The nodes are behind a protocol: only `helper` knows the client.
_VIEWS = {"errors", "wording", "topology", "core", "diagnosis", "wire/replies"}
# What all of `rebalance` may know.
_NODES = {"errors", "slots", "wording", "topology", "core", "wire/replies", "loop/observe"}
# By module: the modules of the same room, other rooms, and single modules of other rooms.
MODULES: dict[str, dict[str, set[str]]] = {
    "core": {
        "views": {"errors", "slots"},
        "versions": {"views", "errors", "wording"},
        "travel": {"views", "versions", "errors"},
        "spread": {"topology", "versions"},
        "placement": {"topology", "slots", "errors", "spread", "versions", "wording"},
        "groups": {"views"},
        "addressing": {"views", "topology", "errors"},
        "steps": {"slots"},
        "shares": {"steps", "topology", "slots", "errors", "wording"},
        "plan": {"steps", "topology", "views", "addressing", "groups", "placement", "slots", "errors"},
        "drift": {"views", "topology", "placement", "errors", "wording"},
        "leaving": {"views", "topology", "slots", "errors", "wording"},
        "future": {"placement", "spread", "versions", "topology", "slots", "errors"},
        "stages": {
            *(
                "future",
                "leaving",
                "placement",
                "shares",
                "steps",
                "views",
                "topology",
                "slots",
                "errors",
                "wording",
            ),
        },
        "adopt": {
            *("views", "groups", "placement", "topology", "slots", "errors", "drift", "versions"),
            *("leaving", "future", "stages", "steps", "wording"),
        },
        "replaced": {"views", "errors", "wording"},
        "preflight": {
            *("views", "addressing", "placement", "steps", "topology", "errors", "versions", "replaced"),
            *("slots", "wording"),
        },
        "verdict": {"views", "placement", "slots", "errors", "wording"},
        "health": {"verdict", "views", "placement", "slots", "errors"},
        "extra_meets": {"views", "addressing", "verdict", "steps", "topology"},
        "timers": {"views", "topology"},
        "borrowed": {"timers", "views", "errors", "wording"},
        "events": {"plan", "steps", "verdict", "placement", "errors"},
        "pace": set(),
        "job_pace": set(),
        "open_slots": {"views", "steps", "slots", "errors", "wording"},
        "results": {
            *("errors", "slots", "topology", "views", "verdict", "placement", "plan", "steps", "events"),
        },
    },
    "diagnosis": {
        "bus": {"core", "topology"},
        "blocked": {"bus", "errors", "wording"},
        "forgotten": {"bus", "core", "errors", "wording"},
        "unsynced": {"blocked", "bus", "core", "errors", "wording"},
        "diagnose": {"blocked", "forgotten", "bus", "unsynced", "core", "errors", "wording"},
    },
    "wire": {
        "replies": {"errors"},
        "connection": {"replies"},
        "resolve": {"errors", "topology"},
        "tls": {"errors", "topology"},
        "failures": {"errors", "topology", "tls"},
        "client": {"errors", "topology", "replies", "connection", "resolve", "tls", "failures"},
    },
    "disk": {
        "credentials": {"errors", "topology"},
        "private": {"errors"},
        "records": {"errors", "topology", "private"},
        "topology_file": {"errors", "topology"},
    },
    "local": {
        "binary": {"errors"},
        "process": set(),
        "server": {"binary", "errors"},
        "failures": {"server", "errors"},
        "launch": {"binary", "process", "server", "failures", "errors"},
        "spawned": {"process", "server", "disk/records", "errors", "topology"},
        "wanted": {"binary", "server", "spawned", "disk/records", "errors", "topology", "wording"},
        "clusters": {
            *("binary", "process", "server", "launch", "spawned", "wanted", "disk/records", "errors"),
            "topology",
        },
    },
    "loop": {
        "observe": _VIEWS,
        "act": {*_VIEWS, "observe"},
        "configure": {*_VIEWS, "observe"},
        "restore": {*_VIEWS, "observe", "configure"},
        "lower": {*_VIEWS, "configure"},
        "hold": {*_VIEWS, "configure"},
        "boost": {*_VIEWS, "observe", "configure", "restore", "lower", "hold"},
        "helper": {"wire/client", "restore"},
        "standby": {"helper", "topology", "background"},
        "follow": {*_VIEWS, "observe", "meets", "run"},
        "investigate": {*_VIEWS, "observe", "wire/resolve"},
        "members": {*_VIEWS, "observe"},
        "status": {*_VIEWS, "observe", "members", "investigate"},
        "reset": {*_VIEWS, "observe", "act", "boost", "investigate", "follow"},
        "meets": {*_VIEWS, "observe", "act"},
        "run": {*_VIEWS, "observe", "act", "boost", "meets", "members"},
        "ending": {*_VIEWS, "observe", "run", "boost", "investigate"},
    },
    "rebalance": {
        "alone": _NODES,
        "functions": _NODES,
        "counting": _NODES,
        "databases": _NODES,
        "big_keys": _NODES,
        "agree": _NODES,
        "same": _NODES,
        "jobs": _NODES,
        "atomic": {*_NODES, "counting", "jobs"},
        "returned": {*_NODES, "databases"},
        "copying": {*_NODES, "counting", "databases", "returned", "same"},
        "measure": {*_NODES, "loop/act", "big_keys", "counting", "functions"},
        "move": {*_NODES, "agree", "atomic", "copying", "counting", "databases"},
        "open_slots": {*_NODES, "jobs", "copying", "counting", "databases", "move", "same"},
        "handover": {*_NODES, "loop/act", "loop/boost"},
        "retire": {*_NODES, "loop/act"},
        "take": {
            *(*_NODES, "loop/run", "loop/boost", "agree", "alone", "functions", "handover", "measure"),
            *("move", "open_slots", "retire"),
        },
    },
}
# What every room and module may import.
ANYWHERE = {"addresses"}
PACKAGES = {
    "yaml": {"topology/document", "topology/text"},
    "pydantic": {"topology/fields", "topology/schema", "topology/validate"},
    # The plugin hands tests a client of redis-py.
    "redis": {"wire/client", "wire/connection", "pytest_plugin"},
    "rich": {"render", "cli"},
    "typer": {"cli"},
}
# No I/O, no clock, no asyncio, no random numbers.
PURE = {
    *("errors", "addresses", "slots", "wording", "topology", "core", "diagnosis"),
    "wire/replies",
}
WORLD = {
    *("os", "io", "sys", "socket", "ssl", "select", "signal", "subprocess", "shutil", "tempfile", "glob"),
    *("time", "datetime", "random", "secrets", "uuid", "asyncio", "threading", "multiprocessing", "logging"),
    *("http", "urllib", "getpass", "platform", "locale"),
}
SIDE_EFFECTS = {"open", "print", "input", "exec", "eval", "breakpoint"}


def modules() -> Iterator[tuple[str, Path]]:
    """Every module with its name: `core/plan`, `errors`, `core` for the `__init__` of a room."""
    for path in sorted(ROOT.rglob("*.py")):
        name = path.relative_to(ROOT).with_suffix("").as_posix()
        if path != ROOT / "__init__.py":
            yield name.removesuffix("/__init__"), path


def room(module: str) -> str:
    return module.partition("/")[0]


def within(module: str, names: set[str]) -> bool:
    """Whether a set of rooms and modules has this module in it."""
    return module in names or room(module) in names


def imported(path: Path, *, types: bool = False) -> set[str]:
    """The full names that a module imports, within functions too; those for type checking only on demand."""
    found: set[str] = set()

    def walk(tree: ast.AST) -> None:
        inner = list(ast.iter_child_nodes(tree))
        if isinstance(tree, ast.If) and "TYPE_CHECKING" in ast.unparse(tree.test) and not types:
            inner = list(tree.orelse)
        elif isinstance(tree, ast.Import):
            found.update(alias.name for alias in tree.names)
        elif isinstance(tree, ast.ImportFrom):
            module = tree.module or ""
            if tree.level:
                here = ["clusterboot", *path.relative_to(ROOT).parts[:-1]]
                module = ".".join([*here[: len(here) - tree.level + 1], *filter(None, [module])])
            found.update(f"{module}.{alias.name}" for alias in tree.names)
        for child in inner:
            walk(child)

    walk(ast.parse(path.read_text()))
    return found


def uses(path: Path, *, types: bool = False) -> set[str]:
    """The modules of clusterboot that a module imports, named as `modules` names them."""
    found = set()
    for name in imported(path, types=types):
        parts = name.split(".")[1:]
        if name.startswith("clusterboot.") and parts[0] != "__version__":
            # What a name belongs to: a.b.c is module c of package b, or something in module b.
            while len(parts) > 1 and not (ROOT / Path(*parts)).with_suffix(".py").exists():
                parts = parts[:-1]
            found.add("/".join(parts))
    return found


def circle(edges: dict[str, set[str]]) -> set[str]:
    """What is left of a graph when everything that leads nowhere and is led to by nothing is taken away."""
    left = {node: others & edges.keys() - {node} for node, others in edges.items()}
    while ends := {
        node for node in left if not left[node] or not any(node in others for others in left.values())
    }:
        left = {node: others - ends for node, others in left.items() if node not in ends}
    return set(left)


ALL = list(modules())
NAMED = pytest.mark.parametrize(("module", "path"), ALL, ids=[name for name, _ in ALL])


@NAMED
def test_a_room_imports_only_what_it_may(module: str, path: Path) -> None:
    here = room(module)
    assert {room(other) for other in uses(path)} <= {*ROOMS[here], *ANYWHERE, here}


@NAMED
def test_a_module_imports_only_what_it_may(module: str, path: Path) -> None:
    here, _, name = module.partition("/")
    if here in MODULES and name:
        allowed = {f"{here}/{other}" if other in MODULES[here] else other for other in MODULES[here][name]}
        assert not {other for other in uses(path) if not within(other, {*allowed, *ANYWHERE})}


@NAMED
def test_only_the_owner_of_a_package_imports_it(module: str, path: Path) -> None:
    for name in imported(path):
        owners = PACKAGES.get(name.partition(".")[0])
        assert owners is None or within(module, owners), f"{module} must not import {name}"


@NAMED
def test_a_pure_module_touches_nothing_outside(module: str, path: Path) -> None:
    if not within(module, PURE):
        return
    assert not {name.partition(".")[0] for name in imported(path)} & WORLD
    called = {
        call.func.id
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
    }
    if path.name != "__main__.py":
        assert not called & SIDE_EFFECTS


def test_no_arrow_leads_back_up() -> None:
    """A room imports only what stands above it in the table, for type checking too."""
    order = list(ROOMS)
    for module, path in ALL:
        for other in uses(path, types=True):
            assert order.index(room(other)) <= order.index(room(module)), f"{module} imports {other}"


def test_no_two_modules_import_each_other_even_in_a_circle() -> None:
    """For type checking too: what needs the other's type to be read cannot be read alone."""
    assert not circle({module: uses(path, types=True) for module, path in ALL})


def test_the_tables_name_every_room_and_module_and_nothing_else() -> None:
    assert {room(module) for module, _ in ALL} == ROOMS.keys()
    for here, table in MODULES.items():
        assert {name for name, _ in ALL if room(name) == here} == {
            here,
            *(f"{here}/{name}" for name in table),
        }


def test_a_room_is_said_to_import_only_what_stands_above_it() -> None:
    order = list(ROOMS)
    for here, allowed in ROOMS.items():
        assert allowed <= set(order[: order.index(here)])


def test_the_reader_of_imports_sees_what_it_must(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside functions, relative ones; those for types only when asked."""
    monkeypatch.setattr("tests.test_walls.ROOT", tmp_path)
    module = tmp_path / "topology" / "x.py"
    for path in (module, tmp_path / "core" / "views.py", tmp_path / "core" / "plan.py"):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    module.write_text(
        "import os.path as p\nfrom . import y\nfrom ..core.views import View\n"
        "def f():\n    from clusterboot.core import plan\n    import redis\n"
        "if TYPE_CHECKING:\n    import typer\n    from clusterboot.loop import run\n"
        "else:\n    import rich.table\n"
    )
    assert imported(module) == {
        *("os.path", "clusterboot.topology.y", "clusterboot.core.views.View", "clusterboot.core.plan"),
        *("redis", "rich.table"),
    }
    assert uses(module) == {"topology", "core/views", "core/plan"}
    assert uses(module, types=True) == {"topology", "core/views", "core/plan", "loop"}


def test_a_circle_is_seen_and_what_only_leads_to_it_is_not() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set()}) == {"b", "c"}
    assert not circle({"a": {"b"}, "b": {"c"}, "c": set()})


def test_the_picture_of_the_rooms_shows_the_table() -> None:
    """Each arrow of docs/architecture.md is in the table, and each entry of the table follows from arrows."""
    text = (ROOT.parent / "docs" / "architecture.md").read_text()
    drawn = re.findall(r"^    (\w+)(?:\[.*?\])? --> (\w+)", text, re.MULTILINE)
    ground = {here for here, allowed in ROOMS.items() if allowed <= {"errors"}}

    def reach(here: str) -> set[str]:
        ends = {end for start, end in drawn if start == here}
        return ends.union(*map(reach, ends))

    for row in re.findall(r"^\| `(\w+)/` \|.*\| (.*) \|$", text, re.MULTILINE):
        for name in re.findall(r"`([a-z_]+)`", row[1]):
            assert (ROOT / row[0] / f"{name}.py").exists(), f"there is no {name} in {row[0]}"
    for start, end in drawn:
        assert end == "root" or end in ROOMS[start], f"{start} may not import {end}"
    for here in ROOMS.keys() - ground - {"__main__"}:
        assert ROOMS[here] - ground <= reach(here), here
        assert "root" in reach(here)
