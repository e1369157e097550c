"""The settings that a run borrows: of any node, which are borrowed and what gives them back. Pure.

`core.timers` lowers timers while a cluster forms. On a cluster that serves, two settings are held instead:
    elections off    on a replica that is sent to another shard, until its sync is done: what it holds until
                     then is the old shard's (cluster-replica-no-failover, since Redis 5.0)
    migration off    on a primary that loses its last slot, and its replicas: they would become replicas of
                     the last taker, with a full sync each (cluster-allow-replica-migration, since Redis 6.2)

The mark of a held node is a number of its own in cluster-migration-barrier: which settings are borrowed, and
the node's own barrier. Timers are not touched, so it has no room for them, and few numbers are such marks.
"""

from __future__ import annotations

from collections.abc import Iterator

from clusterboot.core import timers
from clusterboot.core.timers import BARRIER, MIGRATION, NO_FAILOVER, TIMEOUT, Settings
from clusterboot.core.views import Views, number
from clusterboot.errors import Problem, warning
from clusterboot.wording import agree, count, listed, shortened

# The marks of held nodes: far below those of the boost, far above any barrier that does something.
_LOWEST = 60_000_000
_BARRIERS, _BITS = 1_000_000, 4
_ELECTIONS_BIT, _MIGRATION_BIT = 1, 2
# What is borrowed: own value, and value while it is held.
_HELD = {MIGRATION: ("yes", "no"), NO_FAILOVER: ("no", "yes")}


def own_to_hold(now: Settings, *, elections: bool, migration: bool) -> dict[str, str]:
    """Return a node's own values of the settings to hold, and of the barrier; empty: there is none to hold.

    What another run holds stays held: it is ours to give back then. What the user has switched off, and what
    the server does not have, is left out.
    """
    before = {**now, **restored(now)}
    held = kept(now) or {}
    wanted = {NO_FAILOVER: elections or NO_FAILOVER in held, MIGRATION: migration or MIGRATION in held}
    own = {key: value for key, (value, _) in _HELD.items() if wanted[key] and before.get(key) == value}
    return {**own, BARRIER: before[BARRIER]} if own and BARRIER in before else {}


def to_hold(own: Settings, now: Settings) -> dict[str, str] | None:
    """Return everything to set on a node to hold `own`, or None where a mark cannot keep its barrier.

    Timers that another run has left lowered are restored in the same step: the new mark does not have them.
    """
    marked = mark(own)
    if marked is None:
        return None
    wanted = {**restored(now), BARRIER: marked, **{key: _HELD[key][1] for key in _HELD if key in own}}
    return {key: wanted[key] for key in timers.SETTINGS if key in wanted}


def mark(own: Settings) -> str | None:
    """Return the mark of a held node, or None where its own barrier does not fit."""
    barrier = own.get(BARRIER, "")
    if not (barrier.isdigit() and number(barrier) < _BARRIERS):
        return None
    bits = _ELECTIONS_BIT * (NO_FAILOVER in own) + _MIGRATION_BIT * (MIGRATION in own)
    return str(_LOWEST + number(barrier) * _BITS + bits)


def kept(now: Settings) -> dict[str, str] | None:
    """Return the own values that the mark of a node encodes, or None where nothing is borrowed.

    A node with a mark and a value that the mark says is borrowed; a user may have set one of them alone.
    """
    lowered = timers.kept(now)
    if lowered is not None:
        return lowered
    value = number(now.get(BARRIER, "")) - _LOWEST
    if not 0 <= value < _BARRIERS * _BITS:
        return None
    barrier, bits = divmod(value, _BITS)
    named = {MIGRATION: bits & _MIGRATION_BIT, NO_FAILOVER: bits & _ELECTIONS_BIT}
    own = {key: _HELD[key][0] for key, bit in named.items() if bit}
    if not any(now.get(key) == _HELD[key][1] for key in own):
        return None
    return {**own, BARRIER: str(barrier)}


