"""Results as text: what a command did or found, in a few lines, then the table that proves it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from clusterboot.render import plan_text, problems, tables, words
from clusterboot.render.page import BAD, DIM, GOOD, HEAD, WARN, Page, Part
from clusterboot.render.safe import clean

if TYPE_CHECKING:
    from rich.console import Console

    from clusterboot.core.results import BoostReport, DownResult, LsResult, StatusResult, UpResult, Validated
    from clusterboot.errors import Problem

_SHOWN_REASONS = 16
_SHOWN_ALIKE = 5


def validated(console: Console, result: Validated, file: str) -> None:
    """Print that a topology file is valid, and what it makes of fresh nodes."""
    page = Page(console)
    summary = plan_text.summary(result.topology, result.placement, result.plan)
    page.paragraph((clean(file), HEAD), (" is valid", GOOD), f": {summary}", hang=2)
    page.print()


def up(console: Console, result: UpResult) -> None:
    """Print what `up` did and how the cluster stands; warnings go to stderr (`problems.warnings`)."""
    page = Page(console)
    if result.dry_run:
        _dry_run(page, result)
    else:
        _done(page, result)
    page.print()


def _done(page: Page, result: UpResult) -> None:
    verdict = result.verdict
    mesh_only = result.mesh_only or result.topology.slots == "none"
    goal = "a full mesh" if mesh_only else "Ready"
    shape = plan_text.shape(result.topology, result.target, meet_only=result.mesh_only)
    took = words.seconds(result.seconds)
    idle = not (result.steps or result.started or (result.boost and result.boost.used))
    if verdict.ready and idle:
        page.paragraph((f"● Already {goal}", f"bold {GOOD}"), f": {shape}; nothing to do", hang=2)
    elif verdict.ready:
        done = "A full mesh" if mesh_only else "Ready"
        page.paragraph((f"● {done}", f"bold {GOOD}"), f" in {took}: {shape}", hang=2)
    else:
        page.paragraph(
            (f"✗ Not {goal}", BAD), f" after {took}: {words.count(len(verdict.reasons), 'reason')}", hang=2
        )
        _reasons(page, verdict.reasons)
    if result.steps:
        page.paragraph(f"  sent: {_steps(result)}", hang=4)
    _boost(page, result.boost)
    if len(result.nodes) <= tables.SMALL:
        page.line()
        tables.found(page, result.topology, result.nodes)
    if not verdict.ready:
        tables.who_sees_whom(page, result.nodes)


def _steps(result: UpResult) -> str:
    """What was done, with what was needed beyond the plan."""
    planned = [done.step for done in result.steps if not (done.again or done.extra)]
    parts = [words.steps(planned)] if planned else []
    if result.repaired:
        parts.append(f"{words.count(result.repaired, 'MEET')} sent again")
    if result.extra_meets:
        parts.append(f"{words.count(result.extra_meets, 'extra MEET')}")
    return ", ".join(parts)


def _boost(page: Page, boost: BoostReport | None) -> None:
    if boost is None or not (boost.used or boost.reason):
        return
    reason = clean(boost.reason, 400) if boost.reason else ""
    if not boost.used:
        page.paragraph((f"  no boost: {reason}", DIM), hang=4)
        return
    borrowed = ", ".join(f"{clean(name)} {clean(value)}" for name, value in boost.settings.items())
    on = words.count(boost.nodes, "node")
    if boost.restored >= boost.nodes:
        where = "all of them" if boost.nodes > 1 else "it"
        page.paragraph((f"  boost: {borrowed} on {on}, put back on {where}", DIM), hang=4)
        return
    text = f"  boost: {borrowed} on {on}, put back on {boost.restored} only"
    page.paragraph((f"{text}: {reason}" if reason else text, WARN), hang=4)


def _dry_run(page: Page, result: UpResult) -> None:
    shape = plan_text.shape(result.topology, result.target, meet_only=result.mesh_only)
    missing = result.plan.steps
    if not missing and result.verdict.ready:
        goal = "Ready" if result.ready else "a full mesh"
        page.paragraph((f"● Already {goal}", f"bold {GOOD}"), f": {shape}; nothing to do", hang=2)
        return
    if not missing:
        page.paragraph(("No step is missing", HEAD), f": {shape}, but not Ready yet", hang=2)
        _reasons(page, result.verdict.reasons)
        return
    groups = result.plan.groups
    so_far = f"; they form {groups} groups so far" if 1 < groups < len(result.topology.nodes) else ""
    page.paragraph(
        (f"{words.count(len(missing), 'step')} missing", HEAD),
        f", nothing was changed: {shape}{so_far}",
        hang=2,
    )
    big = len(result.topology.nodes) > tables.SMALL
    if not big:
        page.line()
        tables.planned(page, result.topology, result.target)
    page.line()
    plan_text.steps(page, result.plan, big=big)


def status(console: Console, result: StatusResult) -> None:
    """Print the verdict with every reason, every node, and who does not see whom."""
    page = Page(console)
    add_status(page, result)
    page.print()


def add_status(page: Page, result: StatusResult) -> None:
    """Add what `status` shows to a page, for a screen that is drawn again and again."""
    verdict = result.verdict
    total = words.count(len(result.topology.nodes), "node")
    mesh_only = result.topology.slots == "none"
    if verdict.ready:
        parts = [total]
        if not mesh_only:
            roles = Counter(row.role for row in result.nodes)
            parts.append(words.count(roles["primary"], "primary", "primaries"))
            if roles["replica"]:
                parts.append(words.count(roles["replica"], "replica"))
            parts.append(words.count(len(verdict.covered), "slot"))
        done = "A full mesh" if mesh_only else "Ready"
        page.paragraph((f"● {done}", f"bold {GOOD}"), f": {', '.join(parts)}", hang=2)
    else:
        goal = "a full mesh" if mesh_only else "Ready"
        links = "" if verdict.mesh else f"; {verdict.links} of {verdict.total} links"
        reasons = words.count(len(verdict.reasons), "reason")
        page.paragraph((f"✗ Not {goal}", BAD), f": {total}, {reasons}{links}", hang=2)
        _reasons(page, verdict.reasons)
    page.line()
    tables.found(page, result.topology, result.nodes)
    if not verdict.ready:
        tables.who_sees_whom(page, result.nodes)


def _reasons(page: Page, reasons: tuple[Problem, ...]) -> None:
    """Every reason; where there are hundreds, the first of each kind and how many more there are.

    A hint that the following reasons share stands once, below the last of them.
    """
    shown = list(_some(reasons))
    for index, (reason, more) in enumerate(shown):
        if more:
            page.paragraph((f"  · and {more} more like these; -o json lists all", DIM), hang=4)
        else:
            first, *rest = problems.message(reason.message)
            page.paragraph(("  · ", DIM), first, hang=4)
            for line in rest:
                page.paragraph((f"    {line}", DIM), hang=4)
        following = shown[index + 1][0].hint if index + 1 < len(shown) else None
        if reason.hint and reason.hint != following:
            for line in problems.hint(reason.hint):
                page.paragraph(("    → ", DIM), line, hang=6)


def _some(reasons: Sequence[Problem]) -> Iterator[tuple[Problem, int]]:
    """Return the reasons to show, each with 0; once more with how many follow that are left out."""
    number = Counter(reason.code for reason in reasons)
    seen: Counter[str] = Counter()
    last: dict[str, Problem] = {}
    for reason in reasons:
        seen[reason.code] += 1
        if len(reasons) > _SHOWN_REASONS and number[reason.code] > _SHOWN_ALIKE + 1:
            if seen[reason.code] > _SHOWN_ALIKE + 1:
                continue
            if seen[reason.code] == _SHOWN_ALIKE + 1:
                yield last[reason.code], number[reason.code] - _SHOWN_ALIKE
                continue
        last[reason.code] = reason
        yield reason, 0


def down(console: Console, result: DownResult) -> None:
    """Print what was stopped, reset and left alone."""
    page = Page(console)
    some = False
    for found, what, one in (
        (result.stopped, "stopped", "spawned server"),
        (result.gone, "had already ended", "spawned server"),
        (result.reset, "reset to single nodes without slots", "node"),
        (result.left, "left as it was", "node"),
    ):
        if found:
            some = True
            plural = what.replace("it was", "they were") if len(found) > 1 else what
            plural = plural.replace("single nodes", "a single node") if len(found) == 1 else plural
            page.paragraph(
                f"{words.count(len(found), one)} {plural}: ", (words.names(found, 10), DIM), hang=2
            )
    if not some:
        page.line("Nothing to stop.")
    if result.left and not (result.stopped or result.gone or result.reset):
        page.paragraph(
            ("  → ", DIM),
            "stop them the way they were started; --reset --yes stops nothing: it removes live nodes from "
            "their cluster",
            hang=4,
        )
    page.print()


def ls(console: Console, result: LsResult) -> None:
    """Print the spawned clusters and which of their servers run."""
    page = Page(console)
    if not result.clusters:
        page.line("No spawned clusters.")
    for index, cluster in enumerate(result.clusters):
        if index:
            page.line()
        page.paragraph(*_cluster(cluster.running, len(cluster.servers)), (clean(cluster.name), HEAD), hang=2)
        for name, value in (("file", cluster.file), ("server", words.server(cluster.version))):
            if value:
                shown = clean(value, 4000)
                if name == "file" and page.width is not None:
                    # The end of a path tells more than its beginning; -o json has the whole.
                    shown = page.fit(shown, page.width - 10, tail=True)
                page.paragraph((f"  {name.ljust(7)} ", DIM), shown, hang=10)
        running = [server.address for server in cluster.servers if server.running]
        ended = [server.address for server in cluster.servers if not server.running]
        if running:
            page.paragraph(("  runs    ", DIM), words.names(running, tables.SMALL), hang=10)
        if ended:
            page.paragraph(("  ended   ", DIM), (words.names(ended, tables.SMALL), BAD), hang=10)
    page.print()


def _cluster(running: int, total: int) -> Iterator[Part]:
    if running == total:
        yield ("● ", GOOD)
    elif running:
        yield (f"● {running} of {total} run: ", WARN)
    else:
        yield ("○ ended: ", DIM)
