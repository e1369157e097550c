"""A run under GitHub Actions: a log with a group for each phase, and the summary of the job."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from contextlib import suppress

from rich.console import Console

from clusterboot.core.results import NodeRow, Transfer, UpResult
from clusterboot.errors import Problem
from clusterboot.render import live, plan_text, text, words, workflow
from clusterboot.render.reporter import GONE, Clock, Lines, RunReporter
from clusterboot.render.safe import clean

# GitHub cuts a summary at 1 MiB; a picture of hundreds of nodes cannot be read.
MAX_ROWS, _MAX_DRAWN = 200, 60
_STATES = {"ok": "ok", "fail": "cluster_state:fail", "away": "does not answer", None: ""}


def reporter(console: Console, *, quiet: bool = False, clock: Clock = time.monotonic) -> RunReporter:
    """Return the reporter of a run: `Groups` under GitHub Actions, else that of `live`."""
    if workflow.active() and not quiet:
        return Groups(console, clock)
    return live.reporter(console, quiet=quiet, clock=clock)


class Groups(Lines):
    """Plain lines, each phase in a group that GitHub folds; warnings are annotations."""

    def __init__(self, console: Console, clock: Clock) -> None:
        super().__init__(console, clock)
        self._stream = getattr(console.file, "raw", console.file)
        self._open = False

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        self._close()

    def begin(self) -> None:
        """Begin a group for the phase."""
        self._close()
        self._write(workflow.command("group", self.title()))
        self._open = True
        super().begin()

    def warn(self, problem: Problem) -> None:
        """Write a warning as an annotation."""
        self._write(workflow.command("warning", problem.message, title=problem.code))

    def _close(self) -> None:
        if self._open:
            self._open = False
            self._write(workflow.command("endgroup"))

    def _write(self, line: str) -> None:
        with suppress(*GONE):
            self._stream.write(f"{line}\n")
            self._stream.flush()


def summary(result: UpResult, errors: Sequence[Problem] = ()) -> str:
    """Return the Markdown summary of a job: how it ended, a table and a picture of the nodes."""
    name = f" {_cell(result.topology.name)}" if result.topology.name else ""
    shape = plan_text.shape(result.topology, result.target, meet_only=result.mesh_only)
    how = "nothing was changed" if result.dry_run else f"after {words.seconds(result.seconds)}"
    state = "Ready" if result.ready else "a full mesh" if result.verdict.ready else "not Ready"
    mark = "✅" if result.verdict.ready else "❌"
    lines = [f"### {mark} Cluster{name}: {state}", "", f"{shape}; {how}.", ""]
    if result.dry_run and result.plan.steps:
        lines.append(f"- missing: {words.steps(result.plan.steps)}")
    lines += [f"- {_cell(line)}" for line in text.moved(result)]
    lines += [f"- {_cell(error.message)}" for error in errors[:MAX_ROWS]]
    lines += _moves(result.transfers)
    named = any(row.name != row.address for row in result.nodes)
    header = ["node", *(["address"] if named else []), "role", "slots", "state", "version"]
    lines += ["", f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    for row in result.nodes[:MAX_ROWS]:
        of = f"replica of {_cell(words.node(row.primary))}" if row.primary else row.role or ""
        address = [_cell(row.address) if row.address != row.name else ""] if named else []
        cells = (_cell(row.name), *address, of, words.slots(row.slots), _STATES[row.state])
        lines.append(f"| {' | '.join((*cells, _cell(row.version or '')))} |")
    if len(result.nodes) > MAX_ROWS:
        lines.append(f"\n… and {words.count(len(result.nodes) - MAX_ROWS, 'more node')}.")
    if len(result.nodes) <= _MAX_DRAWN:
        lines += ["", "```mermaid", *_picture(result.nodes), "```"]
    return "\n".join(lines) + "\n"


def _moves(transfers: Sequence[Transfer]) -> list[str]:
    """What a dry run would move, as a table."""
    if not transfers:
        return []
    lines = ["", "| from | to | slots | keys | by |", "|---|---|--:|--:|---|"]
    for each in transfers[:MAX_ROWS]:
        ends = f"{_cell(each.step.node)} | {_cell(each.step.peer)}"
        lines.append(f"| {ends} | {len(each.step.slots):,} | {each.keys:,} | {each.method} |")
    if len(transfers) > MAX_ROWS:
        lines.append(f"\n… and {words.count(len(transfers) - MAX_ROWS, 'more move')}.")
    return lines


def _picture(rows: Sequence[NodeRow]) -> list[str]:
    """Primaries with their slots, and an arrow from each to its replicas."""
    ids = {row.name: f"n{number}" for number, row in enumerate(rows)}
    nodes, arrows = [], []
    for row in rows:
        # Mermaid knows entities by number between # and ;.
        label = re.sub(r"[^A-Za-z0-9 .:\[\]/_-]", lambda match: f"#{ord(match[0])};", clean(row.name))
        slots = f"<br/>{words.slots(row.slots)}" if row.slots else ""
        nodes.append(f'  {ids[row.name]}["{label}{slots}"]')
        if row.primary in ids:
            arrows.append(f"  {ids[row.primary]} --> {ids[row.name]}")
    return ["flowchart LR", *nodes, *arrows]


def _cell(found: str) -> str:
    """Return text for a table cell, in which nothing is Markdown or HTML."""
    shown = re.sub(r"([\\`*_{}\[\]()#+!|~$@])", r"\\\1", clean(found))
    return shown.replace("&", "&amp;").replace("<", "&lt;")
