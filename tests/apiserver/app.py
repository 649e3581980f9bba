"""The pretended app: it answers as the app of the end-to-end tests does, in the test's process.

An echo says which app and pod has answered, and counts the id of the request.
"""

import asyncio
import collections
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from aiohttp import web
from e2e.kit import Object

GRACE_SECONDS = 5.0
"""For what is in flight in a pod that ends."""

hits: collections.Counter[str] = collections.Counter()
"""How often each request has been acted on, by its id, in all pods of this process."""


serving: set[str] = set()
"""The names of the pods that take requests, also those whose kubelet has not said so yet."""


@dataclass
class App:
    """One pod of an app."""

    name: str
    pod: str
    how: str
    """How its metrics are told: `missing`, `hanging`, `huge`, `lying`, or empty for the truth."""
    in_flight: int = 0
    last: float = field(default_factory=float)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        match request.path.split("/")[1:]:
            case ["metrics", *how]:
                return await self._metrics(request, how[0] if how else self.how)
            case ["echo"]:
                return await self._act(**dict(parse_qsl(request.query_string)))
            case ["livez" | "readyz" | "healthz"]:
                return web.Response(text="ok")
        return web.Response(status=404)

    async def _act(self, request_id: str, ms: str = "0") -> web.Response:
        self.in_flight += 1
        self.last = time.time()
        try:
            hits[request_id] += 1
            await asyncio.sleep(int(ms) / 1000)
            said = {"app": self.name, "pod": self.pod, "request_id": request_id}
            return web.json_response(said)
        finally:
            self.in_flight -= 1
            self.last = time.time()

    async def _metrics(self, request: web.BaseRequest, how: str) -> web.StreamResponse:
        if how == "missing":
            return web.Response(status=404)
        if how == "hanging":
            while request.transport is not None:  # until its client goes
                await asyncio.sleep(0.05)
        flight = "NaN" if how == "lying" else self.in_flight
        text = (
            f"kotatsu_requests_in_flight {flight}\n"
            f"kotatsu_last_request_timestamp_seconds {self.last}\n"
        )
        if how == "huge":
            return await _endless(request, text.encode() * 5000)
        return web.Response(text=text)


async def _endless(request: web.BaseRequest, page: bytes) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(page)


@asynccontextmanager
async def run(pod: Object, address: str) -> AsyncIterator[Callable[[], str]]:
    """Serve as a pod, at each of its ports."""
    (container, *_) = pod["spec"]["containers"]
    given = {entry["name"]: entry.get("value", "") for entry in container.get("env") or ()}
    name = pod["metadata"]["name"]
    app = App(given.get("APP_NAME", name), name, given.get("METRICS", ""))
    server = web.Server(app.answer)
    loop = asyncio.get_running_loop()
    serving.add(name)
    listeners = [
        await loop.create_server(server, address, port["containerPort"])
        for port in container.get("ports") or ()
    ]
    try:
        yield lambda: ""
    finally:
        serving.discard(name)
        for listener in listeners:
            listener.close()
        server.pre_shutdown()
        await server.shutdown(GRACE_SECONDS)


async def tell_hits(request: web.BaseRequest) -> web.StreamResponse:
    """What the recorder of the end-to-end tests answers."""
    if request.method == "POST":
        ids = json.loads(await request.read())
        return web.json_response({one: hits.pop(one, 0) for one in ids})
    return web.json_response(hits)
