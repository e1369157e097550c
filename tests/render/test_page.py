"""The layout: paragraphs wrap between words, tables give way in order, nothing active gets past."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from clusterboot.render.page import OPTIONAL, Column, Page
from tests.render.paper import console, written

ROWS = (("127.0.0.1:7001", "primary", "0-16383", "valkey 9.1.2"), ("127.0.0.1:7002", "replica", "", "x"))


def table(width: int, rows: list[tuple[str, str, str, str]] | None = None) -> list[str]:
    to = console(width)
    page = Page(to)
    nodes, roles, slots, servers = zip(*(rows or ROWS), strict=True)
    page.table(
        Column("node", nodes, least=8),
        Column("role", roles, 1),
        Column("slots", slots),
        Column("server", servers, OPTIONAL),
    )
    page.print()
    return written(to).splitlines()


def test_a_table_drops_optional_columns_then_shrinks_then_drops_more() -> None:
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
        "  127.0.…001  primary  0-16383",
        "  127.0.…002  replica",
    ]
    assert not [line for line in table(24) if "primary" in line or cell_len(line) > 24]


def test_nothing_active_gets_past_even_when_a_caller_forgot_to_clean_it() -> None:
    to = console()
    page = Page(to)
    page.line("\x1b[31m", ("\u202e", "bold"))
    page.line("a\nb")
    page.table(Column("", ["\x07"]), Column("", ["\x9b"]))
    page.print()
    assert written(to) == "\\x1b[31m\\u202e\na\\nb\n  \\x07  \\x9b\n"


@given(
    st.integers(8, 60),
    st.lists(
        st.tuples(*[st.text(st.characters(categories=["L", "N", "P"]), max_size=40)] * 4),
        min_size=1,
        max_size=5,
    ),
)
@settings(max_examples=150, derandomize=True, deadline=None)
def test_every_width_and_text_makes_a_table(width: int, rows: list[tuple[str, str, str, str]]) -> None:
    shown = table(width, rows)
    # A table of empty cells is no table.
    assert len(shown) == (len(rows) + 1 if any(any(row) for row in rows) else 0)
