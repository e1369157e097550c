"""What survived a mutation run, and what may: the entries of survivors.txt."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

FILE = Path(__file__).with_name("survivors.txt")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')


@dataclass(frozen=True)
class Survivor:
    """A change that no test noticed: in which function, and the lines that went and came."""

    function: str
    went: tuple[str, ...]
    came: tuple[str, ...]

    @classmethod
    def of(cls, name: str, difference: str) -> Survivor:
        """Read what mutmut calls a mutant and shows of it."""
        lines = difference.splitlines()
        body = lines[next(i for i, line in enumerate(lines) if line.startswith("@@")) :]
        return cls(
            spelled(name),
            tuple(line[1:].strip() for line in body if line.startswith("-")),
            tuple(line[1:].strip() for line in body if line.startswith("+")),
        )

    @property
    def difference(self) -> str:
        """The change as people read it."""
        return "\n".join([*(f"  - {line}" for line in self.went), *(f"  + {line}" for line in self.came)])


def spelled(name: str) -> str:
    """`restore.Restoring.run` for `clusterboot.loop.restore.xǁRestoringǁrun__mutmut_7`."""
    module, mangled = name.split(".")[-2:]
    mangled = mangled.rpartition("__mutmut_")[0]
    return f"{module}.{mangled[2:].replace('ǁ', '.') if 'ǁ' in mangled else mangled[2:]}"


@dataclass(frozen=True)
class Entry:
    """One line of survivors.txt: `function | text | reason`.

    `function` may have wildcards. `text` is in one of the lines that went; after a `+`, in one that came.
    """

    function: str
    text: str
    reason: str
    line: str

    def of(self, modules: Iterable[str]) -> bool:
        """Whether it is about one of `modules` alone, and so has to stand for something there."""
        return self.function.split(".")[0] in {module.rpartition("/")[2] for module in modules}

    def fits(self, survivor: Survivor) -> bool:
        """Whether it stands for a survivor."""
        lines, text = (
            (survivor.came, self.text[1:].strip())
            if self.text.startswith("+")
            else (survivor.went, self.text)
        )
        return fnmatchcase(survivor.function, self.function) and any(text in line for line in lines)


def read(text: str | None = None) -> list[Entry]:
    """Return the entries of survivors.txt, or of `text`. Raises ValueError for one without a reason."""
    entries = []
    for line in (FILE.read_text() if text is None else text).splitlines():
        if line.strip() and not line.startswith("#"):
            parts = [part.strip() for part in line.split(" | ")]
            if len(parts) != 3 or not all(parts):
                raise ValueError(f"not 'function | text | reason': {line}")
            entries.append(Entry(*parts, line))
    return entries


def accepted(survivor: Survivor, entries: Iterable[Entry]) -> Entry | None:
    """Return the entry that says why a survivor may be, or None."""
    return next((entry for entry in entries if entry.fits(survivor)), None)


def explained(survivor: Survivor) -> str | None:
    """Return the reason of survivors that need no entry, or None.

    A sentence, which is a string with a space in it, may read otherwise. A `hint`, or the node that a problem
    is about, is shown to people by tests with servers and on paper (tests/render, tests/test_hints.py).
    """
    went, came = " ".join(survivor.went), " ".join(survivor.came)
    if _plain(went) == _plain(came):
        pairs = zip(_STRING.findall(went), _STRING.findall(came), strict=False)
        if all(" " in old for old, new in pairs if old != new):
            return "wording"
    if went.startswith(("hint=", "node=", "peer=")):
        return "what a problem shows besides its code and message"
    return None


def _plain(line: str) -> str:
    return line.replace("XX", "").lower()
