"""A cluster that serves while its file changes: what `up --rebalance` must have done, and must not have done.

Node `n` of the servers has the name `n0`, `n1`, … in the topology files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.harness import shards
from tests.harness.cli import Outcome, clusterboot
from tests.harness.load import Data
from tests.harness.ready import wait_ready, why_not_ready
from tests.harness.writer import Writers, writing
from tests.servers.pool import Nodes

# Low, so that a newcomer is ok and the first sync of a replica begins without seconds of waiting.
_QUICK = {"repl-diskless-sync-delay": "0", "cluster-node-timeout": "3000"}
# Seconds for one run; a whole soak of 200,000 keys takes less.
_LIMIT = 120.0

# How often a client may meet ASK to a node before anything has made that node known to it.
_MAX_LOST = 4

Entry = dict[str, Any]


class Life:
    """Nodes of a cluster, the data in it, and the file that it was last formed by."""

    def __init__(self, nodes: Nodes, data: Data) -> None:
        self.nodes = nodes
        self.data = data
        self.addresses = nodes.addresses
        self.quicken()
        self._settings = [self._configuration(index) for index in range(nodes.count)]

    def quicken(self) -> None:
        """Set what a server forgets when it is started again."""
        self.nodes.configure(_QUICK)

    def _configuration(self, index: int) -> dict[str, str]:
        """Return the settings of a node, but for whose replica it is."""
        flat = self.nodes.ok(index, "CONFIG", "GET", "*")
        found = dict(zip(flat[::2], flat[1::2], strict=True))
        return {name: value for name, value in found.items() if name not in ("slaveof", "replicaof")}

    def entry(self, index: int, **keys: object) -> Entry:
        """Return one node of a topology in the long form."""
        return {"name": f"n{index}", "host": "127.0.0.1", "port": self.nodes.ports[index], **keys}

    def primaries(self, *indexes: int, **keys: object) -> list[Entry]:
        return [self.entry(index, role="primary", **keys) for index in indexes]

    def replicas(self, of: Mapping[int, int]) -> list[Entry]:
        """Return entries of replicas: index → index of the primary."""
        return [self.entry(index, replica_of=f"n{primary}") for index, primary in of.items()]

    def file(self, entries: Sequence[Entry], **keys: object) -> Path:
        return self.nodes.file("life.yaml", nodes=list(entries), **keys)

    def form(self, entries: Sequence[Entry], **keys: object) -> None:
        """Form a cluster of `entries` and fill it."""
        outcome = clusterboot("up", self.file(entries, **keys))
        assert outcome.exit == 0, outcome
        self.data.fill(self.addresses[0])
        self.synced([entry["port"] for entry in entries])

    def synced(self, ports: Sequence[int]) -> None:
        """Wait until the nodes are Ready, replicas included."""
        wait_ready([f"127.0.0.1:{port}" for port in ports])

    def rebalance(self, file: Path, *flags: str, exit: int = 0, timeout: float = _LIMIT) -> Outcome:  # noqa: A002
        """Run `up --rebalance`, as JSON, and check its exit status."""
        outcome = clusterboot("up", file, "--rebalance", "-o", "json", *flags, timeout=timeout)
        assert outcome.exit == exit, outcome
        return outcome

    def change(self, entries: Sequence[Entry], weights: Mapping[int, float], **keys: object) -> Outcome:
        """Change the file, rebalance, and check everything; `weights` as in `settled`."""
        file = self.file(entries, **keys)
        outcome = self.rebalance(file)
        self.settled(file, entries, weights, outcome)
        return outcome

    def settled(
        self, file: Path, entries: Sequence[Entry], weights: Mapping[int, float], outcome: object = ""
    ) -> None:
        """Check that the cluster is as its file says, right now, and that one more run sends nothing.

        `weights` are the shares of the primaries by index.
        """
        members = [f"127.0.0.1:{entry['port']}" for entry in entries]
        one = members[0]
        reason = why_not_ready(members)
        assert reason is None, f"{reason}: {outcome!r}"
        wanted = {self.addresses[index]: weight for index, weight in weights.items()}
        problems = [
            *shards.open_slots(members),
            *shards.off_shares(one, wanted),
            *self.data.compare(one),
            *self.changed_settings(),
        ]
        assert not problems, f"{problems} {outcome!r}"
        status = clusterboot("status", file, "-o", "json")
        assert status.exit == 0, status
        before = shards.views(members)
        self.nodes.forget()
        again = self.rebalance(file)
        assert again.json()["steps"] == [], again
        assert again.json()["moved"]["slots"] == 0, again
        changes = self.nodes.changes()
        assert changes == {}, f"{changes} {again!r}"
        assert shards.views(members) == before, again
        self.synced([entry["port"] for entry in entries])
        problems = self.data.compare(one, replicas=True)
        assert not problems, f"{problems} {outcome!r}"

    def changed_settings(self) -> list[str]:
        """Return every setting of a node that is not as it was before the cluster was formed."""
        return [
            f"{self.addresses[index]} {name}: {value}, it was {before[name]}"
            for index, before in enumerate(self._settings)
            for name, value in self._configuration(index).items()
            if value != before[name]
        ]

    def alone(self, *indexes: int) -> None:
        """Check that nodes have left: each is on its own, without slots and keys."""
        for index in indexes:
            lines = self.nodes.ok(index, "CLUSTER", "NODES").splitlines()
            assert len(lines) == 1, lines
            assert len(lines[0].split()) == 8, lines
            assert self.nodes.ok(index, "DBSIZE") == 0

    def refuses(
        self,
        file: Path,
        code: str,
        *flags: str,
        exit: int = 3,  # noqa: A002
        members: Sequence[int] = (),
    ) -> Outcome:
        """Check that `up --rebalance` refuses with `code` ("" for any), and that nothing has changed."""
        alive = members or range(self.nodes.count)
        addresses = [self.addresses[index] for index in alive]
        before = shards.views(addresses)
        for index in alive:
            self.nodes.ok(index, "SLOWLOG", "RESET")
        outcome = self.rebalance(file, *flags, exit=exit)
        assert any(code in problem[0] for problem in outcome.named()), outcome
        sent = [self.nodes.servers.changing(index) for index in alive]
        assert not any(sent), f"{sent} {outcome!r}"
        assert shards.views(addresses) == before, outcome
        return outcome

    @contextmanager
    def writing(self) -> Iterator[Writers]:
        """Write for the length of the block; fails the test with every error and every wrong read."""
        with writing(self.addresses) as writers:
            yield writers
        assert writers.problems() == [], writers.reports
        # A defect of the libraries, see the writer; windows that grow slowly make it rare.
        assert sum(report.lost for report in writers.reports) <= _MAX_LOST, writers.reports
