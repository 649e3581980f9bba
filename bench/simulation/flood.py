"""A flood as a process of its own: `python flood.py 500 198.18.0.2:30000 …`, until it is killed.

Keeps opening connections with a request to some endpoints, so many a second, and leaves each open
until the other side closes it.
"""

import asyncio
import itertools
import sys
import time


async def _one(host: str, port: int) -> None:
    try:
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"GET / HTTP/1.1\r\nHost: flood\r\n\r\n")
        await reader.read()
        writer.close()
    except OSError:
        pass


async def _flood(per_second: float, endpoints: list[str]) -> None:
    tasks = set[asyncio.Task[None]]()
    turn = time.monotonic()
    for endpoint in itertools.cycle(endpoints):
        host, _, port = endpoint.rpartition(":")
        task = asyncio.create_task(_one(host, int(port)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        turn += 1 / per_second
        await asyncio.sleep(turn - time.monotonic())


if __name__ == "__main__":
    asyncio.run(_flood(float(sys.argv[1]), sys.argv[2:]))
