"""What the boost lowers, how far, where, and how the node's own values are kept in the node itself. Pure.

Forming a cluster waits for gossip, and gossip waits for cluster-node-timeout; a replica's first sync
waits for its primary's repl-diskless-sync-delay, and on Valkey 9 for the replica's once-a-second cron
to find that its data has come, unless it loads it from the socket (repl-diskless-load). All of them
take effect at once and can be restored. A low timeout takes a node that stalls for a moment for a
failed one, so elections are off for as long as timeouts are low.

The own values of a node are encoded in one number, the mark, which is its cluster-migration-barrier
meanwhile: so any later run on any machine can restore them. A barrier as high as that only stops
replica migration, which nobody wants while a cluster forms (clusterHandleReplicaMigration).
"""

from __future__ import annotations

from collections.abc import Mapping

from clusterboot.core.views import View, number
from clusterboot.errors import Exit, Problem
from clusterboot.topology import Topology
from clusterboot.wording import count, listed, shortened

TIMEOUT = "cluster-node-timeout"
DELAY = "repl-diskless-sync-delay"
LOAD = "repl-diskless-load"
NO_FAILOVER = "cluster-replica-no-failover"
BARRIER = "cluster-migration-barrier"

# In this order they are lowered, and the other way round restored, where a server cannot take all of them in
# one step: a low timeout never stands without the mark, nor with elections on.
SETTINGS = (BARRIER, NO_FAILOVER, DELAY, LOAD, TIMEOUT)

# For how long a nudge lasts: nodes look whom to ping every 100 ms (clusterCron).
NUDGE_SECONDS = 0.25

# The lowest mark, and the bounds of what is encoded in it: the highest mark is below 2**31, the limit
# of cluster-migration-barrier on all servers.
_LOWEST = 1_100_000_000
_TIMEOUTS, _DELAYS, _BARRIERS, _BITS = 1_000_000, 32, 8, 4
_FLAG_BIT, _LOAD_BIT = 1, 2

# Every lowered timeout ends in these milliseconds. It tells a lowered timeout from one that somebody
# set while it was low; alone it says nothing, since a user may have such a timeout.
_ENDING = 37

# Up to this size links are made so soon that one low timeout is enough.
_ONE_STAGE = 80

Settings = Mapping[str, str]


def lowered(count: int) -> dict[str, str]:
    """Return what is lowered on `count` nodes, and how far; the mark is not in it.

    A timeout too low for the size drowns the nodes in pings, whose number grows with its square, and
    flags healthy nodes as failing. Where many nodes share a machine, making all the links keeps it busy
    for seconds, and a handshake that takes longer than the timeout is begun anew: 150 Redis 7.0 nodes on
    2 cores took 8 s with a high timeout while links were made, 14 s with 4.5 s, and went round in
    circles for 80 s with 2.5 s. So large clusters are nudged later (`Boost.nudge`).
    """
    timeout = 500 if count <= 16 else 900 if count <= _ONE_STAGE else 14_000
    return {NO_FAILOVER: "yes", DELAY: "0", LOAD: "on-empty-db", TIMEOUT: str(timeout + _ENDING)}


_LOW = lowered(1)


def nudged(count: int) -> int | None:
    """Return the timeout that makes `count` nodes ping each other at once, or None where none is needed."""
    return None if count <= _ONE_STAGE else 2000 + _ENDING


def eased(timeout: int) -> int:
    """Return a fourfold `timeout` in milliseconds, for nodes that are too busy for the one they have."""
    return timeout // 100 * 400 + _ENDING


def own_values(view: View, config: Settings) -> dict[str, str]:
    """Return the own values of the settings that are to be lowered on a node, out of its `config`.

    On a node that another run has lowered they are what it would be restored to. Elections that the user
    has switched off are not in it, nor is a `repl-diskless-load` of the user's own choice; only Valkey gains
    by that one.
    """
    config = {**config, **restored(config)}
    own = {key: config[key] for key in (BARRIER, DELAY, TIMEOUT) if key in config}
    if config.get(NO_FAILOVER) == "no":
        own[NO_FAILOVER] = "no"
    if view.kind == "valkey" and config.get(LOAD) == "disabled":
        own[LOAD] = "disabled"
    return own


