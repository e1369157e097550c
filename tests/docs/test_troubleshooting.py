"""docs/troubleshooting.md has every message of the product, and no other."""

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


def test_every_code_of_the_source_has_an_entry_and_the_other_way_round() -> None:
    # Problems of a topology file say all there is to say; docs/topology.md explains the format.
    codes = {each.code for each in messages() if not each.code.startswith("topology-") or each.text}
    documented = set(entries()) - {"topology-unreadable"}
    assert documented == codes - {"topology-unreadable"}


def test_every_message_is_listed_by_its_text() -> None:
    found = entries()
    missing = []
    for each in messages():
        shown = " ".join(found.get(each.code, "").replace("\n>", " ").split())
        # What stands between two things that vary; a few words alone say too little.
        for words in (part.strip(" .,;:()") for part in each.text.split("…")):
            if len(words) >= 12 and words not in shown:
                missing.append(f"{each.file}:{each.line}: {each.code}: {words!r}")
    assert missing == []


def test_every_entry_says_what_to_do() -> None:
    assert [code for code, text in entries().items() if "**Do:** " not in text] == []
