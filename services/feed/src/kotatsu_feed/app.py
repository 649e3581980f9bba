"""The app, put together from its parts."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import httpx
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from kotatsu_common import fetch
from kotatsu_common.app import create_base_app
from kotatsu_common.github import GitHub, GitHubMetrics
from kotatsu_common.health import Readiness
from kotatsu_common.identity import identity_dependency
from kotatsu_common.identity_client import IdentityClient
from kotatsu_feed import page
from kotatsu_feed.api import failures
from kotatsu_feed.api.caller import caller_dependency
from kotatsu_feed.api.routes import REPLAYED, create_routes
from kotatsu_feed.food import Pantry
from kotatsu_feed.github import GitHubContributions
from kotatsu_feed.metrics import FeedMetrics
from kotatsu_feed.settings import FeedSettings
from kotatsu_feed.storage.database import Database, StorageUnavailableError
from kotatsu_feed.storage.migrate import migrate
from kotatsu_feed.storage.pets import PetStore

logger = logging.getLogger("kotatsu.feed")


def utc_now() -> datetime:
    """The one clock of feed."""
    return datetime.now(UTC)


def create_app(
    settings: FeedSettings,
    *,
    http: httpx.AsyncClient | None = None,
    identity: IdentityClient | None = None,
    now: Callable[[], datetime] = utc_now,
    is_prepared: bool = False,
) -> FastAPI:
    """Feed as an ASGI app. `http` reaches GitHub, and auth too unless `identity` is given.

    A client that is handed in stays the caller's to close. The app brings the schema up to date as
    it starts, unless the caller has done so (`is_prepared`).
    """
    client = http or fetch.client()
    registry = CollectorRegistry()
    readiness = Readiness("waiting for the database")
    database = Database(
        settings.database, pool_size=settings.database_pool, timeout=settings.database_timeout
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if not is_prepared:
            await prepare(settings)
        readiness.ready()
        yield
        await database.close()
        if http is None:
            await client.aclose()

    app = create_base_app(
        settings,
        title="Kotatsu feed",
        registry=registry,
        readiness=readiness,
        lifespan=lifespan,
        expose_headers=(REPLAYED,),
    )
    app.description = "A pet bird, fed with GitHub contributions to repositories that contain Dart."
    failures.install(app)
    metrics = FeedMetrics(registry)
    store = PetStore(database)
    github = GitHub(
        client,
        GitHubMetrics(registry, "kotatsu_feed"),
        timeout=settings.github_timeout,
        now=lambda: now().timestamp(),
    )
    pantry = Pantry(
        GitHubContributions(github, settings.github_api_url),
        store,
        metrics.food,
        now=now,
        ttl=settings.contributions_ttl,
        stale=settings.contributions_stale,
    )
    identity = identity or IdentityClient(client, settings.auth_url)
    caller = caller_dependency(identity_dependency(identity.verify), store, now)
    app.include_router(create_routes(store, pantry, metrics, caller=caller, now=now))
    page.install(app, settings)
    return app


async def prepare(settings: FeedSettings) -> None:
    """Bring the schema up to date, waiting for a database that starts at the same time as we do.

    StorageUnavailableError or NewerSchemaError if that can't be done.
    """
    give_up = time.monotonic() + settings.database_wait
    while True:
        try:
            return await migrate(settings.database)
        except StorageUnavailableError as error:
            if time.monotonic() >= give_up:
                raise
            logger.warning("the database can't be reached, trying again: %s", error)
            await asyncio.sleep(0.5)
