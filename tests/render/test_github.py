"""What GitHub Actions gets: escaped commands, text that is none, a log that folds, a summary."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest

from clusterboot.core.events import Note, Phase, Warned
from clusterboot.errors import Exit, Problem
from clusterboot.render import github, workflow
from clusterboot.render.page import console
from tests.harness.cli import clusterboot
from tests.render import moving, paper


@pytest.fixture
def actions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_problem_of_a_file_is_an_annotation_with_everything_escaped(actions: Path) -> None:
    inside = Problem("code", "100% :: wrong,\nhere", file=str(actions / "a,b:c.yaml"), line=3, column=7)
    outside = Problem("code", "wrong", file="/elsewhere/x.yaml")
    nowhere = Problem("code", "wrong")
    assert workflow.error_lines([inside, outside, nowhere]) == [
        "::error file=a%2Cb%3Ac.yaml,line=3,col=7,title=code::100%25 :: wrong,\\nhere",
        "::error file=/elsewhere/x.yaml,title=code::wrong",
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("::add-mask::x\n", ": :add-mask::x\n"),
        ("fine\n  ::stop-commands::x", "fine\n  : :stop-commands::x"),
        ("a ##[error]b", "a ## [error]b"),
        ("a::b", "a::b"),
    ],
)
def test_no_text_of_others_is_a_command_to_the_runner(text: str, shown: str) -> None:
    stream = io.StringIO()
    workflow.Defused(stream).write(text)
    assert stream.getvalue() == shown


def test_consoles_defuse_what_they_print_and_only_under_actions(
    actions: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    console().print("::group::x")
    monkeypatch.setenv("GITHUB_ACTIONS", "false")
    console().print("::group::x")
    assert capsys.readouterr().out == ": :group::x\n::group::x\n"


def test_a_log_folds_by_phases_and_warnings_stand_out(
    actions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ticks = iter(range(100))
    with github.reporter(console(stderr=True), clock=lambda: next(ticks) / 10) as report:
        report(Phase("look", "2 nodes"))
        report(Note("a note of ::a node"))
        report(Warned(Problem("odd", "this is 50% odd")))
        report(Phase("ready"))
    assert [line for line in capsys.readouterr().err.splitlines() if line.startswith("::")] == [
        "::group::look: 2 nodes",
        "::warning title=odd::this is 50%25 odd",
        "::endgroup::",
        "::group::wait for Ready",
        "::endgroup::",
    ]
    assert [found.code for found in report.warned] == ["odd"]


def test_quiet_stays_quiet(actions: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with github.reporter(console(stderr=True), quiet=True) as report:
        report(Phase("look"))
    assert capsys.readouterr().err == ""


def test_the_summary_is_a_table_and_a_picture_without_foreign_markup() -> None:
    result = paper.formed()
    first = result.nodes[0]
    evil = replace(first, version='<b>x</b>|`"', state="fail")
    text = github.summary(replace(result, nodes=(evil, *result.nodes[1:])))
    assert text.startswith("### ✅ Cluster")
    assert f"| {first.name} |" in text.replace("\\", "")
    assert '&lt;b>x&lt;/b>\\|\\`"' in text
    assert "```mermaid\nflowchart LR\n  n0[" in text
    assert "| node | role | slots | state | version |\n|---|---|---|---|---|\n" in text
    for row in result.nodes:
        if row.primary:
            names = [one.name for one in result.nodes]
            assert f"  n{names.index(row.primary)} --> n{names.index(row.name)}" in text


def test_the_summary_has_addresses_only_where_they_are_not_the_names() -> None:
    result = paper.formed()
    named = replace(result.nodes[0], name="a")
    text = github.summary(replace(result, nodes=(named, *result.nodes[1:])))
    assert "| node | address | role |" in text
    assert "| a | 127.0.0.1:7001 | primary |" in text
    assert "| 127.0.0.1:7002 |  | primary |" in text


def test_a_label_of_the_picture_cannot_leave_its_quotes() -> None:
    result = paper.formed()
    evil = replace(result.nodes[0], name='x"] --> <script>')
    text = github.summary(replace(result, nodes=(evil,)))
    assert '  n0["x#34;] --#62; #60;script#62;<br/>' in text


def test_the_summary_says_why_it_is_not_ready() -> None:
    result = paper.formed()
    broken = replace(result, verdict=replace(result.verdict, ready=False))
    text = github.summary(broken, [Problem("x", "b does *not* answer", exit=Exit.NODE)])
    assert text.startswith("### ❌ Cluster")
    assert "- b does \\*not\\* answer\n" in text


def test_the_summary_says_what_moved_and_what_a_dry_run_would_move() -> None:
    done, dry = github.summary(moving.rebalanced()), github.summary(moving.dry())
    assert "\n- 4,096 slots with 50,000 keys moved in 2.0 s\n" in done
    assert "retired: their entries under 'retire' can be deleted now\n" in done
    assert "| from |" not in done
    assert "- missing: 1 MEET, 1 REPLICATE, 1 FAILOVER, 4 slot moves, 10 FORGETs, 2 RESETs\n" in dry
    assert "\n| 127.0.0.1:7009 | 127.0.0.1:7004 | 820 | 9,840 | atomic |\n" in dry
    assert dry.index("|---|---|--:|--:|---|") < dry.index("| node |")


def test_a_broken_file_annotates_and_json_stays_one_document(actions: Path) -> None:
    (actions / "bad.yaml").write_text("version: 1\nnodez: [a]\n")
    outcome = clusterboot("up", actions / "bad.yaml", "-o", "json", cwd=actions)
    assert outcome.exit == 2
    assert outcome.json()["exit"] == 2
    assert "::error file=bad.yaml,line=2,col=1,title=topology-unknown-key::" in outcome.err
