"""Shopping baskets in a Redis or Valkey Cluster."""

from redis.cluster import RedisCluster


class Baskets:
    """The baskets of all customers."""

    def __init__(self, client: RedisCluster) -> None:
        self._client = client

    def put(self, customer: str, article: str, count: int = 1) -> None:
        """Add `count` of an article to a customer's basket and to the total."""
        # The braces are a hash tag: both keys are in one slot, as a transaction in a cluster requires.
        pipeline = self._client.pipeline(transaction=True)
        pipeline.hincrby(f"basket:{{{customer}}}", article, count)
        pipeline.incrby(f"articles:{{{customer}}}", count)
        pipeline.execute()

    def show(self, customer: str) -> dict[str, int]:
        """Return the count of each article in a customer's basket."""
        found = self._client.hgetall(f"basket:{{{customer}}}")
        return {article.decode(): int(count) for article, count in found.items()}

    def articles(self, customer: str) -> int:
        """Return the total number of articles in a customer's basket."""
        return int(self._client.get(f"articles:{{{customer}}}") or 0)
