"""One run: look at the nodes, compare, act, follow, end. `clusterboot.bootstrap` puts the parts together.

The nodes are known through a protocol with two methods (`observe.Asker`); only the helper process, which
outlives clusterboot, opens connections of its own.

May import: core, diagnosis, wire, topology, background, errors, wording.
"""
