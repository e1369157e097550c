"""Throwaway clusters: servers on free ports, one cluster, and nothing left when the command ends.

May import: bootstrap, loop, local, disk, wire, core, topology, background, errors.
"""
