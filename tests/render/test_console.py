"""The consoles on a real pseudo-terminal and in a pipe, as a process has them."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.render.paper import screen

ROOT = Path(__file__).parents[2]

RUN = """
import os
from clusterboot.errors import Problem
from clusterboot.render import live, problems, text
from clusterboot.render.page import console
from tests.render.test_live import story
err = console(stderr=True, no_color="--no-color" in os.environ.get("FLAGS", ""))
now = [0.0]
with live.reporter(err, clock=lambda: now[0]) as reporter:
    for seconds, event in story():
        now[0] += seconds
        reporter(event)
problems.errors(err, [Problem("x", "größer → kaputt.")])
"""


def on_terminal(env: Mapping[str, str]) -> str:
    """Run `RUN` with stderr on a pseudo-terminal of 80 columns; return what arrives there."""
    leader, follower = pty.openpty()
    subprocess.run(["stty", "cols", "80", "rows", "24"], stdin=follower, check=True)
    process = subprocess.Popen(
        [sys.executable, "-c", RUN],
        stdin=follower,
        stdout=subprocess.DEVNULL,
        stderr=follower,
        cwd=ROOT,
        env={**_clean_environment(), **env},
    )
    os.close(follower)
    found = b""
    try:
        while data := os.read(leader, 65536):
            found += data
    except OSError:
        pass  # Linux ends a pseudo-terminal with an error.
    os.close(leader)
    assert process.wait(30) == 0
    return found.decode().replace("\r\n", "\n")


def _clean_environment() -> dict[str, str]:
    dropped = {"NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TERM", "LC_ALL", "PYTHONIOENCODING"}
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}


def test_a_terminal_is_left_clean_and_coloured() -> None:
    shown = on_terminal({"TERM": "xterm-256color"})
    lines, cursor = screen(shown, 80)
    assert lines == [
        "warning: only two primaries.",
        "  → use three",
        "look 0.1s · meet 0.2s · mesh 1.1s · replicate 0.1s · Ready 0.4s",
        "error: größer → kaputt.",
    ]
    assert cursor
    assert "\x1b[1;31merror:" in shown


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"FLAGS": "--no-color"}])
def test_without_colour_the_screen_is_drawn_but_nothing_is_styled(env: dict[str, str]) -> None:
    shown = on_terminal({"TERM": "xterm-256color", **env})
    lines, _ = screen(shown, 80)
    assert len(lines) == 4
    assert "\x1b[?25l" in shown
    assert "m" not in _sequence_ends(shown)


def test_a_dumb_terminal_gets_no_escape() -> None:
    shown = on_terminal({"TERM": "dumb"})
    assert "\x1b" not in shown
    assert "   0.0 s  look: 6 nodes\n" in shown


def test_a_terminal_that_is_not_utf8_gets_ascii() -> None:
    shown = on_terminal({"TERM": "xterm", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"})
    lines, _ = screen(shown, 80)
    assert lines[-1] == r"error: gr\xf6\xdfer > kaputt."


def _sequence_ends(shown: str) -> set[str]:
    return {sequence[-1] for sequence in re.findall(r"\x1b\[[?\d;]*[A-Za-z]", shown)}
