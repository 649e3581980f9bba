"""What every service has: errors, CORS, limits, traffic, health."""

from collections.abc import Callable, Sequence

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from prometheus_client import CollectorRegistry
from prometheus_client.process_collector import ProcessCollector
from starlette.types import Lifespan

from kotatsu_common import problems
from kotatsu_common.health import Readiness, health_router
from kotatsu_common.limits import BODY_BYTES, BodyLimit, RequestLimit
from kotatsu_common.settings import ServiceSettings
from kotatsu_common.traffic import Drain, Traffic, TrafficMiddleware

ALLOWED_HEADERS = ("Authorization", "Idempotency-Key")
"""What a browser's script may send besides the harmless ones, of which Content-Type is one."""


def create_base_app(
    settings: ServiceSettings,
    *,
    title: str,
    registry: CollectorRegistry,
    readiness: Readiness,
    lifespan: Lifespan[FastAPI] | None = None,
    expose_headers: Sequence[str] = (),
    body_bytes: int = BODY_BYTES,
    restart: Callable[[], str] = lambda: "",
) -> FastAPI:
    """An app without routes and description.

    `registry` is the app's own, never the global one, so several apps can share a process.
    `expose_headers` are the headers that a browser's script may read in addition to the defaults.
    `body_bytes` is the largest body that is read. `restart` says why the process should be
    restarted, "" if it should not; `/livez` fails with it while no request is in flight.
    `server.serve` uses `app.state`.
    """
    app = FastAPI(
        title=title,
        lifespan=lifespan,
        # Their pages run whatever a foreign server sends, where the pet's page has its token.
        docs_url=None,
        redoc_url=None,
        # TrafficMiddleware counts requests; FastAPI's own telemetry costs 8 µs a request.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.drain = Drain()
    app.state.body_bytes = body_bytes
    problems.install(app, app.state.drain)
    app.add_middleware(BodyLimit, limit=body_bytes)
    app.add_middleware(RequestLimit)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=settings.cors_origins,
        allow_credentials=False,  # the token is a header that scripts set, never a cookie
        allow_methods=("GET", "POST", "PUT"),
        allow_headers=ALLOWED_HEADERS,
        expose_headers=("Retry-After", *expose_headers),
    )
    app.add_middleware(TrafficMiddleware, traffic=Traffic(registry), drain=app.state.drain)
    app.include_router(health_router(readiness, registry, restart))
    ProcessCollector(registry=registry)
    return app
