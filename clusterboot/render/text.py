"""Results as text: what a command did or found, in a few lines, then the table of the nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from rich.console import Console

from clusterboot.core.results import BoostReport, DownResult, LsResult, StatusResult, UpResult, Validated
from clusterboot.core.steps import MoveSlots
from clusterboot.render import plan_text, problems, tables, words
from clusterboot.render.page import BAD, DIM, GOOD, HEAD, WARN, Page, Part
from clusterboot.render.safe import MAX_MESSAGE, clean

_MAX_NAMES = 10


def validated(console: Console, result: Validated, file: str) -> None:
    """Print that a topology file is valid, and the plan that it gives on fresh nodes."""
    page = Page(console)
    page.line((clean(file), HEAD), (" is valid", GOOD), f": {plan_text.summary(result)}")
    page.print()


def _verdict(*, ready: bool, mesh_only: bool, already: bool = False) -> Part:
    goal = "a full mesh" if mesh_only else "Ready"
    if not ready:
        return (f"✗ Not {goal}", BAD)
    return (f"● Already {goal}" if already else f"● {goal[0].upper()}{goal[1:]}", f"bold {GOOD}")


def up(console: Console, result: UpResult) -> None:
    """Print what `up` did and how the cluster stands; warnings go to stderr (`problems.warnings`)."""
    page = Page(console)
    (_dry_run if result.dry_run else _done)(page, result)
    page.print(repeat=True)


def _done(page: Page, result: UpResult) -> None:
    verdict = result.verdict
    shape = plan_text.shape(result.topology, result.target, meet_only=result.mesh_only)
    mesh_only = result.mesh_only or result.topology.slots == "none"
    changed = result.steps or result.started or result.moved.slots or result.retired
    idle = not (changed or (result.boost and result.boost.used))
    head = _verdict(ready=verdict.ready, mesh_only=mesh_only, already=idle)
    took = words.seconds(result.seconds)
    if verdict.ready:
        page.line(head, f": {shape}; nothing to do" if idle else f" in {took}: {shape}")
    else:
        page.line(head, f" after {took}: {words.count(len(verdict.reasons), 'reason')}")
        problems.add(page, verdict.reasons, problems.REASON)
    planned = [done.step for done in result.steps if not (done.again or done.extra)]
    commands = [step for step in planned if not isinstance(step, MoveSlots)]
    if sent := words.all_steps(commands, result.repaired, result.extra_meets):
        page.line(f"  sent: {', '.join(sent)}", hang=4)
    for line in moved(result):
        page.line(f"  {line}", hang=4)
    if result.boost is not None:
        _boost(page, result.boost)
    if len(result.nodes) <= tables.MAX_NODES:
        page.line()
        tables.actual(page, result.topology, result.nodes)
    if not verdict.ready:
        tables.who_sees_whom(page, result.nodes)


def moved(result: UpResult) -> Iterator[str]:
    """Yield a line for what was moved and one for what was retired; nothing where nothing was."""
    done = result.moved
    if done.slots:
        keys = f" with {words.large(done.keys, 'key')}" if done.keys else ""
        yield f"{words.large(done.slots, 'slot')}{keys} moved in {words.seconds(done.seconds)}"
    if result.retired:
        entries = "its entry" if len(result.retired) == 1 else "their entries"
        names = words.names([words.node(name) for name in result.retired], _MAX_NAMES)
        yield f"{names} retired: {entries} under 'retire' can be deleted now"


def _boost(page: Page, boost: BoostReport) -> None:
    reason = clean(boost.reason, 400) if boost.reason else ""
    if not boost.used:
        if reason:
            page.line((f"  no boost: {reason}", DIM), hang=4)
        return
    settings = ", ".join(f"{clean(name)} {clean(value)}" for name, value in boost.settings.items())
    text = f"  boost: {settings} on {words.count(boost.nodes, 'node')}, restored on "
    if boost.restored >= boost.nodes:
        page.line((f"{text}{'all of them' if boost.nodes > 1 else 'it'}", DIM), hang=4)
    else:
        page.line((f"{text}{boost.restored} only{reason and f': {reason}'}", WARN), hang=4)


def _dry_run(page: Page, result: UpResult) -> None:
    shape = plan_text.shape(result.topology, result.target, meet_only=result.mesh_only)
    groups = result.plan.groups
    missing = [step for step in result.plan.steps if not (result.transfers and isinstance(step, MoveSlots))]
    missing += [each.step for each in result.transfers]
    if missing:
        so_far = f"; they form {groups} groups so far" if 1 < groups < len(result.topology.nodes) else ""
        steps = words.count(len(missing), "step")
        page.line((f"{steps} missing", HEAD), f", nothing was changed: {shape}{so_far}")
        big = len(result.topology.nodes) > tables.MAX_NODES
        if not big:
            page.line()
            moves = [step for step in missing if isinstance(step, MoveSlots)]
            tables.planned(page, result.topology, result.target, moves)
        page.line()
        plan_text.steps(page, result.plan, result.transfers, big=big)
    elif result.verdict.ready:
        head = _verdict(ready=True, mesh_only=not result.ready, already=True)
        page.line(head, f": {shape}; nothing to do")
    else:
        page.line(("No step is missing", HEAD), f": {shape}, but not Ready yet")
        problems.add(page, result.verdict.reasons, problems.REASON)


def status(console: Console, result: StatusResult) -> None:
    """Print the verdict with its reasons, every node, and which nodes are not seen."""
    page = Page(console)
    add_status(page, result)
    page.print(repeat=True)


def add_status(page: Page, result: StatusResult) -> None:
    """Add what `status` shows to a page."""
    verdict = result.verdict
    total = words.count(len(result.topology.nodes), "node")
    mesh_only = result.topology.slots == "none"
    head = _verdict(ready=verdict.ready, mesh_only=mesh_only)
    if verdict.ready:
        parts = [total]
        if not mesh_only:
            roles = Counter(row.role for row in result.nodes)
            parts.append(words.count(roles["primary"], "primary", "primaries"))
            if roles["replica"]:
                parts.append(words.count(roles["replica"], "replica"))
            parts.append(words.count(len(verdict.covered), "slot"))
        page.line(head, f": {', '.join(parts)}")
    else:
        links = "" if verdict.mesh else f"; {verdict.links} of {verdict.total} links"
        page.line(head, f": {total}, {words.count(len(verdict.reasons), 'reason')}{links}")
        problems.add(page, verdict.reasons, problems.REASON)
    page.line()
    tables.actual(page, result.topology, result.nodes)
    if not verdict.ready:
        tables.who_sees_whom(page, result.nodes)


def down(console: Console, result: DownResult) -> None:
    """Print what was stopped, reset and left alone."""
    page = Page(console)
    left = "left as it was" if len(result.left) == 1 else "left as they were"
    for names, noun, what in (
        (result.stopped, "spawned server", "stopped"),
        (result.gone, "spawned server", "had already ended"),
        (result.reset, "node", "reset to standalone, without slots"),
        (result.left, "node", left),
    ):
        if names:
            page.line(f"{words.count(len(names), noun)} {what}: ", (words.names(names, _MAX_NAMES), DIM))
    if not page.parts:
        page.line("Nothing to stop.")
    if result.left and not (result.stopped or result.gone or result.reset):
        reset = "--reset --yes stops nothing: it makes live nodes standalone, without slots"
        page.line(("  → ", DIM), f"stop them the way they were started; {reset}", hang=4)
    page.print()


def ls(console: Console, result: LsResult) -> None:
    """Print the spawned clusters and which of their servers run."""
    page = Page(console)
    if not result.clusters:
        page.line("No spawned clusters.")
    for index, cluster in enumerate(result.clusters):
        if index:
            page.line()
        name: Part = (clean(cluster.name), HEAD)
        running = [server.address for server in cluster.servers if server.running]
        ended = [server.address for server in cluster.servers if not server.running]
        if not running:
            page.line(("○ ", DIM), name, (": ended", DIM))
        elif ended:
            page.line(("✗ ", BAD), name, (f": {len(running)} of {len(cluster.servers)} servers run", WARN))
        else:
            page.line(("● ", GOOD), name, f": {words.count(len(running), 'server runs', 'servers run')}")
        for label, value, style in (
            ("file", clean(cluster.file or "", MAX_MESSAGE), ""),
            ("server", clean(words.server(cluster.version) or ""), ""),
            ("runs", words.names(running, tables.MAX_NODES), ""),
            ("ended", words.names(ended, tables.MAX_NODES), BAD),
        ):
            if value:
                page.line((f"  {label.ljust(7)} ", DIM), (value, style), hang=10)
    page.print()
