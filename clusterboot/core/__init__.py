"""What the nodes are, what they should be, what they lack, and the verdict.

Pure: no I/O, no clock, no asyncio.

views → placement → plan → health → verdict. `adopt` and `preflight` decide what an existing cluster keeps and
what is refused, `timers` what is lowered; commands and screens get `results` and `events`.

May import: errors, slots, wording, topology.
"""
