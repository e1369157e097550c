"""One run: look at the nodes, compare, act, follow, end. `clusterboot.bootstrap` puts the parts together.

The nodes are behind a protocol (`observe.Asker`); only the helper process opens connections of its own.

May import: core, diagnosis, wire, topology, background, errors, wording.
"""
