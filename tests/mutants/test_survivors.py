"""What a mutation run tells, read; and the file of what may survive."""

from __future__ import annotations

import pytest

from tests.mutants.__main__ import DECIDING, GIVE_BACK, PLACING
from tests.mutants.survivors import Survivor, accepted, explained, read, spelled
from tests.test_walls import ALL

_SHOWN = """# clusterboot.loop.restore.xǁRestoringǁrun__mutmut_7: survived
--- clusterboot/loop/restore.py
+++ clusterboot/loop/restore.py
@@ -7,5 +7,5 @@
     more = 1
-    limit = 1.5
+    limit = 2.5
"""


def survivor(went: str, came: str) -> Survivor:
    return Survivor("boost.f", (went,), (came,))


def test_a_survivor_is_read_from_what_mutmut_shows() -> None:
    found = Survivor.of("clusterboot.loop.restore.xǁRestoringǁrun__mutmut_7", _SHOWN)
    assert found == Survivor("restore.Restoring.run", ("limit = 1.5",), ("limit = 2.5",))
    assert found.difference == "  - limit = 1.5\n  + limit = 2.5"
    assert spelled("clusterboot.core.timers.x__low__mutmut_12") == "timers._low"


@pytest.mark.parametrize(
    ("went", "came", "why"),
    [
        ('f"{a} is lost: "', 'f"XX{a} is lost: XX"', "wording"),
        ('say("one word", key="a")', 'say("ONE WORD", key="a")', "wording"),
        ('say("one word", key="a")', 'say("one word", key="A")', None),
        ('info["role"]', 'info["XXroleXX"]', None),
        ("limit = 1", "limit = 2", None),
        ('hint="do it",', "hint=None,", "what a problem shows besides its code and message"),
        ("exit=Exit.REFUSED,", "exit=None,", None),
    ],
)
def test_sentences_and_hints_may_read_otherwise_and_nothing_else(
    went: str, came: str, why: str | None
) -> None:
    assert explained(survivor(went, came)) == why


def test_an_entry_stands_for_a_function_and_a_line_that_went_or_came() -> None:
    entries = read("# not this\n\nboost.* | limit = 1 | equivalent\nboost.f | + limit = 3 | as well\n")
    assert accepted(survivor("limit = 1", "limit = 2"), entries) == entries[0]
    assert accepted(survivor("limit = 2", "limit = 3"), entries) == entries[1]
    assert accepted(survivor("limit = 3", "limit = 2"), entries) is None
    assert accepted(Survivor("timers.f", ("limit = 1",), ()), entries) is None


def test_every_entry_has_a_reason_and_is_about_a_module_that_is_changed() -> None:
    assert all(entry.of([*GIVE_BACK, *DECIDING]) for entry in read())
    with pytest.raises(ValueError, match="not 'function"):
        read("boost.f | limit = 1 | ")


def test_what_is_changed_are_pure_modules_and_the_give_back() -> None:
    assert {*GIVE_BACK, *DECIDING, *PLACING} <= {module for module, _ in ALL}
