"""Why replicas are out of sync, by INFO of both sides. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from clusterboot.addresses import Endpoint
from clusterboot.core.verdict import Verdict
from clusterboot.core.versions import out_of_sync
from clusterboot.core.views import View, number
from clusterboot.diagnosis.blocked import RUN_AGAIN
from clusterboot.diagnosis.bus import Evidence
from clusterboot.errors import Problem
from clusterboot.wording import shortened


def unsynced(views: Mapping[str, View], verdict: Verdict, evidence: Evidence) -> Iterator[Problem]:
    """Yield a problem for every replica that is out of sync."""
    for reason in verdict.reasons:
        name = reason.node
        if reason.code == "replica-out-of-sync" and name is not None and name in views:
            yield out_of_sync(reason, views) or _replica(reason, name, views[name], evidence)


def _replica(reason: Problem, name: str, view: View, evidence: Evidence) -> Problem:
    info = {**view.info, **evidence.replication.get(name, {})}
    primary = reason.peer or "its primary"
    of_primary = evidence.replication.get(primary, {})
    link = info.get("master_link_status", "unknown")
    where = Endpoint(info.get("master_host", ""), number(info.get("master_port", "")))
    to = str(where) if all(where) else primary

    def because(code: str, why: str, hint: str) -> Problem:
        message = f"{name} is not in sync with {primary}{why}."
        return replace(reason, code=code, message=message, hint=hint)

    # More than one for each replica: several first syncs at once are normal.
    if evidence.syncs.get(primary, 0) > max(1, number(of_primary.get("connected_slaves", ""))):
        return because(
            reason.code,
            f": full syncs start again and again and do not end (INFO stats of {primary}: sync_full grows)",
            f"look at the log of {name}: most likely its disk is full, or it cannot read what {primary} "
            "sends",
        )
    if primary in evidence.unsaved and link == "down":
        return because(
            reason.code,
            f": {primary} cannot save its data (rdb_last_bgsave_status:err in INFO persistence), and answers "
            "its replicas MISCONF then",
            f"look at the log of {primary}: most likely its disk is full or it lacks rights",
        )
    if info.get("master_sync_in_progress") == "1":
        return because(
            reason.code,
            " yet: a sync is in progress (INFO replication)",
            "wait until it is done: --timeout gives it longer",
        )
    if _waits(view, of_primary):
        # Without a delay it waits for another save.
        begins, sooner = "has not begun its sync, as while another save is under way", ""
        if delay := evidence.sync_delay.get(primary, 0):
            begins = f"begins a sync {delay} s after it is asked for one (repl-diskless-sync-delay)"
            sooner = f"; with CONFIG SET repl-diskless-sync-delay 0 on {primary} it begins at once"
        return because(
            "replica-waits",
            f" yet: {primary} {begins}, and {name} waits for that (state=wait_bgsave in INFO replication of "
            f"{primary})",
            f"wait for it: --timeout gives it longer{sooner}; if it goes on, look at the log of {name}",
        )
    denied = evidence.denied.get(primary, ())
    if denied and link == "down":
        return because(
            "replica-turned-away",
            f": its link to {to} is down (INFO replication), and {primary} has refused logins with "
            f"{shortened(denied)} (INFO errorstats): most likely masterauth or masteruser of {name} is not "
            f"what {primary} wants",
            f"set masterauth and masteruser on {name}; {RUN_AGAIN}",
        )
    never = ", never was up" if info.get("master_link_down_since_seconds") == "-1" else ""
    return because(
        reason.code,
        f": its link to {to} is {link}{never}, and no sync is in progress (INFO replication)",
        f"look at the log of {name}; check its masterauth and tls-replication, and the way to {to}",
    )


def _waits(view: View, primary: Mapping[str, str]) -> bool:
    """Whether a primary lists a replica as waiting for a sync to begin (INFO replication)."""
    for key, line in primary.items():
        if key.startswith("slave") and key[5:].isdigit():
            fields = dict(field.split("=", 1) for field in line.split(",") if "=" in field)
            its_port = number(fields.get("port", "")) == view.me.port
            if (
                its_port
                and fields.get("ip") in (view.ip, view.me.ip)
                and fields.get("state") == "wait_bgsave"
            ):
                return True
    return False
