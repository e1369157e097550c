"""Every rule that keeps people safe is held by a test that needs no server: without the rule it fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutants import tree
from tests.mutants.rules import RULES, Rule

# Long enough for the tests of a rule on a busy machine; without some rules they go on for ever.
_SECONDS = 120.0


def _module(folder: Path, rule: Rule) -> Path:
    return folder / "clusterboot" / f"{rule.module}.py"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_text_that_holds_a_rule_is_there_once(rule: Rule) -> None:
    assert _module(tree.ROOT, rule).read_text().count(rule.text) == 1
    assert all((tree.ROOT / test).exists() for test in rule.tests)


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tree.copy(tmp_path_factory.mktemp("rules"))


@pytest.mark.soak
def test_with_all_rules_in_place_the_tests_pass(copied: Path) -> None:
    ended = tree.pytest(copied, sorted({test for rule in RULES for test in rule.tests}), seconds=600)
    assert ended.returncode == 0, ended.stdout


@pytest.mark.soak
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_without_the_rule_a_test_fails(rule: Rule, copied: Path) -> None:
    module = _module(copied, rule)
    whole = module.read_text()
    module.write_text(whole.replace(rule.text, rule.without))
    try:
        ended = tree.pytest(copied, rule.tests, seconds=_SECONDS)
    finally:
        module.write_text(whole)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert " failed" in ended.stdout, "a test has to fail, not to break"
