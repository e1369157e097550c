"""Shopping baskets in a Redis or Valkey Cluster."""

from redis.cluster import RedisCluster


class Baskets:
    """The baskets of all customers."""

    def __init__(self, client: RedisCluster) -> None:
        self._client = client

    def put(self, customer: str, article: str, count: int = 1) -> None:
        """Put `count` of an article into a customer's basket, and count it for the shop."""
        # The braces are a hash tag: both keys are in one slot, which a transaction in a cluster needs.
        pipeline = self._client.pipeline(transaction=True)
        pipeline.hincrby(f"basket:{{{customer}}}", article, count)
        pipeline.incrby(f"articles:{{{customer}}}", count)
        pipeline.execute()

    def show(self, customer: str) -> dict[str, int]:
        """Return how many of which articles are in a customer's basket."""
        found = self._client.hgetall(f"basket:{{{customer}}}")
        return {article.decode(): int(count) for article, count in found.items()}

    def articles(self, customer: str) -> int:
        """Return how many articles are in a customer's basket."""
        return int(self._client.get(f"articles:{{{customer}}}") or 0)
