"""One HTTP request to a server that the release names, through the proxies of the environment."""

import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import httpx2

from kotatsu_common import logs

HEAD = 32 * 1024
"""Bytes of a head, with the interim responses before it."""
PIECE = 4 * 1024
"""Bytes of a head that are parsed at once: interim responses in it cost some milliseconds."""
BUFFER = 64 * 1024
"""Bytes that the kernel keeps of a connection: uvloop takes them all, by default up to 8 MiB."""

logs.quiet_clients()  # whoever asks: the URLs are secrets


@asynccontextmanager
async def request(
    method: str, url: str, headers: Mapping[str, str], body: bytes | None = None, *, connect: float
) -> AsyncIterator[httpx2.Response]:
    """A response whose body is not read yet; `connect` bounds the seconds for the connection.

    The caller bounds the time of all, and the body. Redirects are not followed. Raises
    httpx2.HTTPError, httpx2.InvalidURL, OSError, and ValueError for what cannot be sent.
    """
    timeout = httpx2.Timeout(None, connect=connect)
    sent = httpx2.Headers({**_ALWAYS, **headers}, encoding="utf-8")
    extensions = {"trace": _bound()}
    async with (
        httpx2.AsyncClient(verify=_tls(), timeout=timeout) as client,
        client.stream(method, url, headers=sent, content=body, extensions=extensions) as response,
    ):
        yield response


_ALWAYS = {"User-Agent": "kotatsu", "Accept-Encoding": "identity", "Connection": "close"}


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _bound() -> Any:
    """A hook (`trace`) that bounds heads: httpx2 reads interim responses without end."""
    left: int | None = None

    async def trace(event: str, info: Mapping[str, Any]) -> None:
        nonlocal left
        if event.endswith("receive_response_headers.complete"):
            left = None
        stream: Any = info.get("return_value")
        if not hasattr(stream, "read"):
            return
        left, read = HEAD, stream.read
        stream.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)

        async def bounded(most: int, **options: Any) -> bytes:
            nonlocal left
            if left == 0:
                raise httpx2.RemoteProtocolError("its head has no end")
            data: bytes = await read(most if left is None else min(left, PIECE), **options)
            left = None if left is None else left - len(data)
            return data

        stream.read = bounded

    return trace
