"""How a cluster stands, whoever formed it: one look, one verdict, every reason."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from clusterboot.core import preflight
from clusterboot.core.adopt import AGAIN, adopt, needs_recheck
from clusterboot.core.health import Judge
from clusterboot.core.placement import place
from clusterboot.core.results import StatusResult, rows
from clusterboot.core.timers import elections_off, lowered_found, marks_alone
from clusterboot.core.verdict import Verdict
from clusterboot.core.views import View
from clusterboot.errors import Problem
from clusterboot.loop.investigate import why
from clusterboot.loop.observe import Asker, Observed, survey
from clusterboot.topology import Topology

_FIRST = "mend what is named above first, then run 'clusterboot up': it does what is missing"


async def status(topology: Topology, fleet: Asker, within: float | None = None) -> StatusResult:
    """Look once at every node and judge what they say; never changes anything and raises nothing.

    A node that has not answered everything `within` seconds is away; finding out why the cluster is not
    Ready takes a second more at most.
    """
    until = None if within is None else asyncio.get_running_loop().time() + within
    observed = await survey(fleet, (node.name for node in topology.nodes), until=until)
    ids = {name: view.id for name, view in observed.views.items()}
    ids |= _guess(topology, fleet, observed, ids)
    whole = not observed.away
    adopted = adopt(topology, observed.views) if whole else None
    if adopted and (doubtful := needs_recheck(adopted.refusals)):
        await asyncio.sleep(AGAIN)
        again = await survey(fleet, (node.name for node in topology.nodes), until=until)
        surely = (
            doubtful & needs_recheck(adopt(topology, again.views).refusals) if not again.away else frozenset()
        )
        rest = tuple(each for each in adopted.refusals if each not in doubtful or each in surely)
        adopted = replace(adopted, refusals=rest)
    target = adopted.target if adopted else place(topology)
    # With nodes missing nobody can tell what their roles are: only who sees whom is judged then.
    judge = Judge(target, ids, mesh_only=topology.slots == "none" or not whole)
    verdict = judge.verdict(observed.views, observed.away)
    wrong = (
        *preflight.refusals(topology, observed.views, ids.values()),
        *(adopted.refusals if adopted else ()),
    )
    if not verdict.ready:
        verdict = replace(verdict, reasons=await why(fleet, topology, observed.views, verdict))
    if wrong:
        told = tuple(_after(wrong, verdict.reasons, observed.views))
        verdict = Verdict(
            False, verdict.mesh, verdict.nodes, verdict.links, verdict.total, verdict.covered, (*wrong, *told)
        )
    warnings = (*topology.warnings, *preflight.warnings(observed.views), *target.warnings)
    return StatusResult(
        topology,
        verdict,
        rows(topology, observed.views, verdict, ids),
        (
            *warnings,
            *lowered_found(observed.views),
            *elections_off(observed.views),
            *marks_alone(observed.views),
        ),
    )


def _after(
    wrong: Sequence[Problem], reasons: Iterable[Problem], views: Mapping[str, View]
) -> Iterator[Problem]:
    """The reasons beside what `up` would refuse: without what follows from it, and with hints that hold."""
    ours = {view.id for view in views.values()}
    gone = any(problem.code == "ghost" for problem in wrong)
    for reason in reasons:
        if reason.code == "stranger":
            continue
        view = views.get(reason.node or "")
        if reason.code == "replica-out-of-sync" and gone and view and view.me.primary not in ours:
            continue
        up = reason.hint is not None and reason.hint.startswith("run 'clusterboot up'")
        yield replace(reason, hint=_FIRST) if up else reason


def _guess(topology: Topology, fleet: Asker, observed: Observed, ids: Mapping[str, str]) -> dict[str, str]:
    """The ids of nodes that do not answer, by the address under which the others list them."""
    taken = set(ids.values())
    by_address = {
        (peer.ip, peer.port): peer.id
        for view in observed.views.values()
        for peer in view.peers
        if peer.id not in taken and peer.ip
    }
    found: dict[str, str] = {}
    for node in topology.nodes:
        if node.name in observed.away:
            for host in (fleet.ip(node.name), node.host):
                if (host, node.port) in by_address:
                    found[node.name] = by_address[host, node.port]
            # An id that no node can have: it counts as not seen by anybody.
            found.setdefault(node.name, f"?{node.name}")
    return found
