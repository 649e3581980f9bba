"""Pages of metrics as pods and activators serve them."""

import asyncio
import contextlib
from datetime import UTC, datetime
from email.utils import format_datetime

IN_FLIGHT = "kotatsu_requests_in_flight"
LAST = "kotatsu_last_request_timestamp_seconds"
HELD = "kotatsu_activator_held"
AT = datetime(2026, 11, 25, 10, 0, tzinfo=UTC)


class Page:
    """A pod's web server with one page, and a view of the pod."""

    def __init__(self, body=b"", status=200, hangs=False, date=None, headers=(), lacks="none"):
        self.body, self.status, self.hangs, self.lacks = body, status, hangs, lacks
        sent = dict(headers) | ({} if date is None else {"Date": format_datetime(date, True)})
        self.headers = "".join(f"{name}: {value}\r\n" for name, value in sent.items()).encode()
        self.heads, self.asked = [], []
        self.writers = []

    async def answer(self, reader, writer):
        self.writers.append((reader, writer))
        try:
            self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            # Python 3.11.2 leaves the connection of a callback that raises open.
            writer.close()
            return
        self.asked.append(self.heads[-1].split(" ")[1])
        if self.hangs:
            return
        status = 404 if self.asked[-1].startswith(self.lacks) else self.status
        writer.write(b"HTTP/1.1 %d .\r\n%bConnection: close\r\n\r\n" % (status, self.headers))
        with contextlib.suppress(ConnectionError):
            writer.write(self.body)
            await writer.drain()
        writer.close()


def held(number, namespace="demo", name="voice"):
    return f'{HELD}{{namespace="{namespace}",name="{name}"}} {number}\n'
