"""Throwaway clusters: servers on free ports, one cluster, and nothing left of them when the command ends.

May import: bootstrap, loop, local, disk, wire, core, topology, background, wording, addresses, errors.
"""
