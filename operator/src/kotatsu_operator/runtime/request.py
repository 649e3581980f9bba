"""One plain HTTP request to a server that is not trusted, on a connection of its own.

What a server sends is pulled in pieces, so nothing is parsed that nobody waits for, and all that is
beside the body is bounded. The caller bounds the body, by reading no further, and the time.
"""

import asyncio
import re
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from urllib.parse import SplitResult, quote, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

PIECE = 64 * 1024
"""Bytes of a body that are read at once."""
FRAMING = 32 * 1024
"""Bytes of a head, and of the frames of chunks, which may be an eighth of the body more. A chunk
costs about a microsecond, so chunks of one byte cost some milliseconds in all."""
INTERIM = 16
"""Interim responses before the response."""


class ResponseError(Exception):
    """What a server sends is no HTTP response, or has no end."""


class ConnectionFailedError(Exception):
    """There is no connection to the server."""

    def __init__(self, *, is_refused: bool) -> None:
        super().__init__()
        self.is_refused = is_refused


@dataclass(frozen=True)
class Response:
    """The head of a response, and its body as it comes."""

    status: int
    headers: Mapping[str, str]
    """By their names in lower case."""
    pieces: AsyncIterator[bytes]
    """The body: raises ResponseError and OSError."""


@asynccontextmanager
async def request(
    url: str,
    headers: Mapping[str, str],
    body: bytes | None = None,
    *,
    connect: float,
    proxied: bool = False,
) -> AsyncIterator[Response]:
    """GET, or POST a body; `connect` bounds the seconds for the connection.

    `proxied` is whether the proxies of the environment are used. Redirects are not followed, and
    bodies are not unpacked. Raises ConnectionFailedError, ResponseError, TimeoutError, OSError, and
    ValueError for a URL that is none.
    """
    parts = urlsplit(url)
    target = quote((parts.path or "/") + (f"?{parts.query}" if parts.query else ""), _KEPT)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    named = f"[{host}]" if ":" in host else host.encode("idna").decode()
    named = named if parts.port is None else f"{named}:{port}"
    proxy = _proxy(parts, named) if proxied else None
    if proxy is not None and parts.scheme == "http":
        target = f"http://{named}{target}"
    sent = {"Host": named, **_ALWAYS, **_login("Authorization", parts), **headers}
    if proxy is not None and parts.scheme == "http":
        sent |= _login("Proxy-Authorization", proxy)
    if body is not None:
        sent["Content-Length"] = str(len(body))
    try:
        async with asyncio.timeout(connect):
            reader, writer = await _connected(parts.scheme, host, port, proxy)
    except TimeoutError:
        raise
    except OSError as error:
        is_refused = isinstance(error, ConnectionRefusedError)
        raise ConnectionFailedError(is_refused=is_refused) from None
    try:
        writer.write(_head("GET" if body is None else "POST", target, sent) + (body or b""))
        status, found = await _answer(reader)
        yield Response(status, found, _body(reader, found))
    finally:
        writer.transport.abort()


_ALWAYS = {
    "User-Agent": "kotatsu",
    "Accept": "*/*",
    "Accept-Encoding": "identity",
    "Connection": "close",
}
_KEPT = "%/:?&=~+!$,;'@()*[]|"
"""Characters of a path and query that stay as they are."""


def _head(method: str, target: str, headers: Mapping[str, str]) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {v}" for name, v in headers.items())]
    if any(set(line) & {"\r", "\n", "\0"} for line in lines):
        raise ValueError("a line has another in it")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _connected(scheme: str, host: str, port: int, proxy: SplitResult | None) -> Streams:
    tls = _tls() if scheme == "https" else None
    if proxy is None:
        return await asyncio.open_connection(host, port, limit=FRAMING, ssl=tls)
    reader, writer = await asyncio.open_connection(
        proxy.hostname or "", proxy.port or 80, limit=FRAMING
    )
    if tls is not None:
        try:
            where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            writer.write(
                _head("CONNECT", where, {"Host": where, **_login("Proxy-Authorization", proxy)})
            )
            if (await _answer(reader))[0] != 200:
                raise ConnectionError("the proxy refuses")
            await writer.start_tls(tls, server_hostname=host)
        except BaseException:
            writer.transport.abort()
            raise
    return reader, writer


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _proxy(parts: SplitResult, named: str) -> SplitResult | None:
    """The proxy that the environment names for a URL (HTTPS_PROXY, HTTP_PROXY, NO_PROXY)."""
    found = getproxies().get(parts.scheme)
    if not found or proxy_bypass(named):
        return None
    return urlsplit(found if "://" in found else f"http://{found}")


