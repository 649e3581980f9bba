"""One response of a pod, on a connection of its own: a pod's page is written by a tenant.

What a pod sends is pulled in pieces, so nothing is parsed that nobody waits for, and all that is
beside the body is bounded. The caller bounds the body, by reading no further, and the time.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Literal
from urllib.parse import quote

PIECE = 64 * 1024
"""Bytes of a body that are read at once."""
FRAMING = 32 * 1024
"""Bytes of a head, and of the frames of chunks, which may be an eighth of the body more. A chunk or
a header costs about a microsecond, so those of one byte cost some milliseconds in all."""
INTERIM = 16
"""Interim responses before the response."""


class ResponseError(Exception):
    """What a pod sends is no HTTP response, or has no end."""


class NoConnectionError(Exception):
    """There is no connection to the pod. Its cause says why."""


Method = Literal["GET", "POST"]

Response = tuple[int, Mapping[str, str], AsyncIterator[bytes]]
"""Status, headers by their names in lower case, and the body as it comes: reading it raises
ResponseError and OSError."""

Turn = Callable[[], AbstractAsyncContextManager[None]]
"""What makes a turn, in which some milliseconds may be spent."""


@asynccontextmanager
async def request(
    method: Method, ip: str, port: int, path: str, *, connect: float, turn: Turn = nullcontext
) -> AsyncIterator[Response]:
    """Request a path, which may have a query; `connect` bounds the seconds for the connection.

    Each head and each piece of chunks is parsed in a `turn`. Redirects are not followed, and bodies
    are not unpacked. Raises NoConnectionError, ResponseError, TimeoutError, OSError, and ValueError
    for an address that is none.
    """
    host = f"[{ip}]" if ":" in ip else ip
    target = quote(path.partition("#")[0], _KEPT)
    head = f"{method} {target} HTTP/1.1\r\nHost: {host}:{port}\r\n{_ALWAYS[method]}\r\n"
    try:
        async with asyncio.timeout(connect):
            reader, writer = await asyncio.open_connection(ip, port, limit=FRAMING)
    except TimeoutError:
        raise
    except OSError as error:
        raise NoConnectionError from error
    try:
        writer.write(head.encode())
        status, found = await _answer(reader, turn)
        yield status, found, _body(reader, found, turn)
    finally:
        writer.transport.abort()


_FIELDS = "User-Agent: kotatsu\r\nAccept: */*\r\nAccept-Encoding: identity\r\nConnection: close\r\n"
_ALWAYS: Mapping[Method, str] = {"GET": _FIELDS, "POST": f"{_FIELDS}Content-Length: 0\r\n"}
_KEPT = "%/:?&=~+!$,;'@()*[]|"
"""Characters of a path and query that stay as they are. A line never ends in them."""


async def _answer(reader: asyncio.StreamReader, turn: Turn) -> tuple[int, Mapping[str, str]]:
    """Status and headers of the response, after interim ones. Raises ResponseError."""
    for _ in range(INTERIM):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            raise ResponseError("its head has no end") from None
        except asyncio.IncompleteReadError:
            raise ResponseError("it ends before its head does") from None
        async with turn():
            first, *lines = head.decode("latin-1").rstrip().split("\r\n")
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


async def _body(
    reader: asyncio.StreamReader, headers: Mapping[str, str], turn: Turn
) -> AsyncIterator[bytes]:
    if "transfer-encoding" in headers:
        if headers["transfer-encoding"].lower() != "chunked":
            raise ResponseError("its body has an unknown coding")
        async for piece in _chunks(reader, turn):
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


async def _chunks(reader: asyncio.StreamReader, turn: Turn) -> AsyncIterator[bytes]:
    data, left, body, framing = bytearray(), 0, 0, 0
    while True:
        piece = await reader.read(PIECE)
        if not piece:
            raise ResponseError("it ends before its last chunk")
        data += piece
        at, parts, is_over = 0, list[bytes](), False
        async with turn():
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
