"""The fixtures are part of clusterboot: `pip install 'clusterboot[embedded]'` is all they need."""

import pytest
from basket import Baskets

from clusterboot.pytest_plugin import RedisCluster


@pytest.fixture
def baskets(clean_redis_cluster: RedisCluster) -> Baskets:
    return Baskets(clean_redis_cluster.client())


def test_a_basket_keeps_its_articles(baskets: Baskets) -> None:
    baskets.put("ann", "tea")
    baskets.put("ann", "tea", 2)
    baskets.put("bob", "milk")
    assert baskets.show("ann") == {"tea": 3}
    assert baskets.articles("ann") == 3


def test_every_test_begins_with_empty_baskets(baskets: Baskets) -> None:
    assert baskets.show("ann") == {}


def test_customers_are_spread_over_the_whole_cluster(redis_cluster: RedisCluster) -> None:
    client = redis_cluster.client()
    nodes = {client.get_node_from_key(f"basket:{{customer-{number}}}").name for number in range(100)}
    assert len(nodes) == len(redis_cluster.nodes) == 3
