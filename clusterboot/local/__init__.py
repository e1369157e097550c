"""Local servers: find a binary, start servers on loopback, keep them on record, stop exactly those.

May import: disk, topology, wording, addresses, errors.
"""
