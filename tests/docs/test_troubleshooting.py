"""docs/troubleshooting.md has an entry for every message code, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from tests.harness.messages import messages

_DOC = Path(__file__).resolve().parents[2] / "docs" / "troubleshooting.md"


def entries() -> dict[str, str]:
    """The text of each entry by its code."""
    parts = re.split(r"^### `([a-z-]+)`\n", _DOC.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(parts[1::2]) == len(set(parts[1::2])), "a code has two entries"
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_code_has_an_entry_and_every_entry_a_code() -> None:
    # Problems in a topology file need no entry: docs/topology.md explains the format.
    codes = {each.code for each in messages() if not each.code.startswith("topology-") or each.text}
    documented = set(entries()) - {"topology-unreadable"}
    assert documented == codes - {"topology-unreadable"}


def test_every_message_is_listed_by_its_text() -> None:
    found = entries()
    missing = []
    for each in messages():
        shown = " ".join(found.get(each.code, "").replace("\n>", " ").split())
        # The text between variable parts, unless it is too short to be specific.
        for words in (part.strip(" .,;:()") for part in each.text.split("…")):
            if len(words) >= 12 and words not in shown:
                missing.append(f"{each.file}:{each.line}: {each.code}: {words!r}")
    assert missing == []


def test_every_entry_has_a_next_step() -> None:
    assert [code for code, text in entries().items() if "**Do:** " not in text] == []
