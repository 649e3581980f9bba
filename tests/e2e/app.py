"""The workload of the end-to-end tests: says who it is, takes its time, and reports every request.

One script, two roles by environment: an `echo` app behind a pool, and the `recorder` (never
pooled) to which each echo pod reports the ids it has acted on, so that a test can count what was
done twice.
"""

import asyncio
import collections
import os
from collections.abc import AsyncIterator

import httpx
from fastapi import FastAPI, Response
from fastapi.responses import StreamingResponse
from prometheus_client import CollectorRegistry

from kotatsu_common.app import create_base_app
from kotatsu_common.health import Readiness
from kotatsu_common.server import serve
from kotatsu_common.settings import ServiceSettings

settings = ServiceSettings()
readiness = Readiness()
readiness.ready()
app: FastAPI = create_base_app(
    settings, title="echo", registry=CollectorRegistry(), readiness=readiness
)
name = os.environ["APP_NAME"]
recorder = os.environ.get("RECORDER", "")
# Connecting is tried again (nothing has been said by then): the recorder's own Service may be away
# for some seconds after an outage.
transport = httpx.AsyncHTTPTransport(retries=6, trust_env=False)
http = httpx.AsyncClient(trust_env=False, transport=transport)
hits: collections.Counter[str] = collections.Counter()


@app.post("/echo")
async def echo(request_id: str, ms: int = 0) -> dict[str, str]:
    """Report the id, wait, answer with who we are."""
    if recorder:
        await http.post(f"{recorder}/hit", params={"request_id": request_id})
    await asyncio.sleep(ms / 1000)
    return {"app": name, "pod": os.environ["HOSTNAME"], "request_id": request_id}


@app.get("/bad-metrics/{how}")
async def bad_metrics(how: str) -> Response:
    """A metrics page that hangs, has no end, or tells nonsense."""
    if how == "hanging":
        await asyncio.sleep(3600)
    if how == "huge":

        async def endless() -> AsyncIterator[bytes]:
            while True:
                yield b"kotatsu_requests_in_flight 0\n" * 10_000
                await asyncio.sleep(0)  # whoever has gone stops it here

        return StreamingResponse(endless())
    return Response("kotatsu_requests_in_flight NaN\n")


@app.post("/hit")
async def hit(request_id: str) -> None:
    """Count an id."""
    hits[request_id] += 1


@app.get("/hits")
async def get_hits() -> dict[str, int]:
    """How often each id was acted on."""
    return dict(hits)


serve(app, settings)
