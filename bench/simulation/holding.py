"""A server that accepts connections and answers none: `python holding.py` prints its port.

What a flood costs the machine where no activator has to do with it. It closes the oldest
connection once it has as many as an activator holds of one pool.
"""

import asyncio

import uvloop

HELD = 1000


class _Held(asyncio.Protocol):
    held: list[asyncio.BaseTransport] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.held.append(transport)
        if len(self.held) > HELD:
            self.held.pop(0).close()


async def _main() -> None:
    server = await asyncio.get_running_loop().create_server(_Held, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_main())
