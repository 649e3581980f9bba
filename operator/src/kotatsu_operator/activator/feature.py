"""The contract of the activator's optional features: they answer requests in place of a pod."""

from collections.abc import Callable

from kotatsu_operator.activator.cache.pool import Pool
from kotatsu_operator.activator.context import Context


class Feature:
    """An optional part beside the connections of one pool. A feature overrides what it needs."""

    @property
    def are_waiting(self) -> bool:
        """Whether clients without a connection wait, so that the pool must wake.

        May be called from any thread.
        """
        return False

    def answer(self, _pool: Pool, _head: bytes) -> bytes | None:
        """The answer to a request (its complete head) while no pod answers; None: it is held."""
        return None


FeatureOf = Callable[[Context], Feature]
"""Makes the feature of one pool."""
