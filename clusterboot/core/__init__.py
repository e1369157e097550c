"""What the nodes are, should be and lack, and the verdict. Pure: no I/O, no clock, no asyncio.

views → placement → plan → health → verdict; `adopt` and `preflight` decide what is kept and what is refused.
May import: addresses, errors, slots, wording, topology.
"""
