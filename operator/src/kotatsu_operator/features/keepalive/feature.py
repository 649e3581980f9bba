"""Sends comments to the clients of a sleeping pool that asked for a stream (`holdKeepalive`)."""

import asyncio

from kotatsu_operator.activator.feature import Context, Feature
from kotatsu_operator.activator.pool import Pool
from kotatsu_operator.activator.splice import Client
from kotatsu_operator.features.keepalive.stream import (
    Stream,
    asks,
    body_to_read,
    plain_answer,
)


class Keepalive(Feature):
    """Begins the streams of one pool's held clients, and keeps them until their pod answers."""

    def __init__(self, _context: Context) -> None:
        """One for each pool; all that it knows is in the timers of its clients."""

    def holds(self, pool: Pool, client: Client) -> None:
        """Note a client that may have asked for a stream. A quick start keeps its status."""
        if not pool.hold_keepalive or client.is_probe:
            return
        if (length := body_to_read(client.head)) is not None:
            self._later(pool.hold_keepalive, client, length)

    def _later(self, seconds: float, client: Client, length: int) -> None:
        asyncio.get_running_loop().call_later(seconds, self._keep, seconds, client, length)

    def _keep(self, seconds: float, client: Client, length: int) -> None:
        """Send a comment if the client still waits; with the first one its stream begins."""
        if client.stream is not None:
            if client.stream.has_answer or not client.is_open:
                return
            if not client.is_full:
                client.say(client.stream.comment)
        elif client.waits and client.body_size < length:
            pass  # what the client asks for is still on its way
        elif client.waits and asks(head := client.head, client.body):
            stream = Stream(head)
            client.begin(stream, plain_answer(head))
            client.say(stream.begin + stream.comment)
        else:
            return
        self._later(seconds, client, length)
