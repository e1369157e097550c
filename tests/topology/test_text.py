"""Bytes to text: encodings, sizes, and characters that no topology file may hold."""

from __future__ import annotations

import pytest

from clusterboot.errors import Exit, Problem, TopologyError
from clusterboot.topology import decode, load

MIB = 1024 * 1024


def problem(data: bytes | str) -> Problem:
    with pytest.raises(TopologyError) as caught:
        load(decode(data, "t.yaml") if isinstance(data, bytes) else data, "t.yaml")
    (found,) = caught.value.problems
    assert found.exit is Exit.USAGE
    assert found.file == "t.yaml"
    return found


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"version: 1\n", "version: 1\n"),
        (b"\xef\xbb\xbfversion: 1\n", "version: 1\n"),
        ("zone: Zürich 😀\n".encode(), "zone: Zürich 😀\n"),
        (b"a: 1\r\nb: 2\r\n", "a: 1\r\nb: 2\r\n"),
        (b"", ""),
        (b"#" * MIB, "#" * MIB),
    ],
)
def test_utf8_is_decoded(data: bytes, text: str) -> None:
    assert decode(data, "t.yaml") == text


def test_windows_line_ends_and_a_byte_order_mark_load() -> None:
    data = b"\xef\xbb\xbfversion: 1\r\nnodes:\r\n  - h:1\r\n"
    assert load(decode(data, "t.yaml"), "t.yaml").nodes[0].line == 3


def test_a_file_beyond_one_mebibyte_is_refused() -> None:
    assert problem(b"#" * (MIB + 1)).code == "topology-too-large"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_other_unicode_encodings_are_named(encoding: str) -> None:
    found = problem("version: 1\n".encode(encoding))
    assert found.code == "topology-encoding"
    assert "UTF-16" in found.message


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (b"version: 1\nname: \xff\n", (2, 7)),
        (b"\xef\xbb\xbf\xff", (1, 1)),
        ("é: ".encode() + b"\xe9", (1, 4)),
        (b"a: \xc3", (1, 4)),
    ],
)
def test_bytes_that_are_not_utf8_are_placed(data: bytes, place: tuple[int, int]) -> None:
    found = problem(data)
    assert found.code == "topology-encoding"
    assert (found.line, found.column) == place
    assert "not UTF-8" in found.message


@pytest.mark.parametrize("char", ["\0", "\x07", "\x1b", "\x7f", "\x9b", "\ufffe"])
def test_control_characters_are_placed_and_named(char: str) -> None:
    for found in (problem(f"a: 1\nb: {char}\n".encode()), problem(f"a: 1\nb: {char}\n")):
        assert found.code == "topology-control-character"
        assert (found.line, found.column) == (2, 4)
        assert f"U+{ord(char):04X}" in found.message
        assert found.message.isprintable()


def test_half_a_surrogate_pair_in_text_is_refused() -> None:
    assert problem("name: \ud800\n").code == "topology-control-character"
