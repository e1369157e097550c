"""Connections to the nodes: names, TLS, sending commands, what an error reply or a failed connection means.

`client` is what the loop uses; `connection` subclasses redis-py and has all that is private of it.

May import: topology, errors, addresses.
"""
