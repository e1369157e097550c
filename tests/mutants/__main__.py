"""The mutation run: every module that decides or gives back, changed in one place at a time (mutmut).

    python -m tests.mutants [--folder FOLDER] [--children N] [MODULE ...]

What no fast test notices survives. survivors.txt says which may and why; any other survivor fails the run,
and so does an entry that stands for nothing any more. It works on a copy, in `--folder` or in a folder that
goes away. mutmut changes functions and methods, neither constants of a module nor properties.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

from tests.mutants import tree
from tests.mutants.survivors import Survivor, accepted, explained, read

# The give-back, and what is decided before anything is sent. Left out is what only says something: wording,
# misplaced, kept, events, results, and why a cluster is not Ready (reach, blocked, forgotten, diagnose,
# reasons). So is topology, which refuses or reads a file and has its own tests by the hundred.
GIVE_BACK = ("timers", "configure", "restore", "boost")
DECIDING = (
    *("slots", "nodes", "versions", "fit", "spread", "placement", "plan", "mixed", "adopt", "announced"),
    *("preflight", "health", "newcomers", "moved", "onesided", "replies"),
)
# No test of these needs a server.
TESTS = (
    *("tests/core", "tests/test_act.py", "tests/faults/test_restoring.py", "tests/faults/test_boost.py"),
    *("tests/faults/test_order.py", "tests/faults/test_any_script.py"),
)

# How a mutant ended, by its exit status: the tests passed, or no test runs the function at all.
_SURVIVED = {0, 33}


def main() -> int:
    """Run it and tell what survived; 0 when all of that may."""
    options = argparse.ArgumentParser(prog="python -m tests.mutants")
    options.add_argument("--folder", type=Path, help="work in here and keep it (default: a temporary folder)")
    options.add_argument("--children", type=int, default=2, help="processes at once (default: 2)")
    options.add_argument("modules", nargs="*", default=[*GIVE_BACK, *DECIDING], metavar="MODULE")
    given = options.parse_args()
    if given.folder is not None:
        return _run(given.folder, given.modules, given.children)
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        return _run(Path(folder), given.modules, given.children)


def _run(folder: Path, modules: list[str], children: int) -> int:
    if not (folder / "clusterboot").exists():
        tree.copy(folder)
        _configure(folder, modules)
    log = folder / "mutmut.log"
    print(f"mutating {', '.join(modules)}: this takes a while, see {log}", flush=True)
    with log.open("wb") as told:
        command = [sys.executable, "-m", "mutmut", "run", "--max-children", str(children)]
        ended = subprocess.run(command, cwd=folder, env=tree.environment(folder), stdout=told, stderr=told)
    if ended.returncode:
        print(log.read_text(errors="replace")[-3000:])
        return 1
    counts: Counter[str] = Counter()
    left = []
    entries = [entry for entry in read() if entry.of(modules)]
    unused = set(entries)
    for name, status in _results(folder, modules):
        module = name.split(".")[1]
        counts[module] += 1
        if status not in _SURVIVED:
            continue
        survivor = Survivor.of(name, _difference(folder, module, name))
        entry = accepted(survivor, entries)
        unused.discard(entry) if entry else None
        if not entry and not explained(survivor):
            left.append(survivor)
    for module, count in counts.items():
        print(f"{module}: {count} changes")
    for survivor in left:
        print(f"\nsurvived: {survivor.function}\n{survivor.difference}")
    for entry in unused:
        print(f"\nsurvivors.txt, nothing survives that this stands for: {entry.line}")
    print(f"\n{counts.total()} changes, {len(left)} survived without a reason")
    return 1 if left or unused or not counts else 0


def _configure(folder: Path, modules: list[str]) -> None:
    keys = {
        "source_paths": ["clusterboot"],
        "only_mutate": [f"clusterboot/{module}.py" for module in modules],
        "also_copy": ["topologies", "docs", "README.md"],
        "pytest_add_cli_args": ["-p", "no:cacheprovider"],
        # `make check` notices some changes; the code around the changed functions does not use its ignores.
        "type_check_command": [sys.executable, "-m", "mypy", "--output", "json", "--no-warn-unused-ignores"],
        "pytest_add_cli_args_test_selection": list(TESTS),
        "use_git_change_detection": False,
        # A changed loop may never end: after so many times what its tests take it counts as noticed.
        "timeout_multiplier": 5.0,
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
    with (folder / "pyproject.toml").open("a") as file:
        file.write("\n[tool.mutmut]\n" + "\n".join(lines) + "\n")


def _results(folder: Path, modules: list[str]) -> Iterator[tuple[str, int]]:
    """The name and the exit status of every mutant."""
    for module in modules:
        found = folder / "mutants" / "clusterboot" / f"{module}.py.meta"
        yield from json.loads(found.read_text())["exit_code_by_key"].items()


def _difference(folder: Path, module: str, name: str) -> str:
    from mutmut.mutation.diff_apply import get_diff_for_mutant  # of the dependency group `mutants`

    with chdir(folder):
        return str(get_diff_for_mutant(name, path=Path("clusterboot", f"{module}.py")))


if __name__ == "__main__":
    sys.exit(main())
