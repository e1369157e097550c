"""The ledger of borrowed settings, kept in the state folder: what to put back after a SIGKILL."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from clusterboot import state
from clusterboot.topology import Topology

_WAIT = 2.0  # seconds for another run to finish writing the same record


class FileLedger:
    """One record per set of nodes; what several runs wrote down is recalled together."""

    def __init__(self, topology: Topology) -> None:
        """Take the topology whose addresses name the record."""
        addresses = "\n".join(sorted(node.address for node in topology.nodes))
        self._key = hashlib.sha256(addresses.encode()).hexdigest()[:16]

    def recall(self) -> Mapping[str, Mapping[str, str]]:
        """Return the old settings by node address that no run has put back yet."""
        found, _ = state.records("borrowed")
        merged: dict[str, Mapping[str, str]] = {}
        for record in found.values():
            for address, settings in record.items():
                if isinstance(settings, dict):
                    merged.setdefault(address, {str(k): str(v) for k, v in settings.items()})
        return merged

    def remember(self, settings: Mapping[str, Mapping[str, str]]) -> None:
        """Write down old settings; what is written already stays, since it is older and so the true one."""
        with state.locked("borrowed", self._key, wait=_WAIT) as record:
            record.write({**settings, **(record.read() or {})})

    def forget(self, addresses: Iterable[str]) -> None:
        """Cross out addresses; a record that is empty then is removed."""
        gone = set(addresses)
        found, _ = state.records("borrowed")
        for key, addressed in found.items():
            if gone.isdisjoint(addressed):
                continue
            # Also in the records of other sets of nodes: the topology may have grown since.
            with state.locked("borrowed", key, wait=_WAIT) as record:
                left = {address: old for address, old in (record.read() or {}).items() if address not in gone}
                if left:
                    record.write(left)
                else:
                    record.delete()
