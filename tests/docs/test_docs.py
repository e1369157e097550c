"""The examples in the README and the pages on tests, CI and Docker parse and run; their links exist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from clusterboot.cli.flags import app
from clusterboot.pytest_plugin import _OPTIONS
from clusterboot.topology import load
from tests.harness.cli import ROOT
from tests.harness.servers import free_ports
from tests.throwaway.test_pytest_plugin import LOAD

PAGES = {name: (ROOT / "docs" / f"{name}.md").read_text() for name in ("testing", "ci", "docker", "life")}
README = (ROOT / "README.md").read_text()


def blocks(text: str, kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_the_pages_parse_and_their_links_exist(page: str) -> None:
    for block in blocks(PAGES[page], "yaml"):
        assert yaml.safe_load(block)
    for link in re.findall(r"\]\(([^)#]+)\)", PAGES[page]):
        assert (ROOT / "docs" / link).exists(), link


def test_every_file_on_the_page_about_life_is_a_topology() -> None:
    for block in blocks(PAGES["life"], "yaml"):
        assert load(block, "life.md").warnings == ()


def test_the_links_of_the_readme_exist_and_include_every_topology() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert [link for link in links if not (ROOT / link).exists()] == []
    files = {f"topologies/{file.name}" for file in (ROOT / "topologies").glob("*.yaml")}
    assert files - set(links) == set()


def test_every_option_of_run_and_of_the_plugin_is_documented() -> None:
    command = get_command(app).commands["run"]  # type: ignore[attr-defined]
    for parameter in command.params:
        for name in parameter.opts:
            assert not name.startswith("--") or name == "--help" or f"`{name}" in PAGES["testing"], name
    for name in _OPTIONS:
        assert f"`--redis-cluster-{name} " in PAGES["testing"]
        assert f"`redis_cluster_{name}`" in PAGES["testing"]


def test_every_option_of_the_other_commands_is_in_the_readme() -> None:
    group = get_command(app)
    others = [command for name, command in group.commands.items() if name != "run"]  # type: ignore[attr-defined]
    names = {name for command in (group, *others) for option in command.params for name in option.opts}
    options = {name for name in names if name.startswith("-")} | {"-h", "--help"}
    assert {name for name in options if not re.search(rf"`(?:[^`\n]* )?{name}\b", README)} == set()


def test_every_input_of_the_action_is_documented() -> None:
    for name in yaml.safe_load((ROOT / "action.yml").read_text())["inputs"]:
        assert re.search(rf"^\|[^|]*`{name}`", PAGES["ci"], re.MULTILINE), name


def shell(text: str, folder: Path) -> str:
    """Run a block of a page, except `pip install`: the packages are already in this environment."""
    path = folder / "path"
    path.mkdir()
    for name, module in (("clusterboot", "clusterboot"), ("pytest", f"pytest {' '.join(LOAD)} -W error")):
        (path / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {module} "$@"\n')
        (path / name).chmod(0o755)
    env = {
        **os.environ,
        "PATH": f"{path}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
    }
    script = re.sub(r"^pip install .*$", "", text, flags=re.MULTILINE)
    done = subprocess.run(
        ["sh", "-e", "-c", script], cwd=folder, env=env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.server
def test_the_examples_of_the_pages_run(tmp_path: Path) -> None:
    """The README's block with its test, the first one of testing.md, and both of ci.md, in parallel."""
    one, several = blocks(PAGES["ci"], "sh")
    first = next(port for port in free_ports(40) if _free(port))
    scripts = {
        "readme": next(each for each in blocks(README, "sh") if "clusterboot run --" in each),
        "testing": blocks(PAGES["testing"], "sh")[0],
        "one": one,
        "several": several.replace("7001-7006", f"{first}-{first + 5}"),
    }
    for name in scripts:
        (tmp_path / name).mkdir()
    (test,) = blocks(README, "python")
    (tmp_path / "readme" / "test_orders.py").write_text(test)
    with ThreadPoolExecutor() as pool:
        running = {name: pool.submit(shell, text, tmp_path / name) for name, text in scripts.items()}
        shown = {name: each.result() for name, each in running.items()}
    assert "1 passed" in shown["readme"]
    assert shown["testing"].count("127.0.0.1:") == 6
    assert shown["one"].startswith("tests run against redis://127.0.0.1:")
    assert "● Ready: 6 nodes, 3 primaries, 3 replicas" in shown["several"]
    assert "6 spawned servers stopped" in shown["several"]


def _free(first: int) -> bool:
    from tests.harness.servers import _free as free

    return first + 5 <= 22000 and free(
        "127.0.0.1", *(port + bus for port in range(first, first + 6) for bus in (0, 10000))
    )