def restored(now: Settings) -> dict[str, str]:
    """Return everything to set on a node to restore its own values, the mark last; empty: nothing.

    A value that a user has changed meanwhile stays.
    """
    own = kept(now)
    if own is None or TIMEOUT in own:
        return timers.restored(now)
    back = {key: own[key] for key in (NO_FAILOVER, MIGRATION) if key in own and now.get(key) == _HELD[key][1]}
    return {**back, BARRIER: own[BARRIER]}


def marked_again(own: Settings, now: Settings) -> dict[str, str]:
    """Return what to set on a node that this run has lowered or holds but that has lost its mark.

    For a held node a new mark with the present barrier, or nothing if the user has set all else back.
    """
    if TIMEOUT in own:
        return timers.marked_again(own, now)
    if kept(now) is not None:
        return {}
    back = {key: own[key] for key in (NO_FAILOVER, MIGRATION) if key in own and now.get(key) == _HELD[key][1]}
    if not back:
        return {BARRIER: own[BARRIER]} if now.get(BARRIER) == mark(own) else {}
    marked = mark({**back, BARRIER: now.get(BARRIER, "")})
    return {BARRIER: marked} if marked else back


def _is_mark(barrier: str) -> bool:
    """Whether a run sets such a barrier."""
    value = number(barrier)
    held = 0 <= value - _LOWEST < _BARRIERS * _BITS and value % _BITS > 0
    return held or value >= timers.LOWEST_MARK


def waits_for_sync(now: Settings) -> bool:
    """Whether the elections of a node are held, which they should be until it has the data of its shard."""
    own = kept(now)
    return own is not None and TIMEOUT not in own and NO_FAILOVER in own


def left_lowered(views: Views) -> list[str]:
    """Return the nodes with lowered settings, of a run that is at work or was interrupted."""
    return [name for name, view in views.items() if kept(view.config) is not None]


def lowered_found(views: Views) -> Iterator[Problem]:
    """Yield a warning if nodes have lowered settings of another run."""
    lowered = [name for name, view in views.items() if timers.kept(view.config) is not None]
    held = [name for name in left_lowered(views) if name not in lowered]
    for names, what in (
        (lowered, "lowered settings, with elections off"),
        (held, "elections or replica migration off"),
    ):
        if names:
            yield warning(
                "lowered-timers-found",
                f"{count(len(names), 'node has', 'nodes have')} {what}, set by a run that is still active or "
                f"was interrupted: {shortened(names)}.",
                names[0],
                hint="if no other run is active, 'clusterboot up' restores them",
            )


def set_by_users(views: Views) -> Iterator[Problem]:
    """Yield warnings about elections that are off and about a mark alone, on nodes that are not lowered."""
    others = {name: view for name, view in views.items() if kept(view.config) is None}
    # The flag in the node's own line (since Redis 5.0) is for users that may not read CONFIG.
    if names := [
        name
        for name, view in others.items()
        if view.config.get(NO_FAILOVER) == "yes" or "nofailover" in view.me.flags
    ]:
        never = "they do not take over when their primaries fail"
        if len(names) == 1:
            never = "it does not take over when its primary fails"
        yield warning(
            "elections-off",
            f"{shortened(names)} {agree('has', names)} {NO_FAILOVER} yes: {never}.",
            names[0],
            hint=f"if that is not wanted: CONFIG SET {NO_FAILOVER} no on {listed(names)}, and the same in "
            "the configuration file",
        )
    # Left when a user restores the rest of an interrupted run by hand; or the user's own value.
    if names := [name for name, view in others.items() if _is_mark(view.config.get(BARRIER, ""))]:
        yield warning(
            "migration-off",
            f"{shortened(names)} {agree('has', names)} {BARRIER} "
            f"{views[names[0]].config[BARRIER]}, as an interrupted run may leave it: no replica migrates.",
            names[0],
            hint=f"if that is not wanted: CONFIG SET {BARRIER} 1 (the servers' default) on {listed(names)}",
        )
