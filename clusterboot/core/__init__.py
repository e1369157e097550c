"""What the nodes are, what they should be, what they lack, and the verdict.

Pure: no I/O, no clock, no asyncio.

views → placement → plan → health. `adopt` and `preflight` decide what an existing cluster keeps and what is
refused; `timers` what is lowered; `results` and `events` are what the commands and the screen get.

May import: errors, slots, wording, topology.
"""
