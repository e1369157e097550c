"""Every problem of a file, with its place, its message and its hint: one case per behaviour.

A case in `cases/*.txt` is a title, the text of a file, and after `---->` exactly the problems of the file.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from clusterboot.errors import Exit, Problem, TopologyError
from clusterboot.topology import document, load
from tests.topology.test_load import FULL

CASES = [
    pytest.param(*case.partition("\n")[2].split("---->\n"), id=f"{path.stem}: {case.partition(chr(10))[0]}")
    for path in sorted(Path(__file__).with_name("cases").glob("*.txt"))
    for case in path.read_text().split("=== ")[1:]
]


def problems(text: str) -> tuple[Problem, ...]:
    """Return what is wrong with the file `text`."""
    with pytest.raises(TopologyError) as caught:
        load(text, "t.yaml")
    return caught.value.problems


def written(found: tuple[Problem, ...]) -> str:
    """Return problems as the case files have them."""
    return "".join(
        f"{problem.line or '-'}:{problem.column or '-'} {problem.code}: {problem.message}\n"
        + (f"    hint: {problem.hint}\n" if problem.hint else "")
        for problem in found
    )


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_a_file_has_exactly_these_problems(text: str, expected: str) -> None:
    found = problems(text)
    assert written(found) == expected
    for problem in found:
        assert problem.exit is Exit.USAGE
        assert problem.file == "t.yaml"
        assert re.fullmatch(r"topology(-[a-z]+)+", problem.code)
        assert problem.message.isprintable()
        assert len(problem.message) < 330
        assert "hunter2" not in repr(problem)
        assert not re.search(r"pydantic|str_|_type|Input should|NoneType|<class", problem.message)


def test_no_password_is_in_the_exception_either() -> None:
    with pytest.raises(TopologyError) as caught:
        load("version: 1\nnodes: [h:1]\nauth: {password: hunter2, passwords: hunter2}\n", "t.yaml")
    error: BaseException | None = caught.value
    assert "hunter2" not in repr(error) + str(error)
    assert error is not None
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None


def test_without_the_c_parser_a_file_has_the_same_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document, "_LOADER", yaml.SafeLoader)
    assert load(FULL, "t.yaml").name == "orders"
    for case in CASES:
        text, expected = case.values
        if not str(case.id).startswith(("yaml", "secrets")):
            continue
        found = problems(str(text))
        assert "hunter2" not in repr(found)
        if "topology-syntax" not in str(expected):
            # The two parsers differ only in where an empty value stands.
            assert re.sub(r":\d+ ", ": ", written(found)) == re.sub(r":\d+ ", ": ", str(expected))


def test_problems_name_the_nodes_they_are_about() -> None:
    node = "- {{name: {}, host: h, port: {}, slots: {}}}\n"
    text = "version: 1\nnodes:\n" + node.format("a", 1, "0-9") + node.format("b", 2, "9-16383")
    (problem,) = problems(text)
    assert (problem.node, problem.peer) == ("b", "a")


@pytest.mark.parametrize(
    "text",
    [
        "version: 1\nnodes: [h:1]\n" + "".join(f"key{number}: 1\n" for number in range(5000)),
        "version: 1\nnodes:\n" + "".join(f"- {{host: h{n}, port: 1, replica_of: x}}\n" for n in range(300)),
        "version: 1\nnodes: [h:1]\nservers:\n  config:\n" + "".join(f"    K{n}: 1\n" for n in range(300)),
        "version: 1\nnodes:\n" + "- h:1\n- {host: g, port: 1, slots: 0-9}\n" * 300,
    ],
    ids=["unknown keys", "unknown nodes", "settings", "duplicates"],
)
def test_a_file_of_nonsense_has_a_bounded_number_of_problems(text: str) -> None:
    found = problems(text)
    assert len(found) == 101
    assert found[-1].code == "topology-more-problems"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "version: 1\nnodes:\n" + "- h:1\n" * 2001,
            "3:1 topology-too-many-nodes: 'nodes' has 2,001 entries; a topology has at most 2,000 nodes\n",
        ),
        (
            "version: 1\nnodes: ['" + "{0..9}" * 200 + ":1']\n",
            "2:9 topology-invalid-address: an address is at most 1000 characters long\n",
        ),
        (
            "version: 1\nnodes: [" + "h," * 100_000 + "]\n",
            "2:200003 topology-too-many-values: the file has more than 100,000 values, "
            "each alias counted in full\n",
        ),
    ],
    ids=["entries", "address", "values"],
)
def test_sizes_are_bounded_before_anything_is_made_of_them(text: str, expected: str) -> None:
    assert written(problems(text)) == expected


def test_the_pure_python_parser_reports_a_character_that_does_not_exist(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(document, "_LOADER", yaml.SafeLoader)
    (problem,) = problems('version: 1\nname: "\\U00110000"\n')
    assert problem.message == "an escape stands for a character that does not exist"
