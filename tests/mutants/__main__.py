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
from collections.abc import Iterable
from contextlib import ExitStack, chdir
from pathlib import Path

from tests.mutants import tree
from tests.mutants.survivors import Survivor, accepted, explained, read

# Left out is what only says something: wording, drift, events, results, verdict and `diagnosis`.
# So is topology, which reads a file or refuses it, and has its own tests by the hundred.
GIVE_BACK = ("core/timers", "core/borrowed", "loop/configure", "loop/restore", "loop/boost")
DECIDING = (
    *("core/preflight", "core/adopt", "core/health", "core/versions", "core/addressing"),
    *("core/extra_meets", "wire/replies"),
)
# Only when they are named: what survives there has not been judged yet.
PLACING = ("core/views", "core/spread", "core/placement", "core/plan", "core/groups", "slots")
# The fast tests of each part; none needs a server.
PARTS = {
    GIVE_BACK: (
        *(
            "tests/core/test_lowered.py",
            "tests/core/test_borrowed.py",
            "tests/loop/test_restoring.py",
            "tests/loop/test_boost.py",
        ),
        "tests/loop/test_order.py",
    ),
    DECIDING: ("tests/core", "tests/diagnosis", "tests/wire/test_replies.py"),
    PLACING: ("tests/core", "tests/diagnosis", "tests/wire/test_replies.py"),
}
# It is about other modules, and takes long.
_NOT = "tests/loop/test_order.py::test_a_large_cluster_is_ready_in_one_snapshot_only"

# How a mutant ended, by its exit status: the tests passed, or no test runs the function at all.
_SURVIVED = {0, 33}


def main() -> int:
    """Run it and tell what survived; 0 when all of that may."""
    options = argparse.ArgumentParser(prog="python -m tests.mutants")
    options.add_argument("--folder", type=Path, help="work in here and keep it (default: a temporary folder)")
    options.add_argument("--children", type=int, default=2, help="processes at once (default: 2)")
    options.add_argument("modules", nargs="*", default=[*GIVE_BACK, *DECIDING], metavar="MODULE")
    given = options.parse_args()
    with ExitStack() as stack:
        folder = given.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mutants-")))
        fine = True
        for number, (modules, tests) in enumerate(PARTS.items(), 1):
            if chosen := [module for module in modules if module in given.modules]:
                part = folder / f"part-{number}"
                fine &= _mutate(part, chosen, tests, given.children) and _judge(part, chosen)
    return 0 if fine else 1


def _mutate(folder: Path, modules: list[str], tests: Iterable[str], children: int) -> bool:
    """Try all changes to `modules`; False when mutmut could not. Goes on where it stood in this folder."""
    if not (folder / "clusterboot").exists():
        _configure(tree.copy(folder), modules, tests)
    log = folder / "mutmut.log"
    print(f"changing {', '.join(modules)}: this takes a while, see {log}", flush=True)
    with log.open("wb") as told:
        command = [sys.executable, "-m", "mutmut", "run", "--max-children", str(children)]
        ended = subprocess.run(command, cwd=folder, env=tree.environment(folder), stdout=told, stderr=told)
    if ended.returncode:
        print(log.read_text(errors="replace")[-3000:])
    return not ended.returncode


def _judge(folder: Path, modules: list[str]) -> bool:
    """Tell what survived without a reason, and which reasons stand for nothing; False where there are any."""
    entries = [entry for entry in read() if entry.of(modules)]
    unused = dict.fromkeys(entries)
    total, left = 0, []
    for module in modules:
        results = json.loads((folder / "mutants" / "clusterboot" / f"{module}.py.meta").read_text())
        total += len(results["exit_code_by_key"])
        for name, status in results["exit_code_by_key"].items():
            if status not in _SURVIVED:
                continue
            survivor = Survivor.of(name, _difference(folder, module, name))
            entry = accepted(survivor, entries)
            unused.pop(entry, None)
            if entry is None and explained(survivor) is None:
                left.append(survivor)
    for survivor in left:
        print(f"\nsurvived: {survivor.function}\n{survivor.difference}")
    for entry in unused:
        print(f"\nsurvivors.txt, nothing survives that this stands for: {entry.line}")
    print(f"\n{total} changes to {', '.join(modules)}: {len(left)} survived without a reason")
    return not left and not unused


def _configure(folder: Path, modules: list[str], tests: Iterable[str]) -> None:
    keys = {
        "source_paths": ["clusterboot"],
        "only_mutate": [f"clusterboot/{module}.py" for module in modules],
        "also_copy": ["topologies", "docs", "README.md"],
        "pytest_add_cli_args": ["-p", "no:cacheprovider", "-m", "not server", "--deselect", _NOT],
        # `make check` notices some changes; the code around the changed functions does not use its ignores.
        "type_check_command": [sys.executable, "-m", "mypy", "--output", "json", "--no-warn-unused-ignores"],
        "pytest_add_cli_args_test_selection": list(tests),
        "use_git_change_detection": False,
        # A changed loop may never end: after so many times what its tests take it counts as noticed.
        "timeout_multiplier": 5.0,
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
    with (folder / "pyproject.toml").open("a") as file:
        file.write("\n[tool.mutmut]\n" + "\n".join(lines) + "\n")


def _difference(folder: Path, module: str, name: str) -> str:
    from mutmut.mutation.diff_apply import get_diff_for_mutant  # of the dependency group `mutants`

    with chdir(folder):
        return str(get_diff_for_mutant(name, path=Path("clusterboot", f"{module}.py")))


if __name__ == "__main__":
    sys.exit(main())
