"""A hint is the next step of a user: the nodes and commands in it are never shortened.

Read from the source, for every message there is: what a function shortens (`wording.shortened`, "and
3 more") must not find its way into a hint, also not through a variable or another function.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clusterboot.core.adopt import adopt
from clusterboot.core.preflight import no_way_in, refusals
from clusterboot.wording import agree, listed, shortened
from tests.core.world import World, fresh, slots, stranger, topology

ROOT = Path(__file__).resolve().parents[2] / "clusterboot"
TREES = {path: ast.parse(path.read_text()) for path in sorted(ROOT.rglob("*.py"))}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def test_all_names_are_there_however_many_there_are() -> None:
    names = [f"n{index}" for index in range(12)]
    assert listed(names) == "n0, n1, n2, n3, n4, n5, n6, n7, n8, n9, n10 and n11"
    assert listed(names[:1]) == "n0"
    assert shortened(names) == "n0, n1, n2, n3, n4 and 7 more"


def test_verbs_agree_with_their_subjects() -> None:
    assert [agree(word, "a") for word in ("is", "lists", "it")] == ["is", "lists", "it"]
    assert [agree(word, "ab") for word in ("is", "lists", "it")] == ["are", "list", "they"]


def functions() -> Iterator[tuple[Path, Function]]:
    """Every function, with its file."""
    for path, tree in TREES.items():
        for each in ast.walk(tree):
            if isinstance(each, Function):
                yield path, each


def called(tree: ast.AST) -> set[str]:
    """The names of all functions that are called in an expression."""
    calls = [each.func for each in ast.walk(tree) if isinstance(each, ast.Call)]
    return {each.attr if isinstance(each, ast.Attribute) else getattr(each, "id", "") for each in calls}


def shorteners() -> set[str]:
    """`shortened`, every other function that writes "and 3 more", and those that return what these return."""
    found = {"shortened"}
    for _, function in functions():
        words = [each.value for each in ast.walk(function) if isinstance(each, ast.Constant)]
        if any(isinstance(word, str) and re.search(r"^ (\| )?and $", word) for word in words) and any(
            isinstance(word, str) and word.startswith(" more") for word in words
        ):
            found.add(function.name)
    while True:
        more = {function.name for _, function in functions() if returns_shortened(function, found)}
        if more <= found:
            return found
        found |= more


def returns_shortened(function: Function, known: set[str]) -> bool:
    """Whether text that one of `known` has shortened is in what a function returns as text."""
    if function.returns is None or ast.unparse(function.returns) != "str":
        return False
    values = [each.value for each in ast.walk(function) if isinstance(each, ast.Return) and each.value]
    return any(tainted(function, value, known) for value in values)


def tainted(function: Function, value: ast.AST, known: set[str]) -> bool:
    """Whether an expression has shortened text in it, or a variable that was given some."""
    if called(value) & known:
        return True
    names = {each.id for each in ast.walk(value) if isinstance(each, ast.Name)}
    for each in ast.walk(function):
        if isinstance(each, (ast.Assign, ast.AugAssign)) and each.value is not value:
            targets = each.targets if isinstance(each, ast.Assign) else [each.target]
            given = {target.id for target in targets if isinstance(target, ast.Name)}
            if given & names and called(each.value) & known:
                return True
    return False


def hints() -> Iterator[tuple[Path, Function, ast.expr]]:
    """Every hint in the source: given by name, or in the place of a parameter that is called so."""
    places = {
        (path, function.name): [each.arg for each in function.args.args].index("hint")
        for path, function in functions()
        if any(each.arg == "hint" for each in function.args.args)
    }
    for path, function in functions():
        for call in ast.walk(function):
            if not isinstance(call, ast.Call):
                continue
            for keyword in call.keywords:
                if keyword.arg == "hint":
                    yield path, function, keyword.value
            place = places.get((path, getattr(call.func, "id", "")))
            if place is not None and len(call.args) > place:
                yield path, function, call.args[place]


def test_no_hint_has_anything_shortened_in_it() -> None:
    known = shorteners()
    assert "shortened" in known
    wrong = {
        f"{path.name}:{hint.lineno}: {ast.unparse(hint)}"
        for path, function, hint in hints()
        if tainted(function, hint, known)
    }
    assert wrong == set()
    assert len(list(hints())) > 100, "the reader of the source has found them"


def test_the_reader_of_hints_sees_what_is_shortened(monkeypatch: pytest.MonkeyPatch) -> None:
    source = (
        "def who(n) -> str:\n    return shortened(n)\n"
        "def f(n):\n    w = who(n)\n    a = listed(n)\n"
        "    Problem(hint=f'run it on {w}')\n    Problem(hint=who(n))\n    Problem(hint=f'run it on {a}')\n"
        "    made('code', f'run it on {shortened(n)}')\n"
        "def made(code, hint): pass\n"
    )
    monkeypatch.setattr("tests.cli.test_hints.TREES", {Path("x.py"): ast.parse(source)})
    found = [(hint.lineno, tainted(function, hint, shorteners())) for _, function, hint in hints()]
    assert sorted(found) == [(6, True), (7, True), (8, False), (9, True)]


NINE = topology(*(f"n{index}" for index in range(9)), replicas=2)
NAMES = [each.name for each in NINE.nodes]


def one_id(world: World) -> None:
    for server in world.servers.values():
        server.id = "1" * 40


def ghost(world: World) -> None:
    for server in world.servers.values():
        server.lines = (stranger(1, flags=("master", "noaddr"), ip=""),)


def held(world: World) -> None:
    """n0 gave up slots that n1 is to serve, unknown to the others."""
    world.join(*NAMES)
    world["n0"].slots = slots("5461-10922")
    lines = (world.peer("n0", "n1"),)
    world["n0"].slots = slots("")
    for name in NAMES[1:]:
        world[name].knows -= {"n0"}
        world[name].lines = lines


def outdated(world: World) -> None:
    """The first three are newer, and the others replicate them, without clusterboot."""
    world.join(*NAMES)
    for name, text in zip(NAMES, ("0-5460", "5461-10922", "10923-16383"), strict=False):
        world[name].slots = slots(text)
    for index, name in enumerate(NAMES[3:]):
        world[name].primary = NAMES[index % 3]
        world[name].info = {
            "redis_version": "6.2.14",
            "master_link_status": "down",
            "master_link_down_since_seconds": "-1",
        }


@pytest.mark.parametrize(
    ("facts", "code", "names"),
    [
        (one_id, "same-id", NAMES[1:]),
        (ghost, "ghost", NAMES),
        (held, "slots-held", NAMES[1:]),
        (outdated, "versions-cannot-replicate", NAMES[3:]),
    ],
)
def test_commands_name_all_of_nine_nodes(facts: Callable[[World], None], code: str, names: list[str]) -> None:
    world = fresh(NINE)
    facts(world)
    views = world.views()
    adopted = adopt(NINE, views)
    problems = (*refusals(NINE, views), *adopted.refusals, *no_way_in(adopted.target, views))
    hint = next(each.hint for each in problems if each.code == code)
    assert hint is not None
    assert listed(names) in hint
