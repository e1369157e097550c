"""Who may import whom: the walls of the design, as data, held by reading every module's imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1] / "clusterboot"

# Modules are told by their top name: clusterboot.topology.check is part of `topology`.
CORE: dict[str, set[str]] = {
    "errors": set(),
    "slots": {"errors"},
    "wording": set(),
    "topology": {"errors", "slots"},
    "nodes": {"errors", "slots"},
    "versions": {"nodes"},
    "fit": {"versions"},
    "spread": {"topology", "fit", "versions"},
    "misplaced": {"topology", "errors"},
    "placement": {"topology", "slots", "errors", "spread", "fit", "misplaced", "versions"},
    "mixed": {"nodes", "versions", "errors", "wording"},
    "plan": {"topology", "nodes", "placement", "slots", "errors"},
    "kept": {"topology", "placement", "errors", "wording"},
    "fewer": {"placement", "plan", "topology", "errors", "wording"},
    "adopt": {
        *("fewer", "nodes", "placement", "plan", "topology", "slots", "errors", "kept", "mixed"),
        *("versions", "wording"),
    },
    "announced": {"nodes", "plan", "topology", "errors"},
    "replaced": {"nodes", "plan", "errors", "wording"},
    "preflight": {
        *("nodes", "placement", "plan", "topology", "errors", "announced", "mixed", "replaced", "wording")
    },
    "reasons": {"nodes", "placement", "slots", "errors"},
    "health": {"nodes", "placement", "reasons", "slots", "errors"},
    "newcomers": {"health", "plan", "topology"},
    "moved": {"plan", "topology"},
    "timers": {"nodes", "topology", "errors", "wording"},
    "replies": {"errors"},
    "silence": {"replies", "errors"},
    "events": {"plan", "health", "placement", "errors"},
    "reach": {"nodes", "plan", "topology"},
    "onesided": {"reach", "plan", "topology"},
    "blocked": {"reach", "errors", "wording"},
    "elsewhere": {"blocked", "reach", "errors", "wording"},
    "forgotten": {"blocked", "reach", "nodes", "errors", "wording"},
    "unsynced": {"blocked", "health", "mixed", "nodes", "errors", "wording"},
    "diagnose": {
        *("blocked", "elsewhere", "forgotten", "reach", "replaced", "unsynced"),
        *("health", "nodes", "errors", "wording"),
    },
}
# All of these do no I/O, read no clock and draw no random numbers.
PURE = {*CORE, "results"}
CORE["results"] = PURE - {"results"}

DOING: dict[str, set[str]] = {
    "addresses": set(),
    "limits": {"errors"},
    "tls": {"errors", "topology"},
    "unreached": {"errors", "topology", "tls"},
    "probe": set(),
    "client": {"errors", "topology", "replies", "addresses", "limits", "probe", "tls", "unreached"},
    "credentials": {"errors", "topology"},
    "private": {"errors"},
    "state": {"errors", "topology", "private"},
    "files": {"errors", "topology"},
    "local": {"errors", "topology", "state", "private", "wording"},
    "lookup": {"addresses", "errors", "topology"},
    "observe": {*PURE},
}
RUNNING: dict[str, set[str]] = {
    "act": {*PURE, "observe"},
    "configure": {*PURE, "observe"},
    "restore": {*PURE, "observe", "configure"},
    "boost": {*PURE, "observe", "configure", "restore"},
    "helper": {"client", "restore"},
    "unnamed": set(),
    "standby": {"client", "helper", "topology", "unnamed"},
    "follow": {*PURE, "observe"},
    "evidence": {*PURE, "observe", "addresses", "probe"},
    "status": {*PURE, "observe", "evidence"},
    "reset": {*PURE, "observe", "boost", "evidence", "follow"},
    "course": {*PURE, "observe", "act", "boost"},
    "ending": {*PURE, "observe", "course", "boost", "evidence"},
    "bootstrap": {*PURE, "observe", "act", "boost", "course", "follow", "ending", "lookup"},
}
PACKAGES = {
    "yaml": {"topology"},
    "pydantic": {"topology"},
    "redis": {"client", "pytest_plugin"},  # the plugin hands tests a client of redis-py
    "rich": {"render", "cli"},
    "typer": {"cli"},
}
# What a pure module has no business with.
WORLD = {
    *("os", "io", "sys", "socket", "ssl", "select", "signal", "subprocess", "shutil", "tempfile", "glob"),
    *("time", "datetime", "random", "secrets", "uuid", "asyncio", "threading", "multiprocessing", "logging"),
    *("http", "urllib", "getpass", "platform", "locale"),
}
SIDE_EFFECTS = {"open", "print", "input", "exec", "eval", "breakpoint"}


def modules() -> Iterator[tuple[str, Path]]:
    """Every module file with the name of the part that it belongs to."""
    for path in sorted(ROOT.rglob("*.py")):
        yield path.relative_to(ROOT).parts[0].removesuffix(".py"), path


def imported(path: Path) -> set[str]:
    """The full names that a module imports at run time, within functions too; not for type checking alone."""
    found: set[str] = set()

    def walk(tree: ast.AST) -> None:
        inner = list(ast.iter_child_nodes(tree))
        if isinstance(tree, ast.If) and "TYPE_CHECKING" in ast.unparse(tree.test):
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


def parts(path: Path) -> set[str]:
    """The parts of clusterboot that a module imports."""
    names = {name.split(".")[1] for name in imported(path) if name.startswith("clusterboot.")}
    return names - {"__version__"}


ALL = list(modules())
NAMED = pytest.mark.parametrize(
    ("part", "path"), ALL, ids=[path.relative_to(ROOT).as_posix() for _, path in ALL]
)


@NAMED
def test_a_module_imports_only_what_its_part_may(part: str, path: Path) -> None:
    allowed = {**CORE, **DOING, **RUNNING}.get(part)
    if allowed is not None:
        assert parts(path) <= {*allowed, part}
    if part == "render":
        assert parts(path) <= {*PURE, "render"}


@NAMED
def test_only_the_owner_of_a_package_imports_it(part: str, path: Path) -> None:
    for name in imported(path):
        package = name.partition(".")[0]
        assert part in PACKAGES.get(package, {part}), f"{part} must not import {package}"


@NAMED
def test_a_pure_module_touches_nothing_outside(part: str, path: Path) -> None:
    if part not in PURE:
        return
    assert not {name.partition(".")[0] for name in imported(path)} & WORLD
    called = {
        call.func.id
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
    }
    if path.name != "__main__.py":
        assert not called & SIDE_EFFECTS


def test_no_two_parts_import_each_other_even_in_a_circle() -> None:
    edges: dict[str, set[str]] = {}
    for part, path in ALL:
        edges.setdefault(part, set()).update(parts(path) - {part})
    while leaves := [part for part, others in edges.items() if not others & edges.keys()]:
        for leaf in leaves:
            del edges[leaf]
    assert not edges, "each of these leads back to itself"


def test_every_part_of_the_table_exists() -> None:
    assert {*CORE, *DOING, *RUNNING} <= {part for part, _ in ALL}


def test_a_wall_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader of imports sees what it must: inside functions, relative ones, not those for types."""
    monkeypatch.setattr("tests.test_walls.ROOT", tmp_path)
    module = tmp_path / "topology" / "x.py"
    module.parent.mkdir()
    module.write_text(
        "import os.path as p\nfrom . import y\nfrom ..nodes import View\n"
        "def f():\n    from clusterboot import plan\n    import redis\n"
        "if TYPE_CHECKING:\n    import typer\nelse:\n    import rich.table\n"
    )
    assert imported(module) == {
        *("os.path", "clusterboot.topology.y", "clusterboot.nodes.View", "clusterboot.plan"),
        *("redis", "rich.table"),
    }
    assert parts(module) == {"topology", "nodes", "plan"}
