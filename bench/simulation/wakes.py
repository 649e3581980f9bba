"""Requests to sleeping pools, sent as kube-proxy would lead them."""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from http1 import Client, request
from simulation.install import Endpoint, Install, Pool

GET = request("GET", "/", Connection="close")


@dataclass(frozen=True)
class Wake:
    """A request to a sleeping pool."""

    pool: Pool
    seconds: float
    at: datetime
    """When it was answered."""
    answered: bool


async def wake_up(install: Install, pool: Pool, endpoints: Sequence[Endpoint] = ()) -> Wake:
    """Send a request to a pool, as kube-proxy would lead it."""
    began, answered = time.monotonic(), False
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(60):
            found = endpoints or await install.endpoints(pool)
            began = time.monotonic()
            at = found[int(began * 1e6) % len(found)] if found else ("", 0)
            client = await Client.connect(at)
            answered = (await client.ask(GET)).status == 200
            client.close()
    return Wake(pool, time.monotonic() - began, datetime.now(UTC), answered)
