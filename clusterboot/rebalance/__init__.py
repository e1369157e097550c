"""The stages of `up --rebalance` on a cluster that serves: roles, slots with their keys, members that leave.

`take` does what `core.stages` has planned. The nodes are behind a protocol (`loop.observe.Asker`).

May import: loop, core, wire/replies, topology, slots, errors, wording.
"""
