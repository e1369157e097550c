"""What a YAML parser's complaint means for the person who wrote the file.

The parser's own words are only used where they repeat nothing of the file (the C parser's never do;
the Python parser's quotes are cut): a line that cannot be parsed may hold a password.
"""

from __future__ import annotations

import re

import yaml

from clusterboot.topology.text import Position

_QUOTED = re.compile(r"'[^']*'|<[^>]*>")
_BRACKETED = re.compile(r"\[[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*\]:")
_BRACED = re.compile(r"\{[0-9]+\.\.[0-9]+\}")
_QUOTE = "put the value in quotes"
_INDENT = "check the indentation of this line and the one above"
_WORDS = (
    ("mapping values are not allowed", "a ': ' stands where no second value can follow", _QUOTE),
    (
        "found unknown escape character",
        "a backslash in double quotes starts an unknown escape",
        "write the backslash twice, or use single quotes",
    ),
    ("found invalid Unicode", "an escape stands for a character that does not exist", None),
    ("expected <document start>", "something follows the end of the document", None),
    ("expected '<document start>'", "something follows the end of the document", None),
    ("found undefined tag handle", "a '!' starts a YAML tag, which a topology file does not use", _QUOTE),
    ("expected '-' indicator", "this line is neither an entry of the list above nor its end", _INDENT),
    ("did not find expected key", "this line is not a 'key: value' of the mapping above", _INDENT),
    ("did not find expected node content", "a value is missing here, or needs quotes", _QUOTE),
    (
        "expected ',' or",
        "a ',' or the closing bracket is missing here",
        "quote a value that holds , : { or [",
    ),
    ("could not find expected ':'", "a key here has no ': ' behind it", _INDENT),
)


def explain(error: yaml.YAMLError, text: str) -> tuple[str, Position | None, str | None]:
    """Return a sentence for the user, where the problem is, and the next step if one is likely."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return "this is not valid YAML", None, None
    lines = text.split("\n")
    mark = error.problem_mark
    problem = error.problem or ""
    opened = error.context_mark
    at_end = not text.splitlines()[mark.line :] or "stream end" in problem or "end of stream" in problem
    if at_end and opened is not None:
        place = Position(opened.line + 1, opened.column + 1)
        return f"what starts here is never closed ({_context(error)})", place, None
    place = Position(mark.line + 1, mark.column + 1)
    line = lines[mark.line] if mark.line < len(lines) else ""
    hint = _hint(line)
    char = line[mark.column : mark.column + 1]
    if char == "\t" or line[: mark.column + 1].strip(" ").startswith("\t"):
        return "a tab stands here; YAML is indented with spaces only", place, "replace the tab by spaces"
    if "cannot start any token" in problem:
        hint = hint or _QUOTE
        return "a value without quotes cannot start with this character", place, hint
    for start, words, usual in _WORDS:
        if start in problem:
            return words, place, hint or usual
    return f"this is not valid YAML: {_QUOTED.sub('…', problem)}", place, hint


def _context(error: yaml.MarkedYAMLError) -> str:
    context = error.context or ""
    for piece, words in (
        ("flow sequence", "a list in [ ]"),
        ("flow mapping", "a mapping in { }"),
        ("flow node", "a list in [ ] or a mapping in { }"),
        ("quoted scalar", "text in quotes"),
    ):
        if piece in context:
            return words
    return "YAML reads to the end of the file"


def _hint(line: str) -> str | None:
    if _BRACKETED.search(line):
        return 'put an address with brackets in quotes: "[::1]:7001"'
    if _BRACED.search(line):
        return 'put an address with braces in quotes: "redis-{0..5}.svc:6379"'
    return None
