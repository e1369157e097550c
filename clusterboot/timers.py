"""What the boost lowers, how far, where, and how a later run tells what is left of it. Pure.

Forming a cluster waits for gossip, and gossip waits for cluster-node-timeout; a replica's first sync
waits for its primary's repl-diskless-sync-delay, and on Valkey 9 for the replica's once-a-second cron
to find that its data has come, unless it loads it from the socket (repl-diskless-load). All of them
take effect at once and can be set back. A low timeout takes a node that stalls for a moment for a
failed one, so elections are switched off for as long as timeouts are low.
"""

from __future__ import annotations

from collections.abc import Mapping

from clusterboot.nodes import View, number
from clusterboot.topology import Topology

TIMEOUT = "cluster-node-timeout"
DELAY = "repl-diskless-sync-delay"
LOAD = "repl-diskless-load"
NO_FAILOVER = "cluster-replica-no-failover"

# What servers start with (redis.conf and valkey.conf), for nodes whose old values nobody knows any more.
DEFAULTS = {TIMEOUT: "15000", DELAY: "5", LOAD: "disabled", NO_FAILOVER: "no"}

# Beside the old values in a record: which process of the server had them.
RUN_ID = "run_id"

# For how long a nudge lasts: nodes look whom to ping every 100 ms (clusterCron).
NUDGE_SECONDS = 0.25

# Every lowered timeout ends in these milliseconds, and no sensible one of a user does: so a value of
# ours is recognised by a later run and never taken for an old one.
_MARK = 37

# Up to so many nodes links are made so soon that one low timeout does for all.
_ONE_STAGE = 80

Settings = Mapping[str, str]


def lowered(count: int) -> dict[str, str]:
    """Return the settings for bootstrapping `count` nodes, in the order in which they are sent.

    A timeout too low for the size drowns the nodes in pings, whose number grows with its square, and
    flags healthy nodes as failing. Where many nodes share a machine, making all the links keeps it busy
    for seconds, and a handshake that takes longer than the timeout is begun anew: 150 Redis 7.0 nodes on
    2 cores took 8 s with a high timeout while links were made, 14 s with 4.5 s, and went round in
    circles for 80 s with 2.5 s. So large clusters are nudged later (`Boost.nudge`).
    """
    timeout = 500 if count <= 16 else 900 if count <= _ONE_STAGE else 14_000
    return {NO_FAILOVER: "yes", DELAY: "0", LOAD: "on-empty-db", TIMEOUT: str(timeout + _MARK)}


def nudged(count: int) -> str | None:
    """Return the timeout that makes `count` nodes ping each other at once, or None where none is needed."""
    return None if count <= _ONE_STAGE else str(2000 + _MARK)


def eased(timeout: int) -> int:
    """Return a fourfold `timeout` in milliseconds, for nodes that are too busy for the one they have."""
    return timeout // 100 * 400 + _MARK


def ours(config: Settings) -> bool:
    """Whether a node's cluster-node-timeout is one that a boost has set."""
    return number(config.get(TIMEOUT, "")) % 100 == _MARK


def refusal(topology: Topology, views: Mapping[str, View], *, wanted: bool) -> str | None:
    """Return why there is to be no boost, or None when there may be one.

    Never on or next to nodes that serve: a node that joins them with low timers can fail over a
    primary that is merely slow.
    """
    if not wanted or not topology.boost:
        return "switched off"
    serving = [name for name, view in views.items() if view.state_ok or view.keys]
    if serving:
        return f"{serving[0]} already serves"
    if any(TIMEOUT not in view.config for view in views.values()):
        return "CONFIG GET is refused by " + next(n for n, v in views.items() if TIMEOUT not in v.config)
    return None


def loan(view: View, config: Settings) -> dict[str, str]:
    """Return which settings of a node are to be lowered, with its own values, out of its `config`.

    Only Valkey gains by `repl-diskless-load`, and a value of the user's own choice is left alone.
    """
    wanted = {key: config[key] for key in lowered(1) if key in config}
    if view.kind != "valkey" or wanted.get(LOAD) != DEFAULTS[LOAD]:
        wanted.pop(LOAD, None)
    return wanted


def left_behind(view: View, record: Settings, *, marked: bool) -> tuple[dict[str, str], bool]:
    """Return the old values of what an earlier run left lowered on a node, and whether they are guessed.

    `record` is what that run wrote down of the node, empty where there is none; `marked` tells that some
    node has a timeout of ours.
    """
    now = {key: view.config[key] for key in DEFAULTS if key in view.config}
    # What a boost of any size sets besides the timeout, as far as the node has it now.
    low = {key: now[key] for key, value in lowered(1).items() if key != TIMEOUT and now.get(key) == value}
    if view.kind != "valkey":
        low.pop(LOAD, None)
    if ours(now):
        if record:
            return {key: record[key] for key in now if key in record}, False
        return {key: DEFAULTS[key] for key in (*low, TIMEOUT)}, True
    # Elections are allowed again last. A server that was started since has settings of its own.
    same = record.get(RUN_ID, "") in ("", view.info.get(RUN_ID, ""))
    if record and same and NO_FAILOVER in low and record.get(NO_FAILOVER) == "no":
        return {key: record[key] for key in now if key in record}, False
    # The timeout, which alone can be told to be ours, is lowered last: cut off before that.
    if marked and not record and low.keys() >= {NO_FAILOVER, DELAY}:
        return {key: DEFAULTS[key] for key in low}, True
    return {}, False
