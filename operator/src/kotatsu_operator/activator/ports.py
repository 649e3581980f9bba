"""The ports on which an activator listens for pools; all namespaces share them."""

import asyncio
import errno
import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator

FIRST, LAST = 10_240, 32_767
"""The kernel takes the ports of outgoing connections from those above, and so leaves these free."""


class PortsTakenError(OSError):
    """A namespace has its share of the ports."""


class Ports:
    """The ports of one activator.

    While more than a quarter of them is free, every namespace gets one. Then only a namespace that
    has less than a sixteenth does: a tenant with Services of a thousand ports leaves the others
    some.
    """

    def __init__(self, first: int = FIRST, last: int = LAST) -> None:
        self._count = last - first + 1
        # A port that was given back comes last: clients may still know it.
        start = random.randrange(self._count)  # noqa: S311  (no secret)
        numbers = itertools.cycle(range(first, last + 1))
        self._numbers: Iterator[int] = itertools.islice(numbers, start, None)
        self._taken: Counter[str] = Counter()

    async def listen(
        self,
        namespace: str,
        make: Callable[[], asyncio.BaseProtocol],
        address: str | None,
        number: int | None = None,
    ) -> asyncio.Server:
        """A listener of a namespace, on a number that is free or on this one; see `give_back`.

        Raises PortsTakenError, and OSError, OverflowError or ValueError for a number that cannot be
        bound.
        """
        if number is None and not self._has_one_for(namespace):
            raise PortsTakenError(
                f"namespace {namespace} has {self._taken[namespace]} ports of this activator, and "
                f"{self._count - self._taken.total()} are left for all others: its further pools "
                "stay awake; delete pools, or ports of their Services"
            )
        self._taken[namespace] += 1
        loop = asyncio.get_running_loop()
        try:
            for _ in range(self._count):
                wanted = next(self._numbers) if number is None else number
                try:
                    return await loop.create_server(make, address, wanted, backlog=4096)
                except OSError as error:
                    if number is not None or error.errno != errno.EADDRINUSE:
                        raise
            raise PortsTakenError("other programs have all ports of this activator")
        except BaseException:
            self.give_back(namespace)
            raise

    def _has_one_for(self, namespace: str) -> bool:
        free = self._count - self._taken.total()
        is_small = self._taken[namespace] < self._count // 16
        return free > (0 if is_small else self._count // 4)

    def give_back(self, namespace: str) -> None:
        """A listener of a namespace is closed."""
        self._taken[namespace] -= 1
        if not self._taken[namespace]:
            del self._taken[namespace]
