"""How a cluster stands, no matter what formed it: one look, one verdict, every reason."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from clusterboot.core import preflight
from clusterboot.core.adopt import RECHECK_SECONDS, adopt, needs_recheck
from clusterboot.core.borrowed import lowered_found, set_by_users
from clusterboot.core.health import Judge
from clusterboot.core.placement import place
from clusterboot.core.results import StatusResult, rows
from clusterboot.core.views import Views
from clusterboot.errors import Problem
from clusterboot.loop.investigate import why
from clusterboot.loop.members import find_members
from clusterboot.loop.observe import Asker, Observed, now, survey
from clusterboot.topology import Topology

_CORRECT_FIRST = "correct what is named above first, then run 'clusterboot up': it does what is missing"


async def status(topology: Topology, fleet: Asker, within: float | None = None) -> StatusResult:
    """Look once at every node and judge the answers; changes nothing and raises nothing.

    A node that has not answered everything `within` seconds is away. The reasons take up to a second more.
    """
    until = None if within is None else now() + within
    observed = await survey(fleet, (node.name for node in topology.nodes), until=until)
    members = await find_members(fleet, topology, observed.views, {}, until=until)
    silent = _silent_ids(topology, fleet, observed)
    topology, views = members.topology, members.views
    ids = {name: view.id for name, view in views.items()} | silent
    refusals = preflight.refusals(topology, views, (*ids.values(), *topology.gone))
    refusals += tuple(each for each in members.leaving.refusals if each.code == "slots-lost")
    if observed.away:
        # Not all roles are known, so only the mesh is judged.
        target, mesh_only = place(topology), True  # leaving members too: their roles do not count here
    else:
        adopted = adopt(topology, views)
        target, mesh_only = adopted.target, topology.slots == "none"
        refusals += await _confirmed(topology, fleet, adopted.refusals, until)
    judge = Judge(target, ids, mesh_only=mesh_only, gone=topology.gone)
    verdict = judge.verdict(views, _dead(observed.away, ids, views))
    if not verdict.ready:
        verdict = replace(verdict, reasons=await why(fleet, topology, views, verdict))
    if refusals:
        reasons = (*refusals, *_beside(refusals, verdict.reasons, views))
        verdict = replace(verdict, ready=False, reasons=reasons)
    warnings = (
        *topology.warnings,
        *preflight.warnings(views),
        *target.warnings,
        *members.leaving.pending(),
    )
    settings = (*lowered_found(views), *set_by_users(views))
    return StatusResult(topology, verdict, rows(topology, views, verdict, ids), (*warnings, *settings))


async def _confirmed(
    topology: Topology, fleet: Asker, refusals: Iterable[Problem], until: float | None
) -> tuple[Problem, ...]:
    """Return `refusals` without transient ones that a second look does not find again."""
    unconfirmed = needs_recheck(refusals)
    if unconfirmed:
        await asyncio.sleep(RECHECK_SECONDS)
        again = await survey(fleet, (node.name for node in topology.nodes), until=until)
        if not again.away:
            unconfirmed -= needs_recheck(adopt(topology, again.views).refusals)
    return tuple(each for each in refusals if each not in unconfirmed)


def _beside(refusals: Sequence[Problem], reasons: Iterable[Problem], views: Views) -> Iterator[Problem]:
    """Yield the reasons that do not follow from `refusals`, with hints that fit beside them."""
    ours = {view.id for view in views.values()}
    ghosts = any(problem.code == "ghost" for problem in refusals)
    for reason in reasons:
        if reason.code == "stranger":
            continue
        view = views.get(reason.node or "")
        if reason.code == "replica-out-of-sync" and ghosts and view and view.me.primary not in ours:
            continue
        up = reason.hint is not None and reason.hint.startswith("run 'clusterboot up'")
        yield replace(reason, hint=_CORRECT_FIRST) if up else reason


def _dead(away: Mapping[str, Problem], ids: Mapping[str, str], views: Views) -> dict[str, Problem]:
    """Return the problems of nodes that do not answer, with a way out for those that all find failing."""
    found = dict(away)
    for name, problem in away.items():
        lines = [line for view in views.values() if (line := view.knows(ids[name])) is not None]
        if lines and all("fail" in line.flags for line in lines):
            leave = (
                f"if it is gone for good, list its id {ids[name]} under 'retire' and take it out of 'nodes'"
            )
            found[name] = replace(problem, hint=f"{problem.hint}; {leave}" if problem.hint else leave)
    return found


def _silent_ids(topology: Topology, fleet: Asker, observed: Observed) -> dict[str, str]:
    """Return the ids of nodes that do not answer, by the address under which the others list them."""
    taken = {view.id for view in observed.views.values()}
    by_address = {
        (peer.ip, peer.port): peer.id
        for view in observed.views.values()
        for peer in view.peers
        if peer.id not in taken and peer.ip
    }
    ids: dict[str, str] = {}
    for node in topology.nodes:
        if node.name in observed.away:
            listed = by_address.get((node.host, node.port))
            listed = listed or by_address.get((fleet.ip(node.name), node.port))
            # No node can have the last one, so no node is seen to list it.
            ids[node.name] = listed or f"?{node.name}"
    return ids
