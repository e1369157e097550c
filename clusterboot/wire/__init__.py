"""Connections to the nodes: names, TLS, sending commands, what an error reply or a failed connection means.

`client` is what the loop uses; `connection` is redis-py's connection, and the only one with its private names.

May import: topology, errors, addresses.
"""
