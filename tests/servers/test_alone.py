"""Two runs with `--rebalance` at once, on real servers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from clusterboot.errors import Refused
from clusterboot.rebalance.alone import alone
from tests.harness.asking import asking
from tests.servers.pool import Nodes

# The soak has the other kinds.
NORMAL_KINDS = {"valkey91"}

Take = Callable[[int], Nodes]


def names(cluster: Nodes, index: int) -> list[str]:
    """How the connections of runs call themselves."""
    words = str(cluster.ok(index, "CLIENT", "LIST")).split()
    return [word[5:] for word in words if word.startswith("name=clusterboot:")]


def test_the_second_is_refused_until_the_first_has_ended(nodes: Take) -> None:
    cluster = nodes(4)

    async def run() -> None:
        async with asking(cluster.addresses) as (first, views), asking(cluster.addresses) as (second, _):
            async with alone(first, views):
                assert sum(bool(names(cluster, index)) for index in range(4)) == 3
                with pytest.raises(Refused) as refused:
                    async with alone(second, views):
                        raise AssertionError
                assert [problem.code for problem in refused.value.problems] == ["rebalance-running"]
                assert sum(len(names(cluster, index)) for index in range(4)) == 3
            assert not any(names(cluster, index) for index in range(4))
            async with alone(second, views):
                assert sum(len(names(cluster, index)) for index in range(4)) == 3

    asyncio.run(run())


def test_of_many_at_the_same_moment_one_goes_on(nodes: Take) -> None:
    cluster = nodes(3)
    inside = most = ended = 0

    async def run() -> None:
        nonlocal inside, most, ended
        async with asking(cluster.addresses) as (fleet, views), alone(fleet, views):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(2.5)  # longer than anybody looks again
            inside -= 1
            ended += 1

    async def all_of_them() -> list[BaseException | None]:
        return await asyncio.gather(*(run() for _ in range(5)), return_exceptions=True)

    results = asyncio.run(all_of_them())
    assert (most, ended) == (1, 1)
    assert sum(isinstance(result, Refused) for result in results) == 4


def test_a_lost_connection_is_named_again_unless_somebody_else_was_first(nodes: Take) -> None:
    cluster = nodes(3)

    async def run() -> None:
        async with (
            asking(cluster.addresses) as (first, views),
            asking(cluster.addresses) as (second, _),
            alone(first, views) as only,
        ):
            await first.close()
            await only.keep()
            assert all(len(names(cluster, index)) == 1 for index in range(3))
            await first.close()
            async with alone(second, views):
                with pytest.raises(Refused):
                    await only.keep()

    asyncio.run(run())
