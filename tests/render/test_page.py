"""The layout: paragraphs wrap between words, tables give way in order, nothing active gets past."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from clusterboot.render.page import GLUE, NICE, Column, Page, cells_of
from tests.render.paper import console, written

COLUMNS = (Column("node", least=8), Column("role", 1), Column("slots"), Column("server", NICE))
ROWS = (("127.0.0.1:7001", "primary", "0-16383", "valkey 9.1.2"), ("127.0.0.1:7002", "replica", "", "x"))


def table(width: int) -> list[str]:
    to = console(width)
    page = Page(to)
    page.table(COLUMNS, ROWS)
    page.print()
    return written(to).splitlines()


def test_a_table_gives_up_what_is_nice_then_shrinks_then_gives_up_more() -> None:
    assert table(80) == [
        "  node            role     slots    server",
        "  127.0.0.1:7001  primary  0-16383  valkey 9.1.2",
        "  127.0.0.1:7002  replica           x",
    ]
    assert table(44) == [
        "  node            role     slots",
        "  127.0.0.1:7001  primary  0-16383",
        "  127.0.0.1:7002  replica",
    ]
    assert table(30) == [
        "  node        role     slots",
        "  127.…:7001  primary  0-16383",
        "  127.…:7002  replica",
    ]
    assert not [line for line in table(24) if "primary" in line or cells_of(line) > 24]


def test_nothing_active_gets_past_even_when_a_caller_forgot_to_clean_it() -> None:
    to = console()
    page = Page(to)
    page.line("\x1b[31m", ("\u202e", "bold"))
    page.paragraph("a\nb")
    page.table((Column("\x07"),), [["\x9b"]])
    page.print()
    assert written(to) == "\\x1b[31m\\u202e\na\\nb\n  \\x07\n  \\x9b\n"


def test_glued_words_stay_on_one_line() -> None:
    to = console(12)
    page = Page(to)
    page.paragraph(f"one two three{GLUE}four", hang=2)
    page.print()
    assert written(to) == "one two\n  three four\n"


@given(
    st.integers(1, 60),
    st.lists(st.tuples(*[st.text(st.characters(categories=["L", "N", "P"]), max_size=40)] * 4), max_size=5),
)
@settings(max_examples=150, derandomize=True, deadline=None)
def test_every_width_and_text_makes_a_table(width: int, rows: list[tuple[str, str, str, str]]) -> None:
    to = console(width)
    page = Page(to)
    page.table(COLUMNS, rows)
    page.print()
    assert len(written(to).splitlines()) == len(rows) + 1
