"""Problems as text, whole: tests/core/cases/*.txt have a section for each case, read and kept by hand.

== name of the case
refused code of node and peer: message
  → hint
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from clusterboot.errors import Exit, Problem

CASES = Path(__file__).parent / "cases"
_WORDS = {Exit.REFUSED: "refused", Exit.DONE: "warning", Exit.NODE: "failed", Exit.NOT_READY: "not ready"}


def sections(file: str) -> dict[str, str]:
    """The text of every section of a file by its name."""
    parts = (CASES / file).read_text().split("== ")[1:]
    return {name: text.strip() for name, _, text in (part.partition("\n") for part in parts)}


def shown(problems: Iterable[Problem]) -> str:
    """Everything that problems say."""
    lines = []
    for problem in problems:
        about = " and ".join(filter(None, (problem.node, problem.peer)))
        lines.append(
            f"{_WORDS[problem.exit]} {problem.code}{' of ' + about if about else ''}: {problem.message}"
        )
        if problem.hint:
            lines.append(f"  → {problem.hint}")
    return "\n".join(lines)
