"""The workload of the end-to-end tests: says who it is, takes its time, and reports every request.

One script, two roles by environment: an `echo` app behind a pool, and the `recorder` (never
pooled) to which each echo pod reports the ids it has acted on, so that a test can count what was
done twice. Requests come over HTTP/1.1 and WebSocket on 8080, and over HTTP/2 with prior knowledge
on 8081; /metrics counts all three. No framework: a pod that starts in a third of the time lets the
tests sleep and wake it three times as often.
"""

# ruff: noqa: E402
import os
import signal

# Until it has a handler, the first process of a container takes no notice of SIGTERM: a pod that is
# to end while it starts would stay for all of its grace period.
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))

import asyncio
import collections
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import uvicorn
from h2server import H2Server

from kotatsu_common.server import Server
from kotatsu_common.traffic import Drain

Json = dict[str, Any]
Receive = Callable[[], Awaitable[Json]]
Send = Callable[[Json], Awaitable[None]]
name = os.environ["APP_NAME"]
recorder = os.environ.get("RECORDER", "")
hits: collections.Counter[str] = collections.Counter()
drain = Drain()


class Load:
    """What this pod tells of itself; `how` it tells it can be turned bad."""

    in_flight = 0
    last = 0.0
    how = os.environ.get("METRICS", "")


async def act(request_id: str, ms: str | int = 0) -> Json:
    """Report the id, take some time, say who we are."""
    Load.in_flight += 1
    Load.last = time.time()
    try:
        if recorder:
            await report(request_id)
        await asyncio.sleep(int(ms) / 1000)
        return {"app": name, "pod": os.environ["HOSTNAME"], "request_id": request_id}
    finally:
        Load.in_flight -= 1
        Load.last = time.time()


async def report(request_id: str) -> None:
    """Tell the recorder; raises when it does not say that it has heard."""
    host = urlsplit(recorder).netloc
    # Connecting is tried again (nothing has been said by then): the recorder's own Service may be
    # away for some seconds after an outage.
    for pause in (0.2, 0.5, 1, 2, 4, 8, None):
        try:
            async with asyncio.timeout(5):
                reader, writer = await asyncio.open_connection(host, 80)
            break
        except OSError:
            if pause is None:
                raise
            await asyncio.sleep(pause)
    head = (
        f"POST /hit?request_id={request_id} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )
    writer.write(head.encode())
    said = await reader.readline()
    writer.close()
    if b" 200 " not in said:
        raise RuntimeError(f"the recorder says {said!r}")


async def echo_stream(headers: dict[str, str], _body: bytes) -> bytes:
    """One request over HTTP/2."""
    query = dict(parse_qsl(urlsplit(headers[":path"]).query))
    return json.dumps(await act(**query)).encode()


# --- over HTTP/1.1 ---


async def get(path: str) -> bytes | None:
    """Answer a GET; None where there is nothing."""
    match path.split("/")[1:]:
        case ["metrics", *how]:
            told = how[0] if how else Load.how
            return None if told == "missing" else await tell(told)
        case ["hits"]:
            return json.dumps(hits).encode()
        case ["livez" | "readyz" | "healthz"]:
            return b"ok"
    return None


async def tell(how: str) -> bytes:
    """The metrics page, or one that hangs or tells nonsense."""
    if how == "hanging":
        await asyncio.sleep(3600)
    return (
        f"kotatsu_requests_in_flight {'NaN' if how == 'lying' else Load.in_flight}\n"
        f"kotatsu_last_request_timestamp_seconds {Load.last}\n"
    ).encode()


async def post(path: str, query: Json, body: bytes) -> bytes | None:
    """Answer a POST; None where there is nothing."""
    match path.split("/")[1:]:
        case ["echo"]:
            return json.dumps(await act(**query)).encode()
        case ["hit"]:
            hits[query["request_id"]] += 1
            return b""
        case ["hits"]:  # how often each of these was acted on; from now on that is forgotten
            return json.dumps({one: hits.pop(one, 0) for one in json.loads(body)}).encode()
        case ["metrics", how]:  # tell them like this from now on; `well` for the truth
            Load.how = "" if how == "well" else how
            return b""
    return None


async def app(scope: Json, receive: Receive, send: Send) -> None:
    """Serve one request, or one WebSocket of which each message is a request."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            said = json.dumps(await act(**json.loads(message["text"])))
            await send({"type": "websocket.send", "text": said})
        return
    path, body, more = scope["path"], b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    if scope["method"] == "POST":
        query = dict(parse_qsl(scope["query_string"].decode()))
        answer = await post(path, query, body)
    elif path == "/headers":  # those of the request
        answer = json.dumps({k.decode(): v.decode() for k, v in scope["headers"]}).encode()
    elif path == "/metrics/huge" or (path, Load.how) == ("/metrics", "huge"):
        await never_end(receive, send)
        return
    else:
        answer = await get(path)
    status, answer = (404, b"") if answer is None else (200, answer)
    headers = [(b"content-length", b"%d" % len(answer))]
    if drain.draining:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


async def never_end(receive: Receive, send: Send) -> None:
    """Send a page until whoever asked for it has gone."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    gone = asyncio.ensure_future(receive())
    page = b"kotatsu_requests_in_flight 0\n" * 10_000
    while not gone.done():
        await send({"type": "http.response.body", "body": page, "more_body": True})
        await asyncio.sleep(0)


async def main() -> None:
    """Serve until SIGTERM; SIGUSR1 says that the end is near."""
    signal.signal(signal.SIGUSR1, lambda *_: drain.start())
    streams = H2Server(answer=echo_stream, is_leaving=lambda: drain.draining)
    http2 = await asyncio.start_server(streams.serve, "", 8081)  # in every address family
    config = uvicorn.Config(
        app,
        host="",
        port=8080,
        http="httptools",
        ws="wsproto",
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=30,
    )
    await Server(config, drain).serve()
    http2.close()


asyncio.run(main())