def mark(own: Settings) -> str | None:
    """Return the mark that keeps `own`, or None where a value is missing or does not fit."""
    if too_large(own) is not None or TIMEOUT not in own or BARRIER not in own:
        return None
    encoded = number(own[TIMEOUT]) * _DELAYS + number(own.get(DELAY, "0"))
    encoded = encoded * _BARRIERS + number(own[BARRIER])
    bits = _FLAG_BIT * (NO_FAILOVER in own) + _LOAD_BIT * (LOAD in own)
    return str(_LOWEST + encoded * _BITS + bits)


def too_large(own: Settings) -> str | None:
    """Return the setting whose value does not fit into a mark, or None."""
    bounds = {TIMEOUT: _TIMEOUTS, DELAY: _DELAYS, BARRIER: _BARRIERS}
    for key, bound in bounds.items():
        if key in own and not (own[key].isdigit() and number(own[key]) < bound):
            return key
    return None


def kept(now: Settings) -> dict[str, str] | None:
    """Return the own values that the mark of a node keeps, or None where nothing of ours is on it.

    Two values together tell that: a mark, and either elections off or a timeout as the boost sets it.
    One alone is the user's.
    """
    value = number(now.get(BARRIER, "")) - _LOWEST
    if not 0 <= value < _TIMEOUTS * _DELAYS * _BARRIERS * _BITS:
        return None
    if now.get(NO_FAILOVER) != "yes" and not _low(now.get(TIMEOUT, "")):
        return None
    value, bits = divmod(value, _BITS)
    value, barrier = divmod(value, _BARRIERS)
    timeout, delay = divmod(value, _DELAYS)
    own = {TIMEOUT: str(timeout), DELAY: str(delay)}
    if bits & _LOAD_BIT:
        own[LOAD] = "disabled"
    if bits & _FLAG_BIT:
        own[NO_FAILOVER] = "no"
    return own | {BARRIER: str(barrier)}


def _low(timeout: str) -> bool:
    return number(timeout) % 100 == _ENDING


def timeout_to_restore(now: Settings) -> dict[str, str]:
    """Return the timeout to set first on a node whose elections stay off meanwhile; empty: none."""
    own = kept(now)
    if own is None or not _low(now.get(TIMEOUT, "")) or now[TIMEOUT] == own[TIMEOUT]:
        return {}
    # Without the flag the timeout is half of what tells a mark: all is restored in one step then.
    return {TIMEOUT: own[TIMEOUT]} if now.get(NO_FAILOVER) == "yes" else restored(now)


def restored(now: Settings) -> dict[str, str]:
    """Return everything to set on a node so that it has its own values again; empty: nothing.

    A value that is not as the boost sets it was set by somebody meanwhile, and stays. The timeout is in
    it also when it is back already: another run may lower it at this very moment.
    """
    own = kept(now)
    if own is None:
        return {}
    back = {
        TIMEOUT: _low(now.get(TIMEOUT, "")) or now.get(TIMEOUT) == own[TIMEOUT],
        **{key: now.get(key) == _LOW[key] for key in (DELAY, LOAD, NO_FAILOVER)},
        BARRIER: True,
    }
    return {key: own[key] for key, is_ours in back.items() if is_ours and key in own}


def marked_again(own: Settings, now: Settings) -> dict[str, str]:
    """Return what to set on a node that has no mark any more and that this very run has lowered.

    Somebody has set the barrier, or all else that tells a mark. As long as elections or the timeout are as
    the boost sets them, it is the mark again, with the barrier as it is now; else what is still ours.
    """
    if kept(now) is not None:
        return {}
    ours = {
        NO_FAILOVER: now.get(NO_FAILOVER) == "yes",
        TIMEOUT: _low(now.get(TIMEOUT, "")),
        **{key: now.get(key) == _LOW[key] for key in (DELAY, LOAD)},
        BARRIER: now.get(BARRIER) == mark(own),
    }
    back = {key: own[key] for key in ours if ours[key] and key in own and now[key] != own[key]}
    marked = mark({**own, BARRIER: now.get(BARRIER, "")})
    return {BARRIER: marked} if marked and (NO_FAILOVER in back or TIMEOUT in back) else back


