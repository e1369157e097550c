"""Why a cluster is not Ready: missing bus connections, and one sentence per cause. Pure, as `core`.

May import: addresses, core, topology, errors, wording.
"""
