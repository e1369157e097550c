"""Every message of the product, read from its source: code, text and next step, with … for what varies."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

_CODE = re.compile(r"[a-z]+(-[a-z]+)*")
_SOURCE = Path(__file__).resolve().parents[2] / "clusterboot"


class Message(NamedTuple):
    """One message; `text` is empty where the code only is told anew."""

    code: str
    text: str
    file: str
    line: int


def messages() -> list[Message]:
    """Return every message in the order of the files."""
    found: list[Message] = []
    for path in sorted(_SOURCE.rglob("*.py")):
        tree = ast.parse(path.read_text())
        # `problem` is a method of `local.server.Server`, `of` of all exceptions; the others are in `errors`.
        makers = {"Problem", "problem", "of", "warning", "refusal", "not_ready", *_makers(tree)}
        loops = dict(_loops(tree))
        for node in ast.walk(tree):
            for code, text in _told(node, makers, loops):
                name = str(path.relative_to(_SOURCE.parent))
                found.append(Message(code, text, name, node.lineno))  # type: ignore[attr-defined]
    return found


def _makers(tree: ast.Module) -> Iterator[str]:
    """The functions of a module that hand their first parameter, `code`, on."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            names = [argument.arg for argument in node.args.args if argument.arg != "self"]
            if names[:1] == ["code"]:
                yield node.name


def _loops(tree: ast.Module) -> Iterator[tuple[str, list[ast.expr]]]:
    """What the names of `for` loops over tables in the source stand for."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.For)
            and isinstance(node.target, ast.Tuple)
            and isinstance(node.iter, ast.Tuple)
        ):
            rows = [row.elts for row in node.iter.elts if isinstance(row, ast.Tuple)]
            for index, name in enumerate(node.target.elts):
                if isinstance(name, ast.Name):
                    yield name.id, [row[index] for row in rows]


def _told(node: ast.AST, makers: set[str], loops: Mapping[str, list[ast.expr]]) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.Call):
        function = node.func
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        keywords = {keyword.arg: keyword.value for keyword in node.keywords}
        if name in makers and (node.args or "code" in keywords):
            given = keywords.get("code") or node.args[0]
            stands_for = loops.get(given.id, []) if isinstance(given, ast.Name) else [given]
            codes = [code for each in stands_for for code in _codes(each)]
            texts = [keywords["message"]] if "message" in keywords else node.args[1:]
            text = next((written for each in texts if " " in (written := _text(each))), "")
            yield from ((code, text) for code in codes)
        elif name == "replace" and "code" in keywords:
            yield from ((code, _text(keywords["message"])) for code in _codes(keywords["code"]))
    elif isinstance(node, ast.Tuple) and len(node.elts) == 4:
        # The table of clusterboot/wire/replies.py: code, pattern, sentence, hint.
        parts = [_text(each) for each in node.elts]
        if _CODE.fullmatch(parts[0]) and "{node}" in parts[2]:
            yield parts[0], re.sub(r"\{\w+\}", "…", parts[2])


def _codes(node: ast.expr) -> Iterator[str]:
    """The code, or both of them where a condition chooses."""
    if isinstance(node, ast.IfExp):
        yield from _codes(node.body)
        yield from _codes(node.orelse)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _CODE.fullmatch(node.value):
        yield node.value


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        parts = [str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values]
        return re.sub("…+", "…", "".join(parts))
    if isinstance(node, ast.BinOp):
        return _text(node.left) + _text(node.right)
    return ""
