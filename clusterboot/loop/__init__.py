"""One run: look at the nodes, compare, act, follow, end. `clusterboot.bootstrap` puts the parts together.

May import: core, diagnosis, wire, topology, background, errors, wording.
"""
