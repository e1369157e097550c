"""The life of a cluster with 200,000 keys and a 50 MB hash, while two verifying clients write and read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness.load import Data
from tests.harness.servers import Servers
from tests.servers.life import Life
from tests.servers.pool import Nodes

Start = Callable[..., Servers]
pytestmark = pytest.mark.soak

_EVEN = {0: 1, 1: 1, 2: 1}


def _life(start: Start, kind: str, count: int, folder: Path) -> Life:
    return Life(Nodes(start(kind, count), count, folder), Data(200_000, megabytes=50))


def test_with_replicas_from_three_to_four_to_six_and_back(
    server_kind: str, servers: Start, tmp_path: Path
) -> None:
    life = _life(servers, server_kind, 12, tmp_path)
    three = life.primaries(0, 1, 2) + life.replicas({6: 0, 7: 1, 8: 2})
    four = [*three, *life.primaries(3), *life.replicas({9: 3})]
    six = [*four, *life.primaries(4, 5), *life.replicas({10: 4, 11: 5})]
    life.form(three)
    with life.writing() as writers:
        writers.phase("4")
        life.change(four, {**_EVEN, 3: 1})
        writers.phase("6")
        life.change(six, {**_EVEN, 3: 1, 4: 1, 5: 1})
        writers.phase("weights")
        heavy = [{**entry, "weight": 3} if entry["name"] in ("n0", "n5") else entry for entry in six]
        life.change(heavy, {**_EVEN, 3: 1, 4: 1, 5: 3, 0: 3})
        writers.phase("back to 4")
        life.change(four, {**_EVEN, 3: 1}, retire=_addresses(life, 4, 5, 10, 11))
        writers.phase("back to 3")
        life.change(three, _EVEN, retire=_addresses(life, 3, 9))
    life.alone(3, 4, 5, 9, 10, 11)
    print(*writers.reports, sep="\n")


def _addresses(life: Life, *indexes: int) -> list[str]:
    return [life.addresses[index] for index in indexes]


def test_without_replicas_from_three_to_six_and_back(
    server_kind: str, servers: Start, tmp_path: Path
) -> None:
    life = _life(servers, server_kind, 6, tmp_path)
    life.form(life.primaries(0, 1, 2))
    with life.writing() as writers:
        writers.phase("6")
        life.change(life.primaries(0, 1, 2, 3, 4, 5), dict.fromkeys(range(6), 1))
        writers.phase("4")
        life.change(life.primaries(0, 1, 2, 3), {**_EVEN, 3: 1}, retire=life.addresses[4:])
        writers.phase("3")
        life.change(life.primaries(0, 1, 2), _EVEN, retire=life.addresses[3:4])
    life.alone(3, 4, 5)
    print(*writers.reports, sep="\n")
