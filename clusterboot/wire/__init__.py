"""Connections to the nodes: names, TLS, sending commands, what an error reply or a failed connection means.

`client` is the only module that imports redis-py.

May import: topology, errors.
"""
