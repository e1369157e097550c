"""What the boost lowers, how far, where, and how a node keeps its own values meanwhile. Pure.

Gossip waits for cluster-node-timeout. A first sync waits for the primary's repl-diskless-sync-delay, and on
Valkey 9 for the replica's once-a-second cron, unless it loads from the socket (repl-diskless-load). While
timeouts are low elections are off: a node that stalls briefly would count as failed.

A node's own values are encoded in one number, the mark, set as its cluster-migration-barrier: any later run
on any machine can restore them. So high a barrier only stops replica migration, which is not wanted while a
cluster forms (clusterHandleReplicaMigration).
"""

from __future__ import annotations

from collections.abc import Mapping

from clusterboot.core.views import View, Views, number
from clusterboot.topology import Topology

TIMEOUT = "cluster-node-timeout"
DELAY = "repl-diskless-sync-delay"
LOAD = "repl-diskless-load"
NO_FAILOVER = "cluster-replica-no-failover"
BARRIER = "cluster-migration-barrier"
# Never lowered by the boost: `core.borrowed` has it.
MIGRATION = "cluster-allow-replica-migration"

# Lowered in this order, restored in reverse, where a server cannot set all in one step: a node never has a
# low timeout without the mark or with elections on.
SETTINGS = (BARRIER, MIGRATION, NO_FAILOVER, DELAY, LOAD, TIMEOUT)

# How long a nudge lasts: nodes decide every 100 ms which nodes to ping (clusterCron).
NUDGE_SECONDS = 0.25

# The lowest mark, and the bounds of its parts. Marks stay below 2**31, which is the limit of
# cluster-migration-barrier on all servers.
LOWEST_MARK = 1_100_000_000
_TIMEOUTS, _DELAYS, _BARRIERS, _BITS = 1_000_000, 32, 8, 4
_FLAG_BIT, _LOAD_BIT = 1, 2

# The last digits of every lowered timeout in ms: they tell it from one that a user set while it was low.
# Alone they mean nothing, since a user may have such a timeout.
_ENDING = 37

# Up to this many nodes links are made so fast that one low timeout is enough.
_MAX_NODES_WITHOUT_NUDGE = 80

Settings = Mapping[str, str]


def lowered(count: int) -> dict[str, str]:
    """Return the settings to lower on `count` nodes, without the mark.

    With a timeout too low for their number, nodes are busy with pings and flag healthy nodes as failing, and
    a handshake that takes longer than the timeout starts again: 150 Redis 7.0 nodes on 2 cores took 8 s with
    a high timeout while links were made, 14 s with 4.5 s, and repeated handshakes for 80 s with 2.5 s. So
    large clusters are nudged later (`Boost.nudge`).
    """
    timeout = 500 if count <= 16 else 900 if count <= _MAX_NODES_WITHOUT_NUDGE else 14_000
    return {NO_FAILOVER: "yes", DELAY: "0", LOAD: "on-empty-db", TIMEOUT: str(timeout + _ENDING)}


_LOW = lowered(1)


def nudged(count: int) -> int | None:
    """Return the timeout in ms with which `count` nodes ping each other at once; None: not needed."""
    return None if count <= _MAX_NODES_WITHOUT_NUDGE else 2000 + _ENDING


def eased(timeout: int) -> int:
    """Return four times the `timeout` in ms, for nodes that are too busy for the one that they have."""
    return timeout // 100 * 400 + _ENDING


def handshake_seconds(node_timeout: float) -> float:
    """Return after how many seconds a handshake has expired, at this cluster-node-timeout in seconds.

    Servers drop it after max(cluster-node-timeout, 1 s) and look each 100 ms (cluster_legacy.c, clusterCron).
    """
    return max(node_timeout, 1.0) + 0.3


def own_values(view: View, config: Settings) -> dict[str, str]:
    """Return a node's own values of the settings to lower, from its `config`.

    On a lowered node these are the values to restore. Elections that the user has switched off are left out,
    and so is a `repl-diskless-load` other than the default; lowering it only helps Valkey.
    """
    config = {**config, **restored(config)}
    own = {key: config[key] for key in (BARRIER, DELAY, TIMEOUT) if key in config}
    if config.get(NO_FAILOVER) == "no":
        own[NO_FAILOVER] = "no"
    if view.kind == "valkey" and config.get(LOAD) == "disabled":
        own[LOAD] = "disabled"
    return own


def mark(own: Settings) -> str | None:
    """Return the mark that encodes `own`, or None where a value is missing or does not fit."""
    if too_large(own) is not None or TIMEOUT not in own or BARRIER not in own:
        return None
    encoded = number(own[TIMEOUT]) * _DELAYS + number(own.get(DELAY, "0"))
    encoded = encoded * _BARRIERS + number(own[BARRIER])
    bits = _FLAG_BIT * (NO_FAILOVER in own) + _LOAD_BIT * (LOAD in own)
    return str(LOWEST_MARK + encoded * _BITS + bits)


def too_large(own: Settings) -> str | None:
    """Return the setting whose value does not fit into a mark, or None."""
    bounds = {TIMEOUT: _TIMEOUTS, DELAY: _DELAYS, BARRIER: _BARRIERS}
    for key, bound in bounds.items():
        if key in own and not (own[key].isdigit() and number(own[key]) < bound):
            return key
    return None


def kept(now: Settings) -> dict[str, str] | None:
    """Return the own values that the mark of a node encodes, or None where the node is not lowered.

    A lowered node has a mark, and elections off or a boost timeout; a user may have set one of them alone.
    """
    value = number(now.get(BARRIER, "")) - LOWEST_MARK
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
    """Return the timeout to restore first, while elections stay off; empty: none."""
    own = kept(now)
    if own is None or not _low(now.get(TIMEOUT, "")) or now[TIMEOUT] == own[TIMEOUT]:
        return {}
    # With elections on, only the timeout shows that the node is lowered: restore all in one step.
    return {TIMEOUT: own[TIMEOUT]} if now.get(NO_FAILOVER) == "yes" else restored(now)


def restored(now: Settings) -> dict[str, str]:
    """Return everything to set on a node to restore its own values; empty: nothing.

    A value that a user has changed meanwhile stays. The timeout is included even if it is restored already:
    another run may be lowering it.
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
    """Return what to set on a node that this run has lowered but that no longer counts as lowered.

    A user has changed the barrier or another setting. While elections or the timeout are as the boost sets
    them, this is a new mark with the present barrier; else the own values of what is still lowered.
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

    Always all settings: even if another run restores at the same moment, the node never has a low timeout
    without its mark and with elections on.
    """
    marked = mark(own)
    if marked is None:
        return None
    low = {key: _LOW[key] for key in (NO_FAILOVER, DELAY, LOAD) if key in own}
    return {BARRIER: marked, **low, TIMEOUT: str(min(timeout, number(own[TIMEOUT])))}


def why_no_boost(topology: Topology, views: Views, *, wanted: bool, replicas: bool) -> str | None:
    """Return why there is no boost, or None when there may be one.

    Never near nodes that serve: with low timers a joining node can fail over a primary that is only slow. If
    there will be `replicas`, elections must be switched off, which needs Redis 5.0.
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