def _login(name: str, url: SplitResult) -> dict[str, str]:
    if url.username is None:
        return {}
    login = f"{unquote(url.username)}:{unquote(url.password or '')}"
    return {name: f"Basic {b64encode(login.encode()).decode()}"}


async def _answer(reader: asyncio.StreamReader) -> tuple[int, Mapping[str, str]]:
    """Status and headers of the response, after interim ones. Raises ResponseError."""
    for _ in range(INTERIM):
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except asyncio.LimitOverrunError:
            raise ResponseError("its head has no end") from None
        except asyncio.IncompleteReadError:
            raise ResponseError("it ends before its head does") from None
        first, *lines = head.rstrip().split("\r\n")
        match = _STATUS.match(first)
        if match is None:
            raise ResponseError("it does not begin with a status")
        if match[1][0] != "1":
            fields = (line.partition(":") for line in lines)
            return int(match[1]), {name.strip().lower(): v.strip() for name, _, v in fields}
        if match[1] == "101":
            raise ResponseError("it changes the protocol")
    raise ResponseError("there are only interim responses")


_STATUS = re.compile(r"HTTP/1\.[01] ([1-9][0-9]{2})(?![0-9])", re.ASCII)


async def _body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> AsyncIterator[bytes]:
    if "transfer-encoding" in headers:
        if headers["transfer-encoding"].lower() != "chunked":
            raise ResponseError("its body has an unknown coding")
        async for piece in _chunks(reader):
            yield piece
        return
    left = None
    if "content-length" in headers:
        left = (
            int(headers["content-length"]) if _LENGTH.fullmatch(headers["content-length"]) else -1
        )
        if left < 0:
            raise ResponseError("its length is no number")
    while left is None or left:
        piece = await reader.read(PIECE if left is None else min(PIECE, left))
        if not piece and left:
            raise ResponseError("it ends before its length")
        if not piece:
            return
        left = None if left is None else left - len(piece)
        yield piece


_LENGTH = re.compile("[0-9]{1,18}", re.ASCII)
_FRAME = re.compile(rb"(?:\r\n)?([0-9a-fA-F]{1,8})[ \t]*(?:;[^\n]{0,200})?\r\n")
"""The frame before a chunk, with the end of the chunk before it."""
_LONGEST_FRAME = 256


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    data, left, body, framing = bytearray(), 0, 0, 0
    while True:
        piece = await reader.read(PIECE)
        if not piece:
            raise ResponseError("it ends before its last chunk")
        data += piece
        at, parts, is_over = 0, list[bytes](), False
        while not is_over:
            if left:
                parts.append(bytes(data[at : at + left]))
                at, left = at + len(parts[-1]), left - len(parts[-1])
                body += len(parts[-1])
            frame = None if left else _FRAME.match(data, at)
            if frame is None:
                break
            framing += frame.end() - at
            at, left = frame.end(), int(frame[1], 16)
            is_over = not left
            if framing > FRAMING + body // 8:
                raise ResponseError("it is in too small chunks")
        del data[:at]
        if parts:
            yield b"".join(parts)
        if is_over:
            return
        if len(data) > _LONGEST_FRAME:
            raise ResponseError("one of its chunks has no length")


async def all_of(response: Response, most: int) -> bytes | None:
    """The body; None if it has more than `most` bytes."""
    found = bytearray()
    async for piece in response.pieces:
        found += piece
        if len(found) > most:
            return None
    return bytes(found)
