"""One run: look at the nodes, compare, act, follow, end. `clusterboot.bootstrap` puts the parts together.

The nodes are behind a protocol (`observe.Asker`). Only the helper process uses the client itself.

May import: core, diagnosis, wire, topology, background, errors, wording.
"""
