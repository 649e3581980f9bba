"""A server that accepts connections and answers none: `python holding.py` prints its port.

What a flood costs the machine where no activator has to do with it. It closes the oldest
connection once it has as many as an activator holds of one pool.
"""

import asyncio
from collections import deque

import uvloop

HELD = 1000


class _Holding(asyncio.Protocol):
    def __init__(self, held: deque[asyncio.BaseTransport]) -> None:
        self._held = held

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._held.append(transport)
        if len(self._held) > HELD:
            self._held.popleft().close()


async def _main() -> None:
    held = deque[asyncio.BaseTransport]()
    server = await asyncio.get_running_loop().create_server(lambda: _Holding(held), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_main())
