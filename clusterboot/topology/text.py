"""Text of a topology file: from bytes, and why it cannot be read.

A line that YAML cannot parse may hold a password: the parser's own message is a last resort, without what the
Python parser quotes of the file; the C parser quotes nothing.
"""

from __future__ import annotations

import codecs
import re

import yaml

from clusterboot.topology.report import Position, Problems

MAX_BYTES = 1024 * 1024
# Everything outside the printable set of YAML 1.1 and 1.2 (c-printable).
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_UTF16_OR_32 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)

_QUOTED = re.compile(r"'[^']*'|<[^>]*>")
_BRACKETED = re.compile(r"\[[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*\]:")
_BRACED = re.compile(r"\{[0-9]+\.\.[0-9]+\}")
_QUOTE = "put the value in quotes"
_QUOTE_FLOW = "quote a value that holds , : { or ["
_BACKSLASH = "write the backslash twice, or use single quotes"
_INDENT = "check the indentation of this line and the one above"
# Part of the parser's message, our message, the hint.
_MESSAGES = (
    ("cannot start any token", "a value without quotes cannot start with this character", _QUOTE),
    ("mapping values are not allowed", "a ': ' stands where no second value can follow", _QUOTE),
    ("found unknown escape", "a backslash in double quotes starts an unknown escape", _BACKSLASH),
    ("found invalid Unicode", "an escape stands for a character that does not exist", None),
    ("<document start>", "something follows the end of the document", None),
    ("found undefined tag handle", "a '!' starts a YAML tag, which a topology file does not use", _QUOTE),
    ("expected '-' indicator", "this line is neither an entry of the list above nor its end", _INDENT),
    ("did not find expected key", "this line is not a 'key: value' of the mapping above", _INDENT),
    ("did not find expected node content", "a value is missing here, or needs quotes", _QUOTE),
    ("expected ',' or", "a ',' or the closing bracket is missing here", _QUOTE_FLOW),
    ("could not find expected ':'", "a key here has no ': ' behind it", _INDENT),
)
# What is open at the end of the file: part of the parser's context, our text.
_OPEN = (
    ("flow sequence", "a list in [ ]"),
    ("flow mapping", "a mapping in { }"),
    ("flow node", "a list in [ ] or a mapping in { }"),
    ("quoted scalar", "text in quotes"),
    ("", "YAML reads to the end of the file"),
)


def decode(data: bytes, file: str) -> str:
    """Return the text of `data`; see `clusterboot.topology.decode`."""
    problems = Problems(file)
    if len(data) > MAX_BYTES:
        problems.fail("topology-too-large", "a topology file is at most 1 MiB, this one is larger", None)
    if data.startswith(_UTF16_OR_32):
        message = "this file is UTF-16 or UTF-32, a topology file is UTF-8"
        problems.fail("topology-encoding", message, None, "save it again with the encoding UTF-8")
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        valid = data[: error.start].decode("utf-8").removeprefix("\ufeff")
        message = f"the byte 0x{data[error.start]:02x} is not UTF-8, a topology file is UTF-8"
        hint = "save the file again with the encoding UTF-8"
        problems.fail("topology-encoding", message, _position(valid, len(valid)), hint)


def check_characters(text: str, problems: Problems) -> None:
    """Refuse characters that no YAML text may hold, such as NUL or an escape."""
    match = _FORBIDDEN.search(text)
    if match:
        message = f"the control character U+{ord(match[0]):04X} is not allowed in a topology file"
        hint = "delete it; inside double quotes an escape such as \\x1b stands for it"
        problems.fail("topology-control-character", message, _position(text, match.start()), hint)


def _position(text: str, index: int) -> Position:
    return Position(text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index))


def explain(error: yaml.YAMLError, text: str) -> tuple[str, Position | None, str | None]:
    """Return the message, the place, and the hint (if a next step is likely) for an error of the parser."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return "this is not valid YAML", None, None
    mark, opened, problem = error.problem_mark, error.context_mark, error.problem or ""
    at_end = not text.splitlines()[mark.line :] or "stream end" in problem or "end of stream" in problem
    if at_end and opened is not None:
        what = next(words for part, words in _OPEN if part in (error.context or ""))
        place = Position(opened.line + 1, opened.column + 1)
        return f"what starts here is never closed ({what})", place, None
    place = Position(mark.line + 1, mark.column + 1)
    line = next(iter(text.split("\n")[mark.line :]), "")
    if line[mark.column : mark.column + 1] == "\t" or line[: mark.column + 1].strip(" ").startswith("\t"):
        return "a tab stands here; YAML is indented with spaces only", place, "replace the tab by spaces"
    hint = None
    if _BRACKETED.search(line):
        hint = 'put an address with brackets in quotes: "[::1]:7001"'
    elif _BRACED.search(line):
        hint = 'put an address with braces in quotes: "redis-{0..5}.svc:6379"'
    for part, message, usual in _MESSAGES:
        if part in problem:
            return message, place, hint or usual
    return f"this is not valid YAML: {_QUOTED.sub('…', problem)}", place, hint