def to_lower(own: Settings, timeout: int) -> dict[str, str] | None:
    """Return everything to set on a node for `timeout` ms, or None where its own values do not fit.

    It is always all of it: whatever another run restores at the same moment, a low timeout never stands
    without its mark and with elections on.
    """
    marked = mark(own)
    if marked is None:
        return None
    low = {key: _LOW[key] for key in (NO_FAILOVER, DELAY, LOAD) if key in own}
    return {BARRIER: marked, **low, TIMEOUT: str(min(timeout, number(own[TIMEOUT])))}


def refusal(topology: Topology, views: Mapping[str, View], *, wanted: bool, replicas: bool) -> str | None:
    """Return why there is to be no boost, or None when there may be one.

    Never on or next to nodes that serve: a node that joins them with low timers can fail over a
    primary that is merely slow. `replicas` tells whether the cluster is to have any: without the setting
    that switches elections off (before Redis 5.0) they could take over from a slow primary.
    """
    if not wanted or not topology.boost:
        return "switched off"
    serving = [name for name, view in views.items() if view.state_ok or view.keys]
    if serving:
        return f"{min(serving, key=lambda name: not views[name].me.slots)} already serves"
    for name, view in views.items():
        config = view.config
        if TIMEOUT not in config or BARRIER not in config:
            return f"CONFIG GET is refused by {name}"
        if replicas and NO_FAILOVER not in config:
            return f"{name} cannot switch elections off ({NO_FAILOVER} came with Redis 5.0)"
        if key := too_large(own_values(view, config)):
            return f"{name} has {key} {config[key]}, which a mark cannot keep"
    return None


def left_lowered(views: Mapping[str, View]) -> list[str]:
    """Return the nodes that have lowered settings of a run that is at work or was interrupted."""
    return [name for name, view in views.items() if kept(view.config) is not None]


def lowered_found(views: Mapping[str, View]) -> tuple[Problem, ...]:
    """Return a warning about nodes that have lowered settings of another run."""
    names = left_lowered(views)
    if not names:
        return ()
    return (
        Problem(
            "lowered-timers-found",
            f"{count(len(names), 'node has', 'nodes have')} lowered settings, with elections off, of a run "
            f"that is at work or was interrupted: {shortened(names)}.",
            node=names[0],
            hint="if no run is at work, 'clusterboot up' restores them",
            exit=Exit.DONE,
        ),
    )


def elections_off(views: Mapping[str, View]) -> tuple[Problem, ...]:
    """Return a warning about nodes whose elections are off and not by a boost: they are left as they are."""
    # It is also in the node's own line (since Redis 5.0), for users who may not read CONFIG.
    names = [
        name
        for name, view in views.items()
        if kept(view.config) is None
        and (view.config.get(NO_FAILOVER) == "yes" or "nofailover" in view.me.flags)
    ]
    if not names:
        return ()
    one = len(names) == 1
    never = "it does not take over when its primary fails"
    if not one:
        never = "they do not take over when their primaries fail"
    return (
        Problem(
            "elections-off",
            f"{shortened(names)} {'has' if one else 'have'} {NO_FAILOVER} yes: {never}.",
            node=names[0],
            hint=f"if that is not wanted: CONFIG SET {NO_FAILOVER} no on {listed(names)}, and the same in "
            "the configuration file",
            exit=Exit.DONE,
        ),
    )


def marks_alone(views: Mapping[str, View]) -> tuple[Problem, ...]:
    """Return a warning about nodes that have a barrier as high as a mark and nothing else of a boost.

    As after an interrupted run of which somebody has restored the rest by hand. It may be the user's own, so
    it is left as it is.
    """
    names = [
        name
        for name, view in views.items()
        if kept(view.config) is None and number(view.config.get(BARRIER, "")) >= _LOWEST
    ]
    if not names:
        return ()
    return (
        Problem(
            "migration-off",
            f"{shortened(names)} {'has' if len(names) == 1 else 'have'} {BARRIER} "
            f"{views[names[0]].config[BARRIER]}, as an interrupted run may leave it: no replica migrates.",
            node=names[0],
            hint=f"if that is not wanted: CONFIG SET {BARRIER} 1 (the servers' default) on {listed(names)}",
            exit=Exit.DONE,
        ),
    )
